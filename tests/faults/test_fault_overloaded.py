from __future__ import annotations

import pytest
import requests

from support.gateway_server import World
from support.storm import rule, storm


def test_it_answers_for_the_upstream_which_hears_nothing_of_it(net: World) -> None:
    weather = storm(net, [rule("overloaded", on=(1,))])
    url = f"http://127.0.0.1:{weather.port}/orders/1"
    first = requests.get(url, headers={"Host": "api.example"}, timeout=60)
    again = requests.get(url, headers={"Host": "api.example"}, timeout=60)
    assert (first.status_code, first.reason) == (529, "Overloaded")
    assert first.json()["error"]["type"] == "overloaded_error"
    assert again.status_code == 200
    assert len(weather.upstream.received) == 1
    assert [exchange.faults for exchange in weather.exchanges(2)] == [("overloaded",), ()]
    report = weather.report("overloaded")
    assert (report.matched, report.fired) == (2, 1)


@pytest.mark.parametrize("status", [500, 503, 599])
def test_the_status_is_a_parameter(net: World, status: int) -> None:
    weather = storm(net, [rule("overloaded", status=status)])
    answer = requests.get(f"http://127.0.0.1:{weather.port}/", headers={"Host": "api.example"}, timeout=60)
    assert answer.status_code == status
