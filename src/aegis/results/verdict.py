"""From counts to a verdict, its exit code and its one line of text: the only place where that is decided.

Pure, and exact: rates are compared as fractions, so 19 of 20 is 95 % whatever binary floating point makes of
it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from aegis.errors import UsageError

EXIT_CODES = {"PASS": 0, "REGRESSED": 1, "BELOW_THRESHOLD": 1, "INCONCLUSIVE": 3}
"""The exit code belongs to the word; nothing else sets it (docs/exit-codes.md)."""

DEFAULT_FAIL_UNDER = 100.0


@dataclass(frozen=True)
class Verdict:
    verdict: str
    """`PASS`, `REGRESSED`, `BELOW_THRESHOLD` or `INCONCLUSIVE`."""
    exit_code: int
    line: str
    """`PASS 24/24 trials (100.0 %)`; for the other words, why."""


@dataclass(frozen=True)
class _Tally:
    passed: int
    judged: int
    errors: int
    not_run: int

    @property
    def planned(self) -> int:
        return self.judged + self.unjudged

    @property
    def unjudged(self) -> int:
        return self.errors + self.not_run


def decide(counts: Mapping[str, int], planned: int, fail_under: float | None = DEFAULT_FAIL_UNDER) -> Verdict:
    """Judge a run by its pass rate.

    `counts` holds `passed`, `failed`, `timeout`, `error` and `cancelled` (absent: 0; other keys are not
    read); `planned` trials that are in none of them are missing. `fail_under` is in percent; None: no rate
    is asked for.

    The rate is passed / (passed + failed + timeout). Any trial that was not judged (`error`, `cancelled`,
    missing) makes the run INCONCLUSIVE, unless the rate would be below the threshold even if all of those had
    passed. A run without a judged trial is never PASS. Raises `UsageError` when `fail_under` is not within
    0–100, and `ValueError` when the counts are negative or exceed the plan.
    """
    tally = _tally(counts, planned)
    threshold = _threshold(fail_under)
    # Without `unjudged` this is the pass rate itself; with it, the best that the rate could still have been.
    best_passed = tally.passed + tally.unjudged
    if tally.planned > 0 and best_passed < threshold * tally.planned:
        word = "BELOW_THRESHOLD"
    elif tally.unjudged or not tally.judged:
        word = "INCONCLUSIVE"
    else:
        word = "PASS"
    return Verdict(word, EXIT_CODES[word], describe(word, counts, planned, fail_under))


def pass_rate(counts: Mapping[str, int]) -> float | None:
    """passed / (passed + failed + timeout), 0–1; None when no trial was judged."""
    judged = sum(counts.get(name, 0) for name in ("passed", "failed", "timeout"))
    return counts.get("passed", 0) / judged if judged else None


def percent(part: int, whole: int) -> str:
    """`part` of `whole` as `83.3 %`, rounded down: 9,999 of 10,000 is not shown as 100.0 %, and a rate that
    misses a threshold is not shown as having reached it."""
    tenths = part * 1000 // whole
    return f"{tenths // 10}.{tenths % 10} %"


def describe(
    word: str, counts: Mapping[str, int], planned: int, fail_under: float | None = DEFAULT_FAIL_UNDER
) -> str:
    """The text of a verdict: the word, `passed/planned trials`, and in brackets the rate or what is
    missing."""
    tally = _tally(counts, planned)
    return f"{word} {tally.passed}/{tally.planned} trials ({_detail(word, tally, fail_under)})"


def _detail(word: str, tally: _Tally, fail_under: float | None) -> str:
    if word == "INCONCLUSIVE":
        return _missing(tally)
    if not tally.judged:
        return "no trial was judged"
    rate = percent(tally.passed, tally.judged)
    if word != "BELOW_THRESHOLD":
        return rate
    below = f"{rate}, below {format_percent(fail_under)}"
    if not tally.unjudged:
        return below
    noun = "trial" if tally.unjudged == 1 else "trials"
    return f"{below} even if the {tally.unjudged} unjudged {noun} had passed"


def _missing(tally: _Tally) -> str:
    parts = []
    if tally.errors:
        parts.append(f"{_trials(tally.errors)} could not be judged: infrastructure errors")
    if tally.not_run:
        parts.append(f"{_trials(tally.not_run)} {'was' if tally.not_run == 1 else 'were'} not run")
    if not parts:
        # Every trial was judged, or there was none: then the word has another reason, which its maker tells.
        parts.append("no trials were planned" if not tally.planned else percent(tally.passed, tally.judged))
    return "; ".join(parts)


def format_percent(fail_under: float | None) -> str:
    """The threshold as a person would write it: `95 %`, `99.5 %`; `none`."""
    return "none" if fail_under is None else f"{str(fail_under).removesuffix('.0')} %"


def _trials(count: int) -> str:
    return f"{count} trial" if count == 1 else f"{count} trials"


def _threshold(fail_under: float | None) -> Fraction:
    value = 0.0 if fail_under is None else fail_under
    if not 0 <= value <= 100:  # also refuses NaN
        raise UsageError(f"--fail-under must be between 0 and 100 (percent), not {value}")
    # By way of its decimal form: 99.9 then means 999/1000 and not the binary number just above it.
    return Fraction(str(value)) / 100


def _tally(counts: Mapping[str, int], planned: int) -> _Tally:
    passed, failed, timeout, error, cancelled = (
        counts.get(name, 0) for name in ("passed", "failed", "timeout", "error", "cancelled")
    )
    if min(passed, failed, timeout, error, cancelled, planned) < 0:
        raise ValueError(f"counts cannot be negative: {dict(counts)}, planned {planned}")
    missing = planned - (passed + failed + timeout + error + cancelled)
    if missing < 0:
        raise ValueError(f"more trials counted than planned: {dict(counts)}, planned {planned}")
    return _Tally(passed, passed + failed + timeout, error, cancelled + missing)
