"""Time and memory of comparing two runs: `python benchmarks/compare_runs.py [--cases 10000] [--trials 5]`.

The run documents are in memory; counting their trials, both comparisons (before and after the suspects were tried
again) and the verdict are timed. Cases pass at rates all over the range, so that no two need the same arithmetic.
Beside it, without a bound: the drift of as many cases whose agent sometimes does something else. Bounds: 2 s, 500
MiB; exits with 1 when one is exceeded.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Iterator
from random import Random
from typing import Any

from machine import describe

from aegis.regression import verdict
from aegis.regression.compare import compare
from aegis.regression.drift import compare as drift
from aegis.regression.drift.behaviour import Behaviour, Request, ToolUse
from aegis.regression.policy import Policy
from aegis.regression.trials import CaseKey, from_document, pool

BOUND_S, BOUND_MIB = 2.0, 500
RUNS_OF_MAIN = 4


def document(random: Random, cases: int, trials: int, only: set[str] | None = None) -> dict[str, Any]:
    names = (f"case-{number:05}" for number in range(cases))
    return {
        "trials": [
            {"case": name, "variant": "baseline", "number": number, "outcome": outcome}
            for name in names
            if only is None or name in only
            for number, outcome in enumerate(outcomes(random, hash_rate(name), trials), 1)
        ]
    }


def hash_rate(name: str) -> float:
    """Half of the cases always pass, the others at a rate of their own."""
    rate = Random(name).random()
    return 1.0 if rate < 0.5 else 2 * (rate - 0.5)


def outcomes(random: Random, rate: float, trials: int) -> Iterator[str]:
    for _ in range(trials):
        yield "error" if random.random() < 0.01 else "passed" if random.random() < rate else "failed"


def verdicts(cases: int, trials: int) -> float:
    """Seconds of the comparison."""
    random, policy = Random(1), Policy()
    main = [document(random, cases, trials) for _ in range(RUNS_OF_MAIN)]
    head = document(random, cases, trials)
    began = time.perf_counter()
    baseline = pool([from_document(run) for run in main])
    candidate = from_document(head)
    first = compare(baseline, candidate, policy)
    took = time.perf_counter() - began
    fresh = document(random, cases, policy.confirm, {key.case for key in first.to_confirm})
    began = time.perf_counter()
    done = compare(baseline, candidate, policy, confirmation=from_document(fresh))
    line = verdict.decide(done).line
    took += time.perf_counter() - began
    print(f"{len(first.to_confirm)} suspects; {line}", file=sys.stderr)
    return took


def behaviours(random: Random, cases: int, trials: int) -> dict[CaseKey, list[Behaviour]]:
    return {
        CaseKey(f"case-{number:05}"): [behaviour(random) for _ in range(trials)] for number in range(cases)
    }


def behaviour(random: Random) -> Behaviour:
    tools = ["lookup_order", "check_policy", "issue_refund"]
    if random.random() < 0.2:
        random.shuffle(tools)
    return Behaviour(
        tuple(ToolUse(name, {"order": {"id": random.choice([7, 7, 7, 8])}}, writes=False) for name in tools),
        (Request("crm.example", "GET", "/orders/7"), Request("crm.example", "POST", "/refunds")),
        "Your refund is on its way."
        if random.random() < 0.7
        else "The refund has been sent to your bank today.",
        tokens=1000 + random.randrange(200),
        cost_usd=0.01 + random.random() / 1000,
        latency_s=1 + random.random(),
        rules={"backs-off": True},
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--trials", type=int, default=5)
    arguments = parser.parse_args()
    took_s = verdicts(arguments.cases, arguments.trials)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    random = Random(2)
    sides = [behaviours(random, arguments.cases, arguments.trials) for _ in range(2)]
    began = time.perf_counter()
    drift.compare(*sides)
    drift_s = time.perf_counter() - began
    print(f"{arguments.cases:,} cases × {arguments.trials} trials, baseline of {RUNS_OF_MAIN} runs.\n")
    print("| what | s | peak memory, MiB | bound |\n|---|---|---|---|")
    print(f"| comparison and verdict | {took_s:.2f} | {peak_mib:.0f} | {BOUND_S:g} s, {BOUND_MIB} MiB |")
    print(f"| drift | {drift_s:.2f} | | |")
    print(f"\nMeasured on: {describe()}")
    return 0 if took_s <= BOUND_S and peak_mib <= BOUND_MIB else 1


if __name__ == "__main__":
    sys.exit(main())
