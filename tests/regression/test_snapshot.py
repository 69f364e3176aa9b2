"""What of a run is kept: made of the ledger's rows, as bytes and back, and whatever else the bytes may be."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
from random import Random
from typing import Any

import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aegis.errors import UsageError
from aegis.regression.drift import compare as drift
from aegis.regression.drift import observe, shorten
from aegis.regression.drift.behaviour import Behaviour, Request, ToolUse
from aegis.regression.snapshot import (
    Facts,
    Snapshot,
    behaviours_of,
    common_chars,
    confirmation_of,
    decode,
    encode,
    from_bytes,
    of_run,
    pool_behaviours,
    to_bytes,
)
from aegis.regression.trials import CaseKey, Trials
from aegis.results.records import CONFIRMATION, TrialRecord
from support.fuzzing import examples
from support.run_records import CONFIG, RUN_ID, run_record, trial_record

A, B = CaseKey("a"), CaseKey("b", "shard_turns")
FACTS = Facts(RUN_ID, "production-v2", "e" * 64, "qemu", commit="0" * 40, branch="main", passed=3, planned=4)


def facts(**changes: Any) -> Facts:
    return dataclasses.replace(FACTS, **changes)


def some() -> Snapshot:
    lookup = ToolUse("lookup", {"order": {"id": 7, "tags": ["x", 1, 1.0, True, None]}}, writes=False)
    refund = ToolUse("refund", {"order": 7}, writes=True)
    get, post = (
        Request("crm.example", "GET", "/orders/7"),
        Request("api.openai.com", "POST", "/v1", to_model=True),
    )
    usual = Behaviour((lookup, refund), (get, post, get), "Done.", 120, 0.01234, 1.5, {"backoff": True})
    other = Behaviour((refund, lookup, ToolUse("ask")), (post,), "Sorry \ud800 ☂", None, None, None, {})
    return Snapshot(
        FACTS,
        {A: Trials(3, 1, 0, 0, "c" * 64), B: Trials(0, 0, 1, 2, None)},
        {A: (usual, other, usual, other)},
    )


def read(snapshot: Snapshot) -> Snapshot:
    return from_bytes(to_bytes(snapshot), "here")


def described(snapshot: Snapshot) -> Any:
    """With the types of numbers, which Python's `==` does not look at."""
    return repr((snapshot.facts, dict(snapshot.trials), dict(snapshot.behaviours)))


def packed(document: Any) -> bytes:
    text = json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return zstandard.ZstdCompressor(level=1).compress(text)


def unpacked(data: bytes) -> Any:
    return json.loads(zstandard.ZstdDecompressor().decompress(data).decode("utf-8", "surrogatepass"))


# Of the ledger's rows.


def test_planned_trials_are_counted_and_fresh_ones_kept_apart() -> None:
    row = observe.to_json(Behaviour(tools=(ToolUse("lookup", {"id": 7}, False),), answer="Done.", tokens=9))
    trials = [
        trial_record("b", behaviour=row),
        trial_record("a", 1, behaviour=row),
        trial_record("a", 2, "failed", behaviour=row),
        trial_record("a", 3, "timeout"),
        trial_record("a", 4, "error", behaviour=row),
        trial_record("a", 5, None),
        dataclasses.replace(trial_record("a", 6, "failed", behaviour=row), purpose=CONFIRMATION),
    ]
    keys = {name: CaseKey(name) for name in "abc"}
    config = {**CONFIG, "environment": "e" * 64, "replay_of": "20260101-000000-aaaa", "version": "0.8.0"}
    run = run_record(status="complete", config=config, document={"verdict": "BELOW_THRESHOLD"})
    found = of_run(run, trials, {keys["c"]: "3", keys["a"]: "1", keys["b"]: "2"})
    assert list(found.trials.items()) == [
        (keys["a"], Trials(1, 2, 1, 1, "1")),
        (keys["b"], Trials(1, 0, 0, 0, "2")),
    ]
    assert {key: len(items) for key, items in found.behaviours.items()} == {keys["a"]: 2, keys["b"]: 1}
    assert found.behaviours[keys["b"]][0].tools == (ToolUse("lookup", {"id": 7}, False),)
    assert found.facts == Facts(
        RUN_ID,
        "production-v2",
        "e" * 64,
        "qemu",
        accel="tcg",
        commit="0" * 40,
        branch="main",
        dirty=True,
        started_at="2026-11-23T10:15:00Z",
        complete=False,
        replay_of="20260101-000000-aaaa",
        verdict="BELOW_THRESHOLD",
        passed=2,
        planned=6,
        version="0.8.0",
    )
    assert confirmation_of(trials) == {keys["a"]: Trials(failed=1)}
    assert len(behaviours_of(trials)[keys["a"]]) == 1
    assert described(read(found)) == described(found)


