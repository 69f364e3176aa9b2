"""How long variants take to make: 1,000 of them, at the usual levels, are to take under 2 seconds.

    python benchmarks/stress_variants.py [--variants N] [--transforms NAME,NAME] [--repeat N] [--json]

First a suite's worth: cases of one to three turns with the usual levels of every transform, as `--stress production`
asks for them, made through `variants_of` until there are N variants. Refusals count as work, not as variants. Then
each level by itself, the large ones too. Prints best and median of the repetitions; imports are not counted.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from typing import Any

from machine import describe

from aegis.stress import registry
from aegis.stress.base import NotApplicableError, RejectedError
from aegis.stress.generate import variants_of
from aegis.suite.model import Case, Expectation, StressRule, Turn

BOUND_S = 2.0
EACH = 20
"""Variants of one level that its figure is the mean of."""


def case(number: int, rules: tuple[StressRule, ...] = ()) -> Case:
    told = (
        f"Hi, I'm Ada. I want a refund for order {1000 + number}, it arrived broken, and it cost $12.50.",
        "My address has not changed since the last time, you can look it up.",
        "Please write to ada@mail.example when it is done.",
    )
    said = {"method": "POST", "host": "crm.example", "path": "/refunds", "count": 1}
    return Case(
        id=f"refund-{number:05}",
        turns=tuple(Turn(user=text) for text in told[: 1 + number % 3]),
        expect=(
            Expectation(scorer="answer", config={"contains": "refund"}),
            Expectation(scorer="request", config=said),
            Expectation(scorer="tool_calls", config={"include": ["lookup_order", "issue_refund"]}),
        ),
        stress=rules,
    )


def shards(number: int) -> list[str]:
    return [
        "Hi, I'm Ada.",
        "I want a refund, it arrived broken.",
        f"It's order {1000 + number}, and it cost $12.50.",
    ]


def rules_of(names: tuple[str, ...], number: int) -> tuple[StressRule, ...]:
    found = []
    for name in names:
        params: dict[str, Any] = (
            {"shards": shards(number)} if name == "shard-turns" and number % 3 == 0 else {}
        )
        found.append(StressRule(transform=name, levels=registry.get(name).usual, params=params))
    return tuple(found)


def make(names: tuple[str, ...], wanted: int) -> tuple[float, float, int, int]:
    """Seconds, seconds of the processor, variants and refusals."""
    made = refused = number = 0
    spent_s = used_s = 0.0
    while made < wanted:
        item = case(number, rules_of(names, number))
        began, used = time.perf_counter(), time.process_time()
        generated = variants_of(item)
        spent_s += time.perf_counter() - began
        used_s += time.process_time() - used
        made += len(generated.variants)
        refused += len(generated.refusals)
        number += 1
    return spent_s, used_s, made, refused


def each_level(names: tuple[str, ...]) -> Iterator[tuple[str, float]]:
    """Level → mean milliseconds of one variant; levels that do not apply to the cases are left out."""
    for name in names:
        kind = registry.get(name)
        for level in kind.levels:
            times = []
            for number in range(0, 3 * EACH, 3):
                params = {"shards": shards(number)} if name == "shard-turns" else {}
                item, transform = case(number), kind(kind.read(params))
                began = time.perf_counter()
                try:
                    made = transform.variant(item, level)
                except (NotApplicableError, RejectedError):
                    continue
                times.append((time.perf_counter() - began) * 1000)
            if times:
                yield made.name, statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--variants", type=int, default=1000)
    parser.add_argument("--transforms", default=",".join(registry.NAMES), help="names, with commas")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    names = tuple(options.transforms.split(","))
    first_s, *_ = make(names, 1)
    runs = [make(names, options.variants) for _ in range(options.repeat)]
    times, used = [run[0] for run in runs], [run[1] for run in runs]
    _, _, made, refused = runs[0]
    levels = dict(each_level(names))
    figures = {
        "variants": made,
        "refusals": refused,
        "first_case_s": round(first_s, 3),
        "best_s": round(min(times), 3),
        "median_s": round(statistics.median(times), 3),
        "median_cpu_s": round(statistics.median(used), 3),
        "of_bound": round(statistics.median(times) / BOUND_S, 2),
        "level_ms": {name: round(ms, 2) for name, ms in levels.items()},
    }
    if options.json:
        print(json.dumps(figures))
        return
    print(describe())
    print(
        f"{made:,} variants ({refused:,} refusals beside them): best {figures['best_s']} s, "
        f"median {figures['median_s']} s (processor {figures['median_cpu_s']} s), "
        f"{figures['of_bound']} of the bound of {BOUND_S:g} s; the first case {figures['first_case_s']} s"
    )
    print("| variant | ms |")
    print("|---|---|")
    for name, ms in levels.items():
        print(f"| {name} | {ms:.2f} |")


if __name__ == "__main__":
    main()
