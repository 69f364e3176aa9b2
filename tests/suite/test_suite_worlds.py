"""`world` and `collect` of a suite, and `world.clock`."""

from __future__ import annotations

import json
import zoneinfo
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from suite_files import HEAD, load, problems, write

from aegis.suite import Suite
from aegis.suite.clockkeys import clock_document, instant
from aegis.suite.document import to_document
from aegis.suite.model import Agent, Case, Clock, Expectation, Turn, World
from aegis.suite.worlds import merged, own_part

CASE = "{id: %s, input: hi, expect: [{answer: x}]%s}"


def cases(*extras: str) -> str:
    lines = [f"  - {CASE % (name, extra)}" for name, extra in zip("abcdefgh", extras, strict=False)]
    return "\n".join(["cases:", *lines, ""])


def utc(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("orders.json", "other.json", "notes.txt"):
        write(tmp_path, "{}", name)
    return tmp_path


def test_every_case_has_the_suites_world_besides_its_own(root: Path) -> None:
    shared = """
world:
  files: {orders.json: orders.json, data/: notes.txt}
  run: [suite step]
  reset: [suite reset]
  clock: 2028-02-29T09:00:00
collect: [outbox, /var/log/app.log]
"""
    own = ", collect: [own.txt, outbox], world: {files: {/workspace/orders.json: other.json, own.txt: notes.txt}, "
    own += "run: [own step], reset: [own reset], clock: {at: 2028-12-31T09:00:00}}"
    suite = load(root, HEAD + shared + cases("", own, ", world: none", ", world: {run: [own step]}"))
    bare, both, alone, more = suite.cases
    assert bare.world == suite.world
    assert bare.world.files == {
        "/workspace/orders.json": "orders.json",
        "/workspace/data/notes.txt": "notes.txt",
    }
    assert both.world == World(
        files={
            "/workspace/data/notes.txt": "notes.txt",
            "/workspace/orders.json": "other.json",
            "/workspace/own.txt": "notes.txt",
        },
        run=("suite step", "own step"),
        reset=("own reset", "suite reset"),
        clock=Clock(at=utc("2028-12-31T09:00:00")),
    )
    assert list(both.world.files)[-1] == "/workspace/own.txt"
    assert alone.world == World(alone=True)
    assert more.world.run == ("suite step", "own step")
    assert more.world.clock == Clock(at=utc("2028-02-29T09:00:00"))
    assert bare.collect == ("/workspace/outbox", "/var/log/app.log")
    assert both.collect == ("/workspace/outbox", "/var/log/app.log", "/workspace/own.txt")


def test_bulk_cases_have_it_too(root: Path) -> None:
    lines = [
        {"id": "a", "input": "hi", "expect": [{"answer": "x"}]},
        {"id": "b", "input": "hi", "expect": [{"answer": "x"}], "world": "none", "collect": ["b.txt"]},
    ]
    write(root, "".join(json.dumps(line) + "\n" for line in lines), "cases.jsonl")
    text = f"{HEAD}world: {{run: [x], clock: {{zone: Europe/Berlin}}}}\ncollect: [o]\ncases: {{jsonl: cases.jsonl}}\n"
    first, second = load(root, text).cases
    assert first.world == World(run=("x",), clock=Clock(zone="Europe/Berlin"))
    assert second.world == World(alone=True)
    assert second.collect == ("/workspace/o", "/workspace/b.txt")


def test_what_is_wrong_is_told_where_it_stands(root: Path) -> None:
    text = HEAD + cases(", world: {clock: {at: 2027-02-29T00:00:00}}", ", world: nothing")
    text += "world: {files: {x: nope.json}, run: x}\ncollect: [../x]\n"
    found = problems(root, text)
    assert [problem.partition(" (")[0].partition(", got")[0] for problem in found] == [
        "evals/s.yaml:4: world.clock.at of case 'a': expected a date and time such as 2028-02-29T23:50:00 or "
        "2028-02-29T23:50:00+01:00",
        "evals/s.yaml:5: world of case 'b': expected a mapping such as {files: …}, or none",
        "evals/s.yaml:6: world.files.x: 'nope.json' does not exist",
        "evals/s.yaml:6: world.run: expected a list of shell commands",
        "evals/s.yaml:7: collect[0]: expected a path in the sandbox such as orders.json or /etc/app.conf",
    ]


@pytest.mark.parametrize(
    ("written", "at", "zone"),
    [
        ("2028-02-29T23:50:00", "2028-02-29T23:50:00", None),
        ("2028-02-29", "2028-02-29", None),
        ('"2028-02-29 23:50:00+01:00"', "2028-02-29T22:50:00", None),
        ("2028-02-29T23:50:00.25Z", "2028-02-29T23:50:00.25", None),
        ("{at: 2028-07-01T12:00:00, zone: Europe/Berlin}", "2028-07-01T10:00:00", "Europe/Berlin"),
        ('{at: "2028-07-01T12:00:00-07:00", zone: Europe/Berlin}', "2028-07-01T19:00:00", "Europe/Berlin"),
        ("{at: 1971-01-01T00:00:00, zone: UTC}", "1971-01-01", "UTC"),
        ("{zone: Asia/Kolkata}", None, "Asia/Kolkata"),
    ],
)
def test_a_clock(root: Path, written: str, at: str | None, zone: str | None) -> None:
    (case,) = load(root, HEAD + cases(f", world: {{clock: {written}}}")).cases
    assert case.world.clock == Clock(at=None if at is None else utc(at), zone=zone)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("tomorrow", "expected a date and time such as"),
        ("2027-02-29T00:00:00", "expected a date and time such as"),
        ("1969-12-31T00:00:00", "expected a year from 1971 to 2199, got '1969-12-31T00:00:00'"),
        ("2200-01-01", "expected a year from 1971 to 2199"),
        ("12", "expected a date and time such as"),
        ("{}", "needs 'at' or 'zone'"),
        ("{zone: Europe/Berln}", "there is no time zone 'Europe/Berln' (did you mean 'Europe/Berlin'?)"),
        ("{zone: ../../etc/passwd}", "expected a time zone such as Europe/Berlin"),
        ("{zone: Europe}", "there is no time zone 'Europe'"),
        (
            "{at: 2027-03-28T02:30:00, zone: Europe/Berlin}",
            "2027-03-28T02:30:00 does not exist in Europe/Berlin: clocks are put forward over it",
        ),
        (
            "{at: 2027-10-31T02:30:00, zone: Europe/Berlin}",
            "2027-10-31T02:30:00 comes twice in Europe/Berlin: write its offset, +02:00 or +01:00",
        ),
        ("{at: 2028-02-29, offset: 1}", "unknown key 'offset'"),
    ],
)
def test_what_is_no_clock(root: Path, written: str, expected: str) -> None:
    (problem,) = problems(root, HEAD + cases(f", world: {{clock: {written}}}"))
    assert expected in problem
    assert problem.startswith("evals/s.yaml:4: ")