@pytest.mark.parametrize(
    ("outcome", "complete"), [("error", True), ("failed", True), ("cancelled", False), (None, False)]
)
def test_a_run_is_complete_when_every_trial_came_to_its_end(outcome: str | None, complete: bool) -> None:
    found = of_run(run_record(), [trial_record(), trial_record(number=2, outcome=outcome)], {})
    assert found.facts.complete is complete


def test_a_run_outside_of_a_repository_that_says_little() -> None:
    found = of_run(run_record(config={}), [], {})
    assert (found.facts.commit, found.facts.isolation, found.facts.environment) == (None, "unknown", "")
    assert described(read(found)) == described(found)


def test_behaviour_may_come_from_elsewhere() -> None:
    def behaviour(trial: TrialRecord) -> Behaviour | None:
        return Behaviour(answer=str(trial.number)) if trial.number != 2 else None

    found = of_run(run_record(), [trial_record(number=number) for number in (1, 2, 3)], {}, behaviour)
    assert [item.answer for item in found.behaviours[CaseKey("refund")]] == ["1", "3"]


# Several runs.


def run_of(answers: str, content: str = "c") -> Snapshot:
    return Snapshot(
        FACTS, {A: Trials(len(answers), content=content)}, {A: [Behaviour(answer=x) for x in answers]}
    )


def test_behaviours_are_pooled_like_trials_up_to_what_is_enough() -> None:
    runs = [run_of("ab"), run_of("xyz", content="other"), run_of("cde"), run_of("f")]
    assert [item.answer for item in pool_behaviours(runs, enough=4)[A]] == [*"abcd"]
    assert [item.answer for item in pool_behaviours(runs)[A]] == [*"abcdef"]
    assert [item.answer for item in pool_behaviours([run_of("abcde")], enough=3)[A]] == [*"abc"]
    assert pool_behaviours([]) == {}
    assert pool_behaviours([Snapshot(FACTS, {A: Trials()}), run_of("ab", content="other")]) == {}


# As bytes.


def test_bytes_and_back_is_the_same() -> None:
    snapshot = some()
    data = to_bytes(snapshot)
    found = from_bytes(data, "here")
    assert described(found) == described(snapshot)
    assert found.behaviours == snapshot.behaviours
    assert B not in found.behaviours
    assert found.behaviours[A][0].tools is found.behaviours[A][2].tools
    assert to_bytes(snapshot) == data
    assert to_bytes(found) == data


