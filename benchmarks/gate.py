"""How often the comparison with main is wrong, and what it finds: the table of docs/regression.md.

    python benchmarks/gate.py [--runs 3000] [--jobs 2] [--write]

Simulates pull requests on a suite of 100 cases, 80 of which always pass, 15 pass 85 % of the time and 5 pass 45 % of
it, and lets the product's own code judge each: `pool`, `compare`, the trials that it asks for to confirm, `compare`
again, `decide`. There are `--runs` of them for each figure, and 8 times as many for the false alarms that have a
bound; always with the same random numbers. `--write` puts the table into the page. Exits with 1 when a bound is
missed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

from machine import describe

from aegis.regression import verdict
from aegis.regression.compare import compare
from aegis.regression.policy import Policy
from aegis.regression.trials import ENOUGH, CaseKey, Trials, pool

PAGE = Path(__file__).resolve().parent.parent / "docs" / "regression.md"
BEGIN = "<!-- table: benchmarks/gate.py --write -->\n"
END = "<!-- end of the table -->\n"

TRIALS = (1, 3, 5)
MAIN = [1.0] * 80 + [0.85] * 15 + [0.45] * 5
BROKEN = [0.4, *MAIN[1:]]
TEN = [0.5] * 10 + MAIN[10:]
SWAPPED = [0.0] * 5 + [1.0] * 95
KEYS = [CaseKey(f"case-{index:03}") for index in range(len(MAIN))]
DEFAULT, STRICT, AT_ONCE = Policy(), Policy().strict(), Policy(confirm=0)

Cases = dict[CaseKey, Trials]
Scenario = tuple[tuple[float, ...], int, int]
"""(the candidate's rates, trials a case, trials to confirm)."""

BOUND_AT = 3
"""The number of trials for which there are bounds."""
RARE = 8
"""False alarms with a bound are so rare, and so near to it, that they need as many times the runs."""


@dataclass(frozen=True)
class Row:
    label: str
    rates: list[float]
    """Of the candidate, case by case; main's are MAIN."""
    policy: Policy
    seen: str
    """A counter of `Counts`."""
    bound: str = ""
    """`≤ 0.04` or `≥ 0.88`, for three trials a case."""


@dataclass
class Counts:
    runs: int = 0
    flipped: int = 0
    """Some case's majority of trials passed on main and fails now: the naive rule."""
    alarm: int = 0
    overall: int = 0
    case: int = 0
    """A case that did get worse is named."""
    fresh: int = 0
    """Trials to confirm."""

    def add(self, other: Counts) -> None:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


NOTHING = "nothing changed: false alarm"
ROWS = (
    Row(f"{NOTHING}, “any case flipped” rule", MAIN, DEFAULT, "flipped"),
    Row(f"{NOTHING}, default", MAIN, DEFAULT, "alarm", "≤ 0.04"),
    Row(f"{NOTHING}, strict", MAIN, STRICT, "alarm", "≤ 0.015"),
    Row(f"{NOTHING}, without confirmation", MAIN, AT_ONCE, "alarm"),
    Row("one case 100 % → 40 %: named, default", BROKEN, DEFAULT, "case", "≥ 0.88"),
    Row("one case 100 % → 40 %: named, strict", BROKEN, STRICT, "case"),
    Row("one case 100 % → 40 %: named, without confirmation", BROKEN, AT_ONCE, "case"),
    Row("ten cases 100 % → 50 %: the overall test alone", TEN, DEFAULT, "overall"),
    Row("ten cases 100 % → 50 %: REGRESSED, default", TEN, DEFAULT, "alarm"),
    Row("5 cases break, 20 get fixed, mean unchanged: the overall test alone", SWAPPED, DEFAULT, "overall"),
    Row(
        "5 cases break, 20 get fixed, mean unchanged: a broken one named", SWAPPED, DEFAULT, "case", "≥ 0.99"
    ),
)


def draw(random: Random, rates: list[float], trials: int) -> Cases:
    return {key: draw_case(random, rate, trials) for key, rate in zip(KEYS, rates, strict=True)}


def draw_case(random: Random, rate: float, trials: int) -> Trials:
    passed = trials if rate == 1.0 else sum([random.random() < rate for _ in range(trials)])
    return outcome(passed, trials - passed)


outcome = cache(Trials)


def pull_request(random: Random, rates: list[float], trials: int, policies: Sequence[Policy]) -> list[Counts]:
    """One simulated pull request, judged as a run would be, under each of the policies. They ask for the same
    trials."""
    baseline = pool([draw(random, MAIN, trials) for _ in range(-(-ENOUGH // trials))])
    newest = draw(random, MAIN, trials)
    candidate = draw(random, rates, trials)
    now = dict(zip(KEYS, rates, strict=True))
    worse = {key for key, before, after in zip(KEYS, MAIN, rates, strict=True) if after < before}
    flipped = any(2 * newest[key].passed > trials > 2 * candidate[key].passed for key in KEYS)
    asked = compare(baseline, candidate, policies[0]).to_confirm
    fresh = {key: draw_case(random, now[key], policies[0].confirm) for key in asked}
    counts = []
    for policy in policies:
        found = compare(baseline, candidate, policy, confirmation=fresh)
        counts.append(
            Counts(
                runs=1,
                flipped=flipped,
                alarm=verdict.decide(found).verdict == "REGRESSED",
                overall=found.overall is not None and found.overall.worse,
                case=any(result.key in worse for result in found.regressed),
                fresh=policy.confirm * len(asked),
            )
        )
    return counts


@dataclass(frozen=True)
class Job:
    seed: str
    scenario: Scenario
    policies: tuple[Policy, ...]
    runs: int


def simulate(job: Job) -> list[Counts]:
    random = Random(job.seed)
    rates, trials, _ = job.scenario
    totals = [Counts() for _ in job.policies]
    for _ in range(job.runs):
        for total, counts in zip(
            totals, pull_request(random, list(rates), trials, job.policies), strict=True
        ):
            total.add(counts)
    return totals


def measure(runs: int, jobs: int) -> dict[tuple[int, int], Counts]:
    """(number of a row, trials) → counts. Rows of the same scenario share its pull requests."""
    policies: defaultdict[Scenario, dict[Policy, None]] = defaultdict(dict)
    for row in ROWS:
        for trials in TRIALS:
            policies[scenario(row, trials)][row.policy] = None
    parts = [job for key, wanted in policies.items() for job in split(key, tuple(wanted), runs)]
    totals: defaultdict[tuple[Scenario, Policy], Counts] = defaultdict(Counts)
    with ProcessPoolExecutor(jobs) as executor:
        for number, (job, found) in enumerate(zip(parts, executor.map(simulate, parts), strict=True), 1):
            for policy, counts in zip(job.policies, found, strict=True):
                totals[job.scenario, policy].add(counts)
            print(f"\r{number} of {len(parts)} parts", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return {
        (index, trials): totals[scenario(row, trials), row.policy]
        for index, row in enumerate(ROWS)
        for trials in TRIALS
    }


def scenario(row: Row, trials: int) -> Scenario:
    return tuple(row.rates), trials, row.policy.confirm


def split(key: Scenario, policies: tuple[Policy, ...], runs: int) -> Iterator[Job]:
    """Jobs of a few hundred runs, each with a seed of its own, so that the figures don't depend on `--jobs`."""
    rates, trials, confirm = key
    rare = list(rates) == MAIN and confirm > 0 and trials == BOUND_AT
    total, size = (RARE * runs if rare else runs), 500
    for begin in range(0, total, size):
        seed = f"{sum(rates):g} {trials} {confirm} {begin}"
        yield Job(seed, key, policies, min(size, total - begin))


def render(measured: dict[tuple[int, int], Counts]) -> tuple[str, bool]:
    lines = ["| | " + " | ".join(f"k = {trials}" for trials in TRIALS) + " | bound at k = 3 |"]
    lines.append("|---|" + "---|" * (len(TRIALS) + 1))
    kept = True
    for index, row in enumerate(ROWS):
        shares = {trials: share(measured[index, trials], row.seen) for trials in TRIALS}
        cells = [form(shares[trials]) for trials in TRIALS]
        if row.bound:
            relation, bound = row.bound.split()
            kept &= shares[BOUND_AT] <= float(bound) if relation == "≤" else shares[BOUND_AT] >= float(bound)
        lines.append(f"| {row.label} | {' | '.join(cells)} | {row.bound} |")
    cost = [measured[1, trials] for trials in TRIALS]
    cells = [f"{counts.fresh / counts.runs:.1f}" for counts in cost]
    lines.append(
        f"| trials to confirm, a pull request that changes nothing (of 100 k) | {' | '.join(cells)} | |"
    )
    return "\n".join(lines) + "\n", kept


def share(counts: Counts, seen: str) -> float:
    return getattr(counts, seen) / counts.runs


def form(value: float) -> str:
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}" if value < 0.995 else f"{value:.3f}"


def write(text: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    PAGE.write_text(f"{head}{BEGIN}{text}{END}{tail}", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3_000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    began = time.monotonic()
    table, kept = render(measure(arguments.runs, arguments.jobs))
    often = f"{RARE * arguments.runs:,} for false alarms by default and in strict mode at k = {BOUND_AT}"
    runs = f"{arguments.runs:,} simulated pull requests a figure, {often}."
    if arguments.write:
        write(f"{runs}\n\n{table}")
    print(f"{runs}\n\n{table}\nMeasured on: {describe()}, in {time.monotonic() - began:.0f} s.")
    if not kept:
        print("A bound was missed.", file=sys.stderr)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
