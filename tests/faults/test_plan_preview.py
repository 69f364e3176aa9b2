"""The weather over a trial that was recorded without it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from aegis.faults.plan.preview import Preview, preview
from aegis.suite.model import FaultMatch, FaultRule
from aegis.trace import Body, Exchange
from support import wire
from support.gateway_server import World
from support.storm import rule, storm
from support.storm_client import Client
from support.weather import KEY

BLOBS = {"b" * 64: b'{"order": 1042}'}


def content(body: Body) -> bytes:
    return BLOBS[body.blob] if body.blob is not None else (body.text or "").encode()


def foresee(rules: Sequence[FaultRule], exchanges: Sequence[Exchange], *secrets: str) -> Preview:
    return asyncio.run(preview(rules, KEY, exchanges, secrets=secrets, content=content))


def hits(rules: Sequence[FaultRule], exchanges: Sequence[Exchange], *secrets: str) -> list[tuple[str, ...]]:
    return [row.faults for row in foresee(rules, exchanges, *secrets).exchanges]


def made(id: int, path: str = "/orders", **fields: Any) -> Exchange:
    """A request to crm.example on a connection of its own, one a second."""
    fields.setdefault("method", "GET")
    fields.setdefault("host", "crm.example")
    fields.setdefault("connection", id)
    fields.setdefault("started_s", float(id))
    request, response = fields.pop("request", None), fields.pop("response", {"ok": True})
    given = {
        name: fields.pop(name)
        for name in ("method", "host", "status", "started_s", "headers")
        if name in fields
    }
    return replace(wire.exchange(path, request, response, id=id, **given), **fields)


def connection(id: int, kind: Any = "tcp", **fields: Any) -> Exchange:
    values = {"scheme": "tcp", "host": "db.example", "port": 5432, "connection": id, "started_s": float(id)}
    values["upstream"] = "192.0.2.1:5432"
    return Exchange(id=id, kind=kind, **{**values, **fields})


def test_requests_come_again_in_their_order() -> None:
    exchanges = [made(3), made(1), made(2, method="POST")]
    found = foresee([rule("overloaded", match={"method": ("GET",)}, on=(2,))], exchanges)
    assert [row.exchange.id for row in found.exchanges] == [1, 2, 3]
    assert [row.faults for row in found.exchanges] == [(), (), ("overloaded",)]
    assert [report.matched for report in found.reports] == [2]


def test_it_decides_as_the_gateway_does(net: World) -> None:
    """The same requests, once through a gateway in this weather and once as a record of it without."""
    rules = [
        rule("overloaded", id="shy", probability=0.4),
        rule("server-error", id="third", every=3),
        rule("truncate", id="bent", probability=0.5, at_byte=1),
    ]
    paths = [f"/{name}/{number}" for number in range(6) for name in ("orders", "refunds")]
    weather = storm(net, rules, key=KEY)
    client = Client(weather)
    for path in paths:
        client.get(path)
    real = weather.exchanges(len(paths))
    record = [made(item.id, item.path, host="api.example") for item in real]
    assert hits(rules, record) == [item.faults for item in real]
    assert any(item.faults for item in real)


def test_times_are_those_of_the_record() -> None:
    assert hits([rule("overloaded", after_s=2.0, until_s=3.0)], [made(1), made(2), made(3)]) == [
        (),
        ("overloaded",),
        (),
    ]


def test_a_limit_goes_on_refusing_who_comes_back_early() -> None:
    exchanges = [
        made(1, started_s=0.0),
        made(2, started_s=0.5),
        made(3, started_s=1.9),
        made(4, started_s=2.1),
    ]
    found = foresee([rule("rate-limit", on=(1,), retry_after="2s")], exchanges)
    assert [bool(row.faults) for row in found.exchanges] == [True, True, True, False]


def test_nothing_is_waited_for() -> None:
    rules = [
        rule("latency", delay="10m"),
        rule("slow-body", chunks=10, duration="1h"),
        rule("hang", match={"path": ("/b",)}),
    ]
    assert hits(rules, [made(1, "/a"), made(2, "/b")]) == [
        ("latency", "slow-body"),
        ("latency", "slow-body", "hang"),
    ]


def test_an_answer_that_could_not_be_bent_is_no_hit() -> None:
    stream = made(1, response=wire.events(*({"n": number} for number in range(20))))
    found = foresee([rule("cut-stream", until_hits=1, at_event=3)], [made(2), stream, made(3)])
    assert [row.faults for row in found.exchanges] == [("cut-stream",), (), ()]
    found = foresee([rule("cut-stream")], [made(1)])
    assert (found.reports[0].matched, found.reports[0].fired) == (1, 0)
    assert found.reports[0].notes


def test_answers_end_what_waits_for_them() -> None:
    until = FaultMatch(path=("/login",), method=("POST",))
    exchanges = [made(1), made(2, "/login", method="POST", status=403), made(3)]
    exchanges += [made(4, "/login", method="POST"), made(5)]
    found = hits([rule("overloaded", match={"path": ("/orders",)}, until_match=until)], exchanges)
    assert found == [("overloaded",), (), ("overloaded",), (), ()]


def test_a_refresh_lets_the_new_token_pass() -> None:
    def with_token(id: int, token: str) -> Exchange:
        return made(id, headers=(("Authorization", f"Bearer {token}"),))

    answer = {"access_token": "new", "token_type": "Bearer", "expires_in": 3600}
    refresh = made(3, "/oauth/token", method="POST", request={"grant_type": "refresh_token"}, response=answer)
    expired = rule("token-expired", on=(2,), mint=False)
    exchanges = [
        with_token(1, "old"),
        with_token(2, "old"),
        refresh,
        with_token(4, "new"),
        with_token(5, "old"),
    ]
    assert hits([expired], exchanges) == [(), ("token-expired",), (), (), ("token-expired",)]


def test_model_calls_tool_calls_and_bodies() -> None:
    tool = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "lookup"}}
    exchanges = [
        made(1, "/v1/chat/completions", method="POST", request={"model": "m"}),
        made(2, "/mcp", method="POST", request=tool),
        made(3, "/orders", method="POST", request_body=Body(15, blob="b" * 64)),
        made(4, "/orders", method="POST", request_body=Body(15, text='{"order": 1042', truncated=True)),
        made(5, "/tools/call", method="POST", host="t.mcp-stdio", port=0, kind="mcp-stdio", request=tool),
    ]
    rules = [
        rule("latency", id="model", match={"call": "model"}, delay="1ms"),
        rule("latency", id="tool", match={"tool": ("look*",)}, delay="1ms"),
        rule("latency", id="order", match={"body": {"$.order": 1042}}, delay="1ms"),
    ]
    assert hits(rules, exchanges) == [("model",), ("tool",), ("order",), (), ("tool",)]


@pytest.mark.parametrize("value", ["Bearer [secret:CRM_TOKEN]", "Basic user:[secret:CRM_TOKEN]"])
def test_a_secret_is_known_by_its_mark(value: str) -> None:
    exchanges = [
        made(1, headers=(("Authorization", value),)),
        made(2, headers=(("Authorization", "Bearer x"),)),
    ]
    rules = [rule("overloaded", match={"credential": "CRM_TOKEN"})]
    assert hits(rules, exchanges, "CRM_TOKEN") == [("overloaded",), ()]


# -- connections ---------------------------------------------------------------------------------------------------


def test_a_connection_counts_once_however_many_requests_it_carries() -> None:
    exchanges = [made(id, connection=number) for id, number in enumerate((1, 1, 2, 2, 3), 1)]
    assert hits([rule("refuse", on=(2,))], exchanges) == [(), (), ("refuse",), (), ()]


def test_what_did_not_come_about_is_tried_again() -> None:
    exchanges = [made(id, connection=1) for id in (1, 2, 3)]
    found = foresee([rule("refuse", on=(1, 2))], exchanges)
    assert [row.faults for row in found.exchanges] == [("refuse",), ("refuse",), ()]
    assert found.reports[0].matched == 3


def test_a_connection_that_leads_to_several_hosts_counts_for_each() -> None:
    exchanges = [made(1, connection=1), made(2, connection=1, host="b.example"), made(3, connection=1)]
    found = foresee([rule("refuse", on=(9,))], exchanges)
    assert found.reports[0].matched == 2


def test_lookups_openings_and_handshakes() -> None:
    rules = [
        rule("dns-failure", on=(1,)),
        rule("refuse", on=(1,)),
        rule("tls-failure", on=(1,)),
        rule("overloaded", on=(1,)),
    ]
    # Each step is reached only when the ones before it went well.
    exchanges = [made(id, connection=id) for id in (1, 2, 3, 4)]
    assert hits(rules, exchanges) == [("dns-failure",), ("refuse",), ("tls-failure",), ("overloaded",)]


def test_connections_that_were_carried_unread() -> None:
    exchanges = [
        connection(1),
        connection(2, "tls-passthrough", scheme="tls", port=443),
        connection(3, upstream="", error="upstream-refused: nobody listens"),
    ]
    rules = [rule("latency", delay="1ms"), rule("tls-failure", how="expired"), rule("overloaded")]
    # With TLS that is not opened there is no certificate to be wrong; one that nobody answered carried nothing.
    assert hits(rules, exchanges) == [("latency",), ("latency",), ()]


def test_what_was_recorded_of_other_faults() -> None:
    """Connections that a fault kept from coming about were tries all the same."""
    exchanges = [
        connection(
            1, scheme="dns", host="crm.example", port=0, connection=0, upstream="", error="injected: x"
        ),
        connection(2, host="crm.example", port=443, connection=0, upstream="", error="injected: x"),
        made(3, faults=("old",), status=503),
    ]
    found = foresee([rule("dns-failure", on=(2,)), rule("refuse", on=(2,))], exchanges)
    assert [row.faults for row in found.exchanges] == [(), ("dns-failure",), ()]
    assert [report.matched for report in found.reports] == [3, 1]


def test_what_the_gateway_refused_no_fault_was_asked_about() -> None:
    exchanges = [
        connection(1, "denied", host="updates.example", port=80, upstream=""),
        made(2, error="secret-refused: …", status=403),
        made(3, error="malformed-request: …", status=400),
        made(4),
    ]
    found = foresee([rule("overloaded"), rule("refuse", on=(9,))], exchanges)
    assert [row.faults for row in found.exchanges] == [(), (), (), ("overloaded",)]
    assert [report.matched for report in found.reports] == [1, 1]


def test_a_request_without_an_answer() -> None:
    (faults,) = hits(
        [rule("truncate"), rule("latency", delay="1ms")], [made(1, status=None, response_body=None)]
    )
    assert "latency" in faults


def test_the_same_preview_twice() -> None:
    exchanges = [made(id, f"/{id % 3}") for id in range(1, 30)]
    rules = [rule("overloaded", probability=0.3), rule("truncate", probability=0.5)]
    assert hits(rules, exchanges) == hits(rules, exchanges)
    assert json.dumps([row.exchange.to_json() for row in foresee(rules, exchanges).exchanges])