names = st.text(min_size=1, max_size=12)
leaf = st.none() | st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1) | st.text(max_size=12)
values = st.recursive(
    leaf | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
behaviours = st.builds(
    Behaviour,
    tools=st.lists(st.builds(ToolUse, names, values, st.sampled_from([True, False, None])), max_size=4).map(
        tuple
    ),
    requests=st.lists(st.builds(Request, names, st.text(max_size=4), names, st.booleans()), max_size=4).map(
        tuple
    ),
    answer=st.text(st.characters(), max_size=40),
    tokens=st.none() | st.integers(0, 2**53),
    cost_usd=st.none() | st.integers(0, 9_999).map(lambda number: number / 10_000),
    latency_s=st.none() | st.integers(0, 10**7).map(lambda number: number / 1_000),
    rules=st.dictionaries(names, st.booleans(), max_size=2),
)


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    keys = draw(st.lists(st.builds(CaseKey, names, names), max_size=4, unique=True))
    pool = draw(st.lists(behaviours, min_size=1, max_size=4))
    trials, found = {}, {}
    for key in keys:
        done = draw(st.lists(st.sampled_from(pool), max_size=5))
        trials[key] = Trials(len(done), *draw(st.tuples(*[st.integers(0, 9)] * 3)), draw(st.none() | names))
        if done:
            found[key] = tuple(done)
    known = draw(
        st.builds(
            facts,
            suite=names,
            accel=st.none() | names,
            branch=st.none() | names,
            commit=st.none() | st.just("ab" * 32),
            dirty=st.booleans(),
            complete=st.booleans(),
            replay_of=st.none() | st.just("20260101-000000-aaaa"),
        )
    )
    return Snapshot(known, trials, found)


@given(snapshots())
@settings(max_examples=examples(300), deadline=None)
def test_whatever_is_kept_comes_back(snapshot: Snapshot) -> None:
    assert described(read(snapshot)) == described(snapshot)


def test_amounts_are_rounded_and_impossible_ones_not_known() -> None:
    trials = (
        Behaviour(tokens=7, cost_usd=0.123456789, latency_s=1.23456),
        Behaviour(tokens=-1, cost_usd=float("nan"), latency_s=float("inf")),
    )
    found = read(Snapshot(FACTS, {A: Trials(2)}, {A: trials})).behaviours[A]
    assert [(item.tokens, item.cost_usd, item.latency_s) for item in found] == [
        (7, 0.1235, 1.235),
        (None,) * 3,
    ]


def test_a_small_suite_keeps_its_answers_whole_and_a_large_one_its_bound() -> None:
    random = Random(1)

    def text(chars: int) -> str:
        return "".join(random.choice("abcdefghij klmnop") for _ in range(chars))

    few = Snapshot(FACTS, {A: Trials(5)}, {A: [Behaviour(answer=text(3_500)) for _ in range(5)]})
    assert described(read(few)) == described(Snapshot(FACTS, few.trials, {A: tuple(few.behaviours[A])}))
    keys = [CaseKey(str(number)) for number in range(400)]
    many = Snapshot(
        FACTS,
        {key: Trials(5) for key in keys},
        {
            key: [Behaviour((ToolUse("run", {"sql": text(500)}),), answer=text(1_500)) for _ in range(5)]
            for key in keys
        },
    )
    data = to_bytes(many)
    assert len(data) <= encode.budget_bytes(2_000)
    found = from_bytes(data, "here")
    assert found.chars is not None
    assert 16 <= found.chars < 1_000
    kept = found.behaviours[keys[0]][0]
    assert kept.answer.endswith("…")
    assert many.behaviours[keys[0]][0].answer.startswith(kept.answer[:-1])
    # Nothing has changed but what was kept of it.
    for sides in ((found, many), (many, found)):
        before, now = (dict(side.behaviours) for side in sides)
        assert drift.compare(before, now, chars=common_chars(sides)).findings == ()
    assert described(read(found)) == described(found)


@pytest.mark.parametrize("talkative", [0, 1])
def test_the_bound_holds_when_the_cases_it_is_guessed_by_are_unlike_the_others(talkative: int) -> None:
    random = Random(1)
    keys = [CaseKey(str(number)) for number in range(600)]
    texts = [
        random.randbytes(1_500).hex() if number % 2 == talkative else "Done." for number in range(len(keys))
    ]
    found = {key: [Behaviour(answer=text)] * 3 for key, text in zip(keys, texts, strict=True)}
    snapshot = Snapshot(FACTS, {key: Trials(3) for key in keys}, found)
    data = to_bytes(snapshot)
    assert len(data) <= encode.budget_bytes(1_800)
    assert to_bytes(snapshot) == data
    kept = from_bytes(data, "here")
    assert kept.chars is not None
    assert kept.chars >= 500
    assert to_bytes(kept) == data


def test_what_differed_behind_the_cut_is_written_once() -> None:
    same = "Dear customer, thank you for your patience, your order is on its way. "
    trials = [
        Behaviour(
            (ToolUse("mail", {"text": f"{same}Sent at 2026-01-05T10:00:{second}Z."}),), answer=same + second
        )
        for second in ("07", "09", "42")
    ]
    snapshot = Snapshot(FACTS, {A: Trials(3)}, {A: trials})
    whole, cut = (unpacked(to_bytes(dataclasses.replace(snapshot, chars=chars))) for chars in (None, 48))
    assert [len(whole[name]) for name in ("answers", "arguments", "calls")] == [3, 3, 3]
    assert [len(cut[name]) for name in ("answers", "arguments", "calls")] == [1, 1, 1]
    assert cut["answers"] == ["Dear customer, thank you for your patience, your…"]
    assert cut["behaviours"]["calls"] == cut["behaviours"]["answer"] == [0, 1, 1]


def test_a_snapshot_that_was_cut_is_never_said_to_be_longer() -> None:
    cut = dataclasses.replace(some(), chars=48)
    assert from_bytes(to_bytes(cut), "here").chars == 48
    assert common_chars([cut, some(), dataclasses.replace(some(), chars=64)]) == 48
    assert common_chars([some()]) is None


def test_behaviour_without_trials_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="behaviour of b"):
        to_bytes(Snapshot(FACTS, {A: Trials(1)}, {B: (Behaviour(),)}))


