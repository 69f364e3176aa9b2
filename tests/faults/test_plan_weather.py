"""Rules and their state over the requests of one trial."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from aegis.faults.base import Hit, Seen, TrialKey
from aegis.faults.plan.weather import Weather
from aegis.gateway.base import Notes, Request, ResponsePlan
from aegis.suite.model import FaultMatch, FaultRule
from aegis.trace.faults import not_fired
from support.storm import rule
from support.weather import HOST, KEY, Day, request


def hits(day: Day, count: int, *args: Any, **more: Any) -> list[tuple[str, ...]]:
    return [day.send(*args, **more) for _ in range(count)]


# -- which rules take an exchange ----------------------------------------------------------------------------------


def test_nothing_is_hit_before_the_agent_begins() -> None:
    day = Day([rule("overloaded"), rule("refuse")], started=False)
    assert day.send() == ()
    assert day.weather.connecting(HOST, 443, proxied=False) is None
    assert day.report("overloaded").matched == 0
    day.weather.start()
    assert day.send() == ("overloaded",)
    assert day.weather.connecting(HOST, 443, proxied=False) is not None


def test_without_rules_everything_passes() -> None:
    day = Day([])
    sent = request()
    assert day.exchange(sent)[2] == b'{"secret": "1042 euros"}'
    assert day.forwarded == [sent]


def test_one_fault_answers_and_one_bends_and_all_take_time() -> None:
    rules = [
        rule("overloaded", id="first"),
        rule("truncate", id="bent", how="right-length"),
        rule("server-error", id="second"),
        rule("garbage", id="also-bent"),
        rule("latency", id="slow", delay="1ms"),
        rule("latency", id="slower", delay="2ms"),
    ]
    day = Day(rules)
    # In the order of the file; what takes time and what bends have a place of their own.
    assert day.send() == ("first", "bent", "slow", "slower")
    assert [day.report(item.id).displaced for item in rules] == [0, 0, 1, 1, 0, 0]
    assert day.report("second").fired == 0
    assert not_fired(day.report("second")) == "another fault took it: everything"


def test_a_rule_that_does_not_pick_leaves_the_place_to_the_next() -> None:
    day = Day([rule("overloaded", on=(2,)), rule("server-error")])
    assert hits(day, 3) == [("server-error",), ("overloaded",), ("server-error",)]
    assert day.report("server-error").displaced == 1
    assert day.report("server-error").fired == 2


def test_matches_are_counted_over_all_routes() -> None:
    day = Day([rule("overloaded", match={"method": ("GET",)}, on=(3,))])
    sent = [day.send("/a"), day.send("/b", "POST"), day.send("/b"), day.send("/a"), day.send("/a")]
    assert sent == [(), (), (), ("overloaded",), ()]
    assert (day.report("overloaded").matched, day.report("overloaded").fired) == (4, 1)


def test_a_displaced_rule_has_had_its_match() -> None:
    day = Day([rule("overloaded", on=(1,)), rule("server-error", on=(1,), id="late")])
    assert hits(day, 3) == [("overloaded",), (), ()]
    assert (day.report("late").matched, day.report("late").fired, day.report("late").displaced) == (3, 0, 1)


def test_an_answer_is_bent_by_the_other_one() -> None:
    day = Day([rule("truncate", how="right-length", at_byte=3), rule("overloaded", id="o")])
    _, plan, body = day.exchange(request())
    assert plan.status == 503
    assert len(body) == 3


def test_a_hit_that_finds_nothing_to_bend_is_none() -> None:
    day = Day([rule("cut-stream", until_hits=1)])
    assert hits(day, 2) == [(), ()]
    report = day.report("cut-stream")
    assert (report.matched, report.fired) == (2, 0)
    assert report.notes


def test_messages_to_servers_in_the_sandbox_meet_faults_of_mcp_alone() -> None:
    day = Day([rule("overloaded"), rule("tool-error"), rule("latency", delay="1ms")])
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "t"}}
    assert day.send("/tools/call", "POST", host="t.mcp-stdio", port=0, body=call, layer="mcp") == (
        "tool-error",
        "latency",
    )
    assert day.report("overloaded").matched == 0


# -- when it ends --------------------------------------------------------------------------------------------------


def test_until_a_request_succeeds() -> None:
    until = FaultMatch(method=("POST",), path=("/login",))
    day = Day([rule("overloaded", match={"path": ("/orders*",)}, until_match=until)])
    assert day.send("/orders") == ("overloaded",)
    day.status = 403
    assert day.send("/login", "POST") == ()
    assert day.send("/orders") == ("overloaded",)
    day.status = 200
    assert day.send("/login") == ()
    assert day.send("/orders") == ("overloaded",)
    assert day.send("/login", "POST") == ()
    assert hits(day, 2, "/orders") == [(), ()]


def test_an_answer_that_a_fault_gave_ends_nothing() -> None:
    until = FaultMatch(path=("/login",))
    day = Day(
        [
            rule("overloaded", match={"path": ("/orders",)}, until_match=until),
            rule("silent-noop", match={"path": ("/login",)}, on=(1,)),
        ]
    )
    assert day.send("/login", "POST") == ("silent-noop",)
    assert day.send("/orders") == ("overloaded",)
    assert day.send("/login", "POST") == ()
    assert day.send("/orders") == ()


def test_until_and_after_a_time() -> None:
    day = Day([rule("overloaded", after_s=5.0, until_s=10.0)])
    found = []
    for at_s in (0.0, 4.999, 5.0, 9.999, 10.0):
        day.at_s = at_s
        found.append(bool(day.send()))
    assert found == [False, False, True, True, False]


# -- what a permanent fault keeps from the agent -------------------------------------------------------------------


def withheld(day: Day, *args: Any, **more: Any) -> bytes | None:
    sent = request(*args, **more)
    day.exchange(sent)
    return sent.notes.withheld


def test_what_it_keeps_from_the_agent_is_kept() -> None:
    day = Day([rule("overloaded")])
    assert withheld(day) == b'{"secret": "1042 euros"}'
    assert len(day.forwarded) == 1
    assert day.report("overloaded").permanent


@pytest.mark.parametrize("fields", [{"on": (1,)}, {"until_hits": 5}, {"probability": 1.0}, {"last": 9}])
def test_what_can_be_had_by_trying_again_is_not(fields: dict[str, Any]) -> None:
    day = Day([rule("overloaded", **fields)])
    assert withheld(day) is None
    assert day.forwarded == []
    assert not day.report("overloaded").permanent


def test_writes_are_not_carried_out_to_learn_of_them() -> None:
    day = Day([rule("overloaded")])
    assert withheld(day, "/", "POST") is None
    assert day.forwarded == []


def test_an_error_of_upstream_is_nothing_withheld() -> None:
    day = Day([rule("overloaded")])
    day.status = 404
    assert withheld(day) is None


# -- connections ---------------------------------------------------------------------------------------------------


def test_a_rule_of_connections_counts_connections() -> None:
    day = Day([rule("refuse", match={"host": (HOST,), "port": 443}, on=(2,))])
    places = [(HOST, 443), ("other.example", 443), (HOST, 80), (HOST, 443), (HOST, 443)]
    shut = [day.weather.connecting(host, port, proxied=False) for host, port in places]
    assert [bool(item) for item in shut] == [False, False, False, True, False]
    assert shut[3] is not None
    assert shut[3].notes.faults == ["refuse"]
    assert hits(day, 3) == [(), (), ()]
    assert day.report("refuse").matched == 3


def test_who_looks_names_up() -> None:
    day = Day([rule("dns-failure"), rule("refuse")])
    shut = day.weather.resolving(HOST)
    assert shut is not None
    assert shut.how == "unresolved"
    shut = day.weather.connecting(HOST, 443, proxied=True)
    assert shut is not None
    assert shut.notes.faults == ["dns-failure"]
    assert day.report("refuse").displaced == 1
    shut = day.weather.connecting("192.0.2.1", 443, proxied=True)
    assert shut is not None
    assert shut.how == "refused"
    assert day.weather.shuts == ("lookup", "opening")
    assert Day([rule("tls-failure")]).weather.shuts == ()


def test_a_certificate_can_be_wrong_only_where_there_is_one_of_ours() -> None:
    day = Day([rule("tls-failure", how="expired"), rule("tls-failure", id="alert", how="alert")])
    shut = day.weather.handshaking(HOST, 443, opened=False)
    assert shut is not None
    assert shut.notes.faults == ["alert"]
    shut = day.weather.handshaking(HOST, 443, opened=True)
    assert shut is not None
    assert shut.notes.faults == ["tls-failure"]


class Client:
    """A connection that is carried unread."""

    async def read(self, max_bytes: int) -> bytes:
        return b""

    async def write(self, data: bytes) -> None: ...

    async def write_eof(self) -> None: ...

    async def close(self) -> None: ...

    async def abort(self) -> None: ...


def test_connections_that_are_carried_unread() -> None:
    rules = [
        rule("latency", match={"port": 5432}, on=(1,)),
        rule("reset", match={"host": ("db.example",)}),
        rule("hang", match={"path": ("/x",)}),
        rule("overloaded"),
    ]
    day = Day(rules)
    client, notes = Client(), Notes()
    assert day.weather.tunnel("db.example", 5432, client, notes) is not client
    assert notes.faults == ["latency", "reset"]
    assert day.weather.tunnel("cache.example", 6379, client, notes) is client
    assert [day.report(item.id).matched for item in rules] == [1, 1, 0, 0]


# -- the same weather every time -----------------------------------------------------------------------------------

PLAN = [
    rule("overloaded", id="shy", probability=0.3),
    rule("latency", probability=0.5, distribution="uniform", min="1ms", max="2ms"),
    rule("server-error", id="third", match={"method": ("POST",)}, every=3),
]
ROUTES = ["/a", "/b", "/c"]


def sequence(key: TrialKey = KEY, plan: list[FaultRule] = PLAN) -> list[tuple[str, ...]]:
    day = Day(plan, key=key)
    return [day.send(target, method) for target in ROUTES for method in ("GET", "POST") * 10]


def test_the_same_trial_meets_the_same() -> None:
    assert sequence() == sequence()
    assert len(set(sequence())) > 2


@pytest.mark.parametrize("change", [{"suite": "x"}, {"case": "x"}, {"variant": "x"}, {"number": 2}])
def test_another_trial_meets_something_else(change: dict[str, Any]) -> None:
    fields = {"suite": KEY.suite, "case": KEY.case, "variant": KEY.variant, "number": KEY.number}
    assert sequence(TrialKey(**{**fields, **change})) != sequence()


def test_a_rule_more_changes_no_draw_of_the_others() -> None:
    more = sequence(plan=[rule("latency", id="new", probability=0.9, delay="1ms"), *PLAN])
    assert [tuple(item for item in found if item != "new") for found in more] == sequence()


def test_the_order_of_routes_changes_no_draw() -> None:
    """Requests under way at the same time arrive in any order: each route has its own draws."""
    by_route = []
    for order in itertools.permutations(ROUTES):
        day = Day(PLAN[:2])
        found: dict[str, list[tuple[str, ...]]] = {}
        for target in [target for _ in range(8) for target in order]:
            found.setdefault(target, []).append(day.send(target))
        by_route.append(found)
    assert all(found == by_route[0] for found in by_route)


def test_requests_under_way_at_once_are_decided_when_they_arrive() -> None:
    """The first is still being answered when the second comes: it has had its match all the same."""
    weather = Weather([rule("overloaded", on=(2,))], KEY)
    weather.start()
    first, second = request("/slow"), request("/fast")

    async def run() -> ResponsePlan:
        arrived, go_on = asyncio.Event(), asyncio.Event()

        async def upstream(sent: Request) -> ResponsePlan:
            arrived.set()
            await go_on.wait()
            return await Day([])._upstream(sent)

        slow = asyncio.ensure_future(weather.intercept(first, upstream))
        await arrived.wait()
        plan = await weather.intercept(second, upstream)
        go_on.set()
        await slow
        return plan

    assert asyncio.run(run()).status == 503
    assert (first.notes.faults, second.notes.faults) == ([], ["overloaded"])


def test_what_a_fault_draws() -> None:
    one = Hit("r", "GET a/", 5, 2, 0.0, KEY)
    # Neither the time nor the number over all routes decides: only the match on its route.
    assert one.draw("x") == Hit("r", "GET a/", 99, 2, 7.0, KEY).draw("x")
    drawn = [
        one.draw("x"),
        one.draw("y"),
        Hit("r", "GET a/", 5, 3, 0.0, KEY).draw("x"),
        Hit("s", "GET a/", 5, 2, 0.0, KEY).draw("x"),
        Hit("r", "GET b/", 5, 2, 0.0, KEY).draw("x"),
    ]
    assert len(set(drawn)) == 5


def test_a_query_makes_no_other_route() -> None:
    shy = [rule("overloaded", probability=0.5)]
    same, other = Day(shy), Day(shy)
    assert hits(same, 20, "/a") == [other.send(f"/a?page={page}") for page in range(20)]


# -- the decisions alone -------------------------------------------------------------------------------------------


def test_deciding_is_what_intercepting_does() -> None:
    rules = [*PLAN, rule("refresh-revoked", match={"path": ("/b",)}, until_match=FaultMatch(path=("/c",)))]
    acted, asked = Day(rules), Day(rules)
    for target, method in [(target, method) for target in ROUTES * 4 for method in ("GET", "POST")]:
        seen = asyncio.run(_decided(asked, request(target, method)))
        assert seen == acted.send(target, method)
    # Notes say what was done; nothing was.
    assert [(item.matched, item.hits, item.displaced) for item in asked.weather.reports()] == [
        (item.matched, item.hits, item.displaced) for item in acted.weather.reports()
    ]


async def _decided(day: Day, sent: Request) -> tuple[str, ...]:
    return await day.weather.decide(Seen(sent, b"", None, 0.0), day._upstream)


def test_deciding_about_a_tunnel_is_what_tunnelling_does() -> None:
    rules = [rule("latency", match={"port": 5432}, probability=0.5), rule("reset", every=3)]
    acted, asked = Day(rules), Day(rules)
    for _ in range(12):
        notes = Notes()
        acted.weather.tunnel("db.example", 5432, Client(), notes)
        assert asked.weather.decide_tunnel("db.example", 5432) == tuple(notes.faults)