ZONES = st.sampled_from(sorted(zoneinfo.available_timezones() - {"Factory", "localtime"}))


@given(st.datetimes(datetime(1971, 1, 2), datetime(2199, 12, 30)), ZONES)
def test_a_local_time_is_that_time_there(moment: datetime, zone: str) -> None:
    moment = moment.replace(microsecond=0)
    place = zoneinfo.ZoneInfo(zone)
    offsets = {moment.replace(tzinfo=place, fold=fold).utcoffset() for fold in (0, 1)}
    if len(offsets) == 2:
        with pytest.raises(ValueError, match=r"does not exist|comes twice"):
            instant(moment.isoformat(), zone)
        return
    at = instant(moment.isoformat(), zone)
    assert datetime.fromtimestamp(at, zoneinfo.ZoneInfo(zone)).replace(tzinfo=None) == moment


clocks = st.none() | st.builds(
    Clock,
    at=st.integers(0, 7 * 10**12).map(lambda ms: ms / 1000),
    zone=st.sampled_from([None, "Europe/Berlin"]),
)
steps = st.lists(st.sampled_from(["one", "two", "three"]), max_size=3).map(tuple)
paths = st.sampled_from(["/workspace/a.json", "/workspace/b.json", "/etc/c.json"])
worlds = st.builds(
    World,
    files=st.dictionaries(paths, st.sampled_from(["orders.json", "other.json"]), max_size=3),
    run=steps,
    reset=steps,
    clock=clocks,
)


@given(worlds, worlds)
def test_what_was_merged_is_taken_apart_again(shared: World, own: World) -> None:
    world = merged(shared, own)
    assert merged(shared, own_part(shared, world)) == world


@given(clocks.filter(lambda clock: clock is not None))
def test_a_clock_survives_its_document(clock: Clock) -> None:
    written = clock_document(clock)
    at = instant(written["at"], clock.zone) if "at" in written else None
    assert Clock(at=at, zone=written.get("zone")) == clock


def made(world: World, *own: World, **fields: Any) -> Suite:
    return Suite(
        suite="s",
        agent=Agent(command="cat"),
        world=world,
        cases=tuple(
            Case(
                id=f"c{number}",
                turns=(Turn(user="hi"),),
                expect=(Expectation(scorer="answer", config="x"),),
                world=each,
            )
            for number, each in enumerate(own)
        ),
        **fields,
    )


def test_a_suite_made_in_python_loads_to_an_equal_one(root: Path) -> None:
    shared = World(
        files={"/workspace/o.json": "orders.json"},
        run=("a",),
        reset=("b",),
        clock=Clock(at=1.5e9, zone="UTC"),
    )
    own = World(
        files={"/workspace/o.json": "other.json"}, run=("c",), clock=Clock(at=None, zone="Asia/Tokyo")
    )
    suite = made(shared, World(), own, World(alone=True), collect=("/workspace/out",))
    loaded = load(root, f"suite = {to_document(suite)!r}\n", "s.py")
    assert loaded.world == shared
    assert [case.world for case in loaded.cases] == [shared, merged(shared, own), World(alone=True)]
    assert {case.collect for case in loaded.cases} == {("/workspace/out",)}
    again = load(root, f"suite = {to_document(loaded)!r}\n", "s.py")
    assert again == loaded