# Whatever else the bytes may be.


def refused(data: bytes, *words: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        from_bytes(data, "refs/aegis/results:abc")
    assert "refs/aegis/results:abc" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.fix
    for word in words:
        assert word in str(caught.value)
    return caught.value


def test_what_is_something_else_is_refused_with_the_reason() -> None:
    refused(b"", "zstandard")
    refused(b'{"schema":"aegis.run/1"}', "zstandard")
    refused(packed({"schema": "aegis.run/1"}), "'aegis.run/1'", "aegis.snapshot/1")
    refused(packed([1, 2]), "no JSON object")
    refused(packed({}), "missing")
    refused(zstandard.ZstdCompressor().compress(b"\xff\xfe{"), "no JSON")
    refused(zstandard.ZstdCompressor().compress(b"[" * 100_000), "no JSON")
    refused(
        zstandard.ZstdCompressor().compress(b'{"schema":"aegis.snapshot/1","chars":' + b"9" * 9_999 + b"}"),
        "JSON",
    )


def test_a_newer_version_is_told_apart_from_damage() -> None:
    document = {**unpacked(to_bytes(some())), "schema": "aegis.snapshot/2"}
    error = refused(packed(document), "newer Aegis", "aegis.snapshot/2")
    assert error.fix is not None
    assert "upgrade" in error.fix


def test_damage_is_found_wherever_it_is() -> None:
    data = to_bytes(some())
    for place in range(len(data)):
        for bit in (0, 3, 7):
            broken = bytearray(data)
            broken[place] ^= 1 << bit
            try:
                found = from_bytes(bytes(broken), "here")
            except UsageError:
                continue
            # Some bits of a frame's header say nothing of its content.
            assert described(found) == described(some())
    for size in range(len(data)):
        refused(data[:size])
    refused(data + b"x")
    refused(data + data)


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    many = zstandard.ZstdCompressor(level=1).compress(b" " * (decode.MAX_TEXT_BYTES + 1))
    refused(many, "claim")
    refused(zstandard.ZstdCompressor(level=1).compress(b" " * 50_000_000), "claim")
    endless = zstandard.ZstdCompressor(level=1, write_content_size=False).compress(b" " * 50_000_000)
    refused(endless, "claim")
    refused(
        zstandard.ZstdCompressor(level=1).compress(b"[" + b"[]," * 8_000_000 + Random(1).randbytes(200_000)),
        "values",
    )


DOCUMENT = unpacked(to_bytes(some()))


def test_the_document_is_what_is_packed() -> None:
    assert described(from_bytes(packed(DOCUMENT), "here")) == described(some())


@pytest.mark.parametrize(
    ("path", "value", "word"),
    [
        (("facts", "run_id"), "../../x", "run id"),
        (("facts", "run_id"), "-x", "run id"),
        (("facts", "commit"), "--upload-pack=x", "commit"),
        (("facts", "passed"), True, "facts.passed"),
        (("facts", "planned"), -1, "facts.planned"),
        (("facts", "suite"), "x" * 5_000, "facts.suite"),
        (("facts", "dirty"), 1, "facts.dirty"),
        (("chars",), 0, "chars"),
        (("chars",), True, "chars"),
        (("cases", "passed"), [-1, 0], "below 0"),
        (("cases", "passed"), [3], "1 entries instead of 2"),
        (("cases", "passed"), [3.0, 0], "whole"),
        (("cases", "passed"), [0, 0], "more trials than were judged"),
        (("cases", "content"), [7, None], "another type"),
        (("cases", "case"), ["", "b"], "empty"),
        (("behaviours", "answer"), [0, 3, 2, 2], "before the first"),
        (("behaviours", "answer"), [0, 0, 0, 1], "behind the last"),
        (("behaviours", "answer"), [0, 1, 1, 1], "nothing refers to"),
        (("behaviours", "answer"), [0, 0], "entries instead of"),
        (("behaviours", "tokens"), [1, 2, 3, 10**30], "below 0 or above"),
        (("behaviours", "cost_usd"), [1, 2, 3, "x"], "another type"),
        (("tools", "writes"), "1x0", "not known"),
        (("rules",), [[["backoff", 1]], []], "no rules"),
        (("calls",), [7], "no sequences"),
        (("answers",), "text", "no list"),
        (("requests",), None, "no object"),
        (("arguments",), [json.loads("[" * 90 + "]" * 90)] * 3, "nested"),
        (("arguments",), [2**70] * 3, "64 bits"),
        (("arguments",), [{"a": [float("inf")]}] * 3, "JSON"),
    ],
)
def test_what_does_not_fit_together_is_told(path: tuple[str, ...], value: Any, word: str) -> None:
    document = copy.deepcopy(DOCUMENT)
    inner = document
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    with pytest.raises(UsageError, match=word):
        from_bytes(packed(document), "here")


def test_a_case_that_is_there_twice_is_refused() -> None:
    document = copy.deepcopy(DOCUMENT)
    document["cases"]["case"], document["cases"]["variant"], document["variants"] = ["a", "a"], [0, 1], ["x"]
    with pytest.raises(UsageError, match="twice"):
        from_bytes(packed(document), "here")


def test_infinity_in_disguise_is_refused() -> None:
    text = json.dumps({**DOCUMENT, "arguments": [{"a": 0.125}] * 3}).replace("0.125", "1e999")
    with pytest.raises(UsageError, match="64 bits"):
        from_bytes(zstandard.ZstdCompressor().compress(text.encode()), "here")


def survives(data: bytes) -> None:
    """Read, or refused with the one error; and what was read can be used."""
    found = None
    with contextlib.suppress(UsageError):
        found = from_bytes(data, "here")
    if found is None:
        refused(data)
        return
    drift.compare(found.behaviours, found.behaviours, chars=common_chars([found]))
    to_bytes(found)


@given(st.binary(max_size=200))
@example(b"\x28\xb5\x2f\xfd")
@settings(max_examples=examples(500), deadline=None)
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    survives(data)
    survives(zstandard.ZstdCompressor(level=1).compress(data))


odd = st.sampled_from(
    [
        None,
        True,
        -1,
        0,
        1,
        7,
        10**18,
        10**400,
        0.5,
        -0.5,
        1e308,
        "",
        "x",
        "a" * 2_000,
        "\ud800",
        [],
        [0],
        [[]],
        {},
        {"a": 1},
    ]
)


@given(st.data())
@settings(max_examples=examples(1_500), deadline=None)
def test_any_json_is_read_or_refused(data: st.DataObject) -> None:
    document = copy.deepcopy(DOCUMENT)
    for _ in range(data.draw(st.integers(1, 3))):
        inner: Any = document
        while True:
            keys = list(inner) if isinstance(inner, dict) else list(range(len(inner)))
            if not keys:
                break
            key = data.draw(st.sampled_from(keys))
            value = inner[key]
            if isinstance(value, dict | list) and value and data.draw(st.integers(0, 3)):
                inner = value
                continue
            what = data.draw(st.sampled_from(["replace", "remove", "twice"]))
            if what == "replace":
                inner[key] = copy.deepcopy(data.draw(odd))
            elif what == "remove":
                del inner[key]
            elif isinstance(inner, list):
                inner.insert(key, copy.deepcopy(value))
            break
    survives(packed(document))


def test_lengths_are_tried_from_the_longest() -> None:
    assert sorted(encode._CHARS, reverse=True) == list(encode._CHARS)
    assert encode._CHARS[0] == shorten.LONGEST
