"""Run documents that hold a comparison, made by the code that compares: nothing in them is written by hand but the
trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aegis.regression import document as comparisons
from aegis.regression.compare import compare
from aegis.regression.drift import compare as drifting
from aegis.regression.drift.behaviour import Behaviour, Request, ToolUse
from aegis.regression.policy import Policy
from aegis.regression.snapshot import Facts, Snapshot
from aegis.regression.trials import CaseKey, Trials
from aegis.regression.verdict import decide, without_baseline
from aegis.results.document import Compared, build
from aegis.results.records import CONFIRMATION, TrialRecord
from support.run_records import CONFIG, run_record, trial_record

COMMIT = "9fceb02d0ae598e95dc970b74767f19372d61af8"
BASE_RUN = "20261120-090000-b4se"

Rates = Mapping[str, tuple[int, int]]
"""Case (`case` or `case (variant)`) → passed, failed."""


def key(name: str) -> CaseKey:
    case, _, variant = name.partition(" (")
    return CaseKey(case, variant.rstrip(")") or "baseline")


@dataclass
class Scenario:
    """What was before, what is now, and what came of trying again."""

    before: Rates
    now: Rates
    fresh: Rates = field(default_factory=dict)
    errors: Mapping[str, int] = field(default_factory=dict)
    """Trials of now that ended in an infrastructure error, besides."""
    changed: Sequence[str] = ()
    behaviours: tuple[Mapping[str, Sequence[Behaviour]], Mapping[str, Sequence[Behaviour]]] = ({}, {})
    policy: Policy = field(default_factory=Policy)
    reason: str = "answer: no amount"
    answer: str = "Your refund is on its way."
    suite: str = "production-v2"
    files: Mapping[str, tuple[str | None, int | None]] = field(default_factory=dict)
    prefix: str = ""
    baseline: Mapping[str, Any] = field(default_factory=dict)
    """Keys of the document's `baseline` to replace."""
    config: Mapping[str, Any] = field(default_factory=dict)

    def records(self) -> list[TrialRecord]:
        records = []
        for name, (passed, failed) in self.now.items():
            outcomes = ["passed"] * passed + ["failed"] * failed + ["error"] * self.errors.get(name, 0)
            records += [self._record(name, number, outcome) for number, outcome in enumerate(outcomes, 1)]
        for name, (passed, failed) in self.fresh.items():
            first = sum(self.now[name]) + 1
            for number, outcome in enumerate(["passed"] * passed + ["failed"] * failed, first):
                record = self._record(name, number, outcome)
                records.append(TrialRecord(**_fields(record) | {"purpose": CONFIRMATION}))
        return records

    def _record(self, name: str, number: int, outcome: str) -> TrialRecord:
        case, variant = key(name)
        reason = {"passed": "", "error": "no machine"}.get(outcome, self.reason)
        return trial_record(case, number, outcome, reason, variant, answer=self.answer)

    def snapshot(self) -> Snapshot:
        passed, failed = (sum(counts) for counts in zip(*self.before.values(), strict=True))
        facts = Facts(
            run_id=BASE_RUN,
            suite=self.suite,
            environment="e" * 64,
            isolation="qemu",
            accel="tcg",
            commit=COMMIT,
            branch="main",
            started_at="2026-11-20T09:00:00Z",
            passed=passed,
            planned=passed + failed,
            version="0.1.0",
        )
        return Snapshot(facts, self.trials(self.before), self._behaviours(0))

    def trials(self, rates: Rates, *, now: bool = False) -> dict[CaseKey, Trials]:
        found = {}
        for name, (passed, failed) in rates.items():
            content = "new" if now and name in self.changed else "same"
            found[key(name)] = Trials(passed, failed, self.errors.get(name, 0) if now else 0, 0, content)
        return found

    def _behaviours(self, side: int) -> dict[CaseKey, Sequence[Behaviour]]:
        return {key(name): trials for name, trials in self.behaviours[side].items()}

    def document(self) -> dict[str, Any]:
        snapshot = self.snapshot()
        confirmation = self.trials(self.fresh) if self.fresh else None
        now = self.trials(self.now, now=True)
        comparison = compare(snapshot.trials, now, self.policy, confirmation=confirmation)
        drift = drifting.compare(snapshot.behaviours, self._behaviours(1))
        fresh = sum(sum(counts) for counts in self.fresh.values())
        confirmed = {"cases": len(self.fresh), "trials": fresh, "usd": 0.0123, "duration_s": 42.0}
        baseline = {
            "asked": "main",
            "problem": None,
            "fix": None,
            "source": "ledger",
            "merge_base": COMMIT,
            "behind": 0,
            "skipped": [],
            "notes": [],
            "comparison": comparisons.build(comparison, drift, [snapshot]),
            "confirmed": confirmed if self.fresh else None,
        } | dict(self.baseline)
        if baseline["comparison"] is None:
            verdict = without_baseline(str(baseline["problem"]))
            compared = Compared(verdict, baseline)
        else:
            verdict = decide(comparison, None, drift)
            compared = Compared(verdict, baseline, comparisons.regressions(comparison))
        git = {"commit": "1" * 40, "branch": "feature", "dirty": False, "prefix": self.prefix}
        config = CONFIG | {"fail_under": None, "git": git} | dict(self.config)
        run = run_record(suite=self.suite, config=config)
        return build(run, self.records(), duration_s=74.0, compared=compared, places=self.files)


def _fields(record: TrialRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in TrialRecord.__dataclass_fields__}


def no_comparison(problem: str, fix: str | None = None) -> dict[str, Any]:
    """For `Scenario.baseline`: there was nothing to compare with."""
    return {
        "comparison": None,
        "problem": problem,
        "fix": fix,
        "source": None,
        "merge_base": None,
        "behind": None,
    }


def behaviour(
    *tools: str, host: str = "crm.example", answer: str = "Your refund is on its way.", **more: Any
) -> Behaviour:
    calls = tuple(ToolUse(name, {"order_id": "1042"}, writes=False) for name in tools)
    requests = (Request(host, "POST" if more.pop("write", False) else "GET", "/orders/1042"),)
    return Behaviour(calls, requests, answer, **more)


SWAP = Scenario(
    before={"refund": (20, 0), "cancel": (20, 0), "lookup": (2, 18), "flaky": (17, 3), "gone": (20, 0)},
    now={"refund": (1, 2), "cancel": (2, 1), "lookup": (3, 0), "flaky": (3, 0), "added": (2, 1)},
    fresh={"refund": (2, 8), "cancel": (10, 0)},
    files={"refund": ("evals/production-v2.yaml", 12), "added": ("evals/production-v2.yaml", 40)},
)
"""One case breaks, one is cleared, one gets better, one is flaky, one is new and fails, one is gone."""
