"""Which of its matches a rule hits."""

from __future__ import annotations

from typing import Any

import pytest

from aegis.faults.base import TrialKey
from aegis.faults.plan.when import describe, hits, is_permanent
from aegis.suite.model import FaultMatch, FaultRule

KEY = TrialKey("s", "c", "baseline", 1)


def made(**fields: Any) -> FaultRule:
    return FaultRule(id="r", inject="latency", **fields)


def hit(rule: FaultRule, count: int = 12, key: TrialKey = KEY, route: str = "GET a.example/") -> list[int]:
    """Numbers of the matches that it hits, all on one route, one a second."""
    found: list[int] = []
    for number in range(1, count + 1):
        if hits(rule, key, route=route, number=number, nth=number, at_s=float(number), fired=len(found)):
            found.append(number)
    return found


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, [*range(1, 13)]),
        ({"on": (1, 4)}, [1, 4]),
        ({"first": 10}, [10, 11, 12]),
        ({"last": 2}, [1, 2]),
        ({"first": 3, "last": 5}, [3, 4, 5]),
        ({"every": 5}, [5, 10]),
        ({"every": 3, "after": 1}, [4, 7, 10]),
        ({"every": 4, "first": 5}, [8, 12]),
        ({"after": 10}, [11, 12]),
        ({"on": (2, 9), "after": 2}, [9]),
        ({"after_s": 11.0}, [11, 12]),
        ({"until_s": 3.0}, [1, 2]),
        ({"after_s": 2.0, "until_s": 4.0}, [2, 3]),
        ({"until_hits": 2}, [1, 2]),
        ({"every": 3, "until_hits": 2}, [3, 6]),
        ({"probability": 1.0}, [*range(1, 13)]),
    ],
)
def test_what_is_hit(fields: dict[str, Any], expected: list[int]) -> None:
    assert hit(made(**fields)) == expected


def test_a_share_is_met_and_always_the_same() -> None:
    rule = made(probability=0.2)
    found = hit(rule, 5000)
    # 1000 ± 28 (one standard deviation): a fair share, whoever counts.
    assert 850 < len(found) < 1150
    assert hit(rule, 5000) == found


def test_what_decides_a_draw() -> None:
    rule = made(probability=0.5)
    found = hit(rule, 200)
    assert hit(rule, 200, route="GET a.example/other") != found
    assert hit(rule.model_copy(update={"id": "other"}), 200) != found
    for other in ("suite", "case", "variant"):
        assert hit(rule, 200, key=TrialKey(**{**_fields(KEY), other: "x"})) != found
    assert hit(rule, 200, key=TrialKey("s", "c", "baseline", 2)) != found


def _fields(key: TrialKey) -> dict[str, Any]:
    return {"suite": key.suite, "case": key.case, "variant": key.variant, "number": key.number}


def test_a_draw_is_of_the_match_on_its_route_and_not_of_the_count() -> None:
    rule = made(probability=0.5)
    for nth in range(1, 50):
        one, other = (
            hits(rule, KEY, route="GET a.example/", number=number, nth=nth, at_s=0.0, fired=0)
            for number in (nth, nth + 1000)
        )
        assert one == other


def test_draws_do_not_change_between_versions() -> None:
    assert KEY.draw("r", "GET a.example/", 1, "hits") == 0.7487072286851101
    assert TrialKey("süite", "\ud800", "v", 3).draw() == 0.07353629628272518


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, True),
        ({"first": 3}, True),
        ({"after": 3}, True),
        ({"after_s": 3.0}, True),
        ({"on": (1,)}, False),
        ({"last": 3}, False),
        ({"every": 2}, False),
        ({"probability": 0.9}, False),
        ({"until_hits": 3}, False),
        ({"until_s": 3.0}, False),
        ({"until_match": FaultMatch(path=("/x",))}, False),
    ],
)
def test_what_nothing_lets_end_is_permanent(fields: dict[str, Any], expected: bool) -> None:
    assert is_permanent(made(**fields)) is expected


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "always"),
        ({"on": (1, 4)}, "on match 1, 4"),
        ({"first": 2, "last": 5}, "from match 2, to match 5"),
        ({"every": 3, "after": 1}, "every 3 matches, after match 1"),
        ({"after_s": 1.5, "until_s": 20.0}, "after 1.5 s, until 20 s"),
        ({"probability": 0.045}, "in 4.5 % of the matches"),
        ({"until_hits": 1}, "once at most"),
        ({"until_hits": 2}, "2 times at most"),
        ({"until_match": FaultMatch(path=("/x",))}, "until a given request succeeds"),
    ],
)
def test_in_words(fields: dict[str, Any], words: str) -> None:
    assert describe(made(**fields)) == words
