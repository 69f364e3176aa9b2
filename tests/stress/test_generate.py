"""Variants of a case: names, order, refusals, the same ones every time, and quickly."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.stress import generate, registry
from aegis.stress.base import Transform, rng_of, variant_name
from aegis.suite.model import Case, StressRule
from support.fuzzing import examples
from support.stress import REFUND, case_of

SHARDS = {
    "shards": [
        "Hi, I'm Ada. I want a refund.",
        'It\'s order 1042 (the "blue mug"), about $12.50.',
        "It arrived broken. Write to ada@mail.example, see https://shop.example/o?id=1042&x=y.",
    ]
}


def stressed(*names: str, case: Case | None = None, **params: object) -> Case:
    """The case with these transforms at all of their levels."""
    rules = tuple(
        StressRule(transform=name, levels=registry.get(name).levels, params=dict(params)) for name in names
    )
    return (case or case_of()).model_copy(update={"stress": rules})


def everything(case: Case | None = None) -> Case:
    rules = stressed(*registry.NAMES, case=case).stress
    given_shards = [
        rule.model_copy(update={"params": SHARDS}) if rule.transform == "shard-turns" else rule
        for rule in rules
    ]
    return (case or case_of()).model_copy(update={"stress": tuple(given_shards)})


def test_each_level_is_one_variant_in_the_order_written() -> None:
    found = generate.variants_of(stressed("truncated-tools", "bloated-tools"))
    names = [variant.name for variant in found.variants]
    assert names == ["truncated-tools.10", "truncated-tools.3", "bloated-tools.8k", "bloated-tools.32k"]
    assert found.refusals == ()


def test_a_transform_without_levels_names_its_variant_by_itself() -> None:
    found = generate.variants_of(stressed("shard-turns", **SHARDS))
    assert [variant.name for variant in found.variants] == ["shard-turns"]


def test_all_nine_make_variants_of_a_case_that_they_apply_to() -> None:
    found = generate.variants_of(everything())
    made = {variant.name.partition(".")[0] for variant in found.variants}
    assert made == set(registry.NAMES), [(refusal.variant, refusal.reason) for refusal in found.refusals]
    assert len({variant.name for variant in found.variants}) == len(found.variants)


def test_the_case_stays_recognisable() -> None:
    case = everything()
    for variant in generate.variants_of(case).variants:
        assert (variant.case.id, variant.case.tags, variant.case.world) == (case.id, case.tags, case.world)
        assert variant.case.turns
        assert variant.case.expect
        assert variant.change
        assert Case.model_validate_json(variant.case.model_dump_json()) == variant.case


def test_a_refused_variant_is_told_with_its_reason_and_the_others_are_made() -> None:
    case = case_of("Hello!", expect=[{"budget": {"tokens": 5000}}])
    rules = (
        StressRule(transform="shard-turns"),
        StressRule(transform="bloated-tools", levels=("8k",)),
        StressRule(transform="truncated-tools", levels=("3",)),
    )
    found = generate.variants_of(case.model_copy(update={"stress": rules}))
    assert [variant.name for variant in found.variants] == ["truncated-tools.3"]
    refused = {refusal.variant: refusal for refusal in found.refusals}
    assert set(refused) == {"shard-turns", "bloated-tools.8k"}
    assert not refused["shard-turns"].rejected
    assert "no shards are marked" in refused["shard-turns"].reason
    assert refused["bloated-tools.8k"].rejected
    assert all(refusal.case == "case" for refusal in found.refusals)


def test_one_variant_by_its_name_is_the_one_of_the_list() -> None:
    case = everything()
    for variant in generate.variants_of(case).variants:
        assert generate.variant_of(case, variant.name) == variant
    for unknown in ("baseline", "bloated-tools", "bloated-tools.9k", ""):
        with pytest.raises(KeyError):
            generate.variant_of(case, unknown)


def test_variants_do_not_depend_on_each_other() -> None:
    alone = generate.variants_of(stressed("malformed-input")).variants
    among = [
        entry for entry in generate.variants_of(everything()).variants if entry.name.startswith("malformed")
    ]
    assert [(entry.name, entry.case.turns) for entry in alone] == [
        (entry.name, entry.case.turns) for entry in among
    ]


def test_another_case_gets_other_talk() -> None:
    first, second = (
        stressed("deep-conversation", case=case_of("Refund order 1042.", id=id)) for id in ("a", "b")
    )
    assert generate.variant_of(first, "deep-conversation.40").case.turns != (
        generate.variant_of(second, "deep-conversation.40").case.turns
    )


SCRIPT = """
import hashlib
from support.stress import case_of
from test_generate import everything
from aegis.stress import generate
made = generate.variants_of(everything()).variants
print(hashlib.sha256("".join(entry.case.model_dump_json() for entry in made).encode()).hexdigest())
"""


def test_variants_are_the_same_in_every_process() -> None:
    """Nothing comes from the hash of a text, which Python seeds anew for each process."""
    digests = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={"PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


def test_random_numbers_are_decided_by_case_transform_and_level() -> None:
    first = rng_of("a", "bloated-tools", "8k").random()
    assert rng_of("a", "bloated-tools", "8k").random() == first
    others = [
        ("b", "bloated-tools", "8k"),
        ("a", "distractors", "8k"),
        ("a", "bloated-tools", "32k"),
        ("a,", "b", ""),
    ]
    assert first not in [rng_of(*other).random() for other in others]
    assert 0 <= rng_of("a\ud800", "x", "").random() < 1


@pytest.mark.parametrize("name", registry.NAMES)
def test_a_transform_says_what_it_is(name: str) -> None:
    kind = registry.get(name)
    assert kind.name == name
    assert issubclass(kind, Transform)
    assert kind.usual
    assert set(kind.usual) <= set(kind.levels)
    assert len(set(kind.levels)) == len(kind.levels)
    assert "\n    The oracle stays valid because " in (kind.__doc__ or "")
    assert {key.name for key in kind.keys}.isdisjoint({"transform", "levels"})
    assert json.loads(json.dumps([variant_name(name, level) for level in kind.levels]))


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.text(max_size=60) | st.just(REFUND), min_size=1, max_size=3))
def test_any_case_gets_variants_or_reasons(messages: list[str]) -> None:
    case = case_of(*messages)
    rules = stressed(*registry.NAMES, case=case).stress
    small = [rule.model_copy(update={"levels": _small(rule.levels)}) for rule in rules]
    found = generate.variants_of(case.model_copy(update={"stress": tuple(small)}))
    told = [entry.name for entry in found.variants] + [refusal.variant for refusal in found.refusals]
    assert sorted(told) == sorted(
        variant_name(rule.transform, level) for rule in small for level in rule.levels
    )
    assert all(refusal.reason for refusal in found.refusals)


def _small(levels: tuple[str, ...]) -> tuple[str, ...]:
    """Without those that make megabytes."""
    return tuple(level for level in levels if level not in ("400", "32k", "128k", "huge"))


def test_a_thousand_variants_take_seconds() -> None:
    names = (
        "deep-conversation",
        "bloated-tools",
        "distractors",
        "conflicting-instructions",
        "malformed-input",
    )
    rules = tuple(StressRule(transform=name, levels=registry.get(name).usual) for name in names)
    cases = [
        case_of(
            f"Please send me a refund for order {number}, the lamp arrived broken.", id=f"case-{number}"
        ).model_copy(update={"stress": rules})
        for number in range(1000, 1120)
    ]
    started = time.monotonic()
    made = sum(len(generate.variants_of(case).variants) for case in cases)
    took_s = time.monotonic() - started
    assert made >= 1000
    assert took_s < 30
