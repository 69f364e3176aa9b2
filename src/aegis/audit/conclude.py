"""From a report to its exit code and its `RESULT:` line: the only place where that is decided."""

from __future__ import annotations

from dataclasses import dataclass

from aegis.audit.compare import LEVEL, rate
from aegis.audit.findings import Report

WORDS = {"fresh": "in fresh machines", "shared": "in one machine", "reset": "in one machine with reset steps"}
EXIT_CODES = {"CLEAN": 0, "LEAKS": 1, "INCONCLUSIVE": 3}


@dataclass(frozen=True, slots=True)
class Conclusion:
    verdict: str
    """`CLEAN`, `LEAKS` or `INCONCLUSIVE`."""
    text: str

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.verdict]

    @property
    def line(self) -> str:
        return f"RESULT: {self.verdict} exit {self.exit_code}: {self.text}"


def conclude(report: Report) -> Conclusion:
    """`LEAKS` when the suite as it is run differs from fresh machines: a case depends on what ran before, or the whole
    suite passes more or less often. What could not be judged makes it `INCONCLUSIVE`, unless that is certain already.
    """
    errors, undecided = (
        report.errors(),
        [finding for finding in report.findings if finding.why in ("budget", "errors")],
    )
    if report.as_mode == "fresh":
        if errors:
            return Conclusion("INCONCLUSIVE", _not_judged(errors))
        return Conclusion("CLEAN", f"fresh machines leak nothing; {_rates(report)}")
    if report.dependent:
        verb = "depends" if len(report.dependent) == 1 else "depend"
        cases = f"{len(report.dependent)} of {_counted(report.cases, 'case')} {verb} on what ran before"
        return Conclusion("LEAKS", f"{_rates(report)}: {cases} {WORDS[report.as_mode]}")
    if report.suite_value <= LEVEL / 2:
        return Conclusion(
            "LEAKS", f"{_rates(report)}, though no single case could be shown to depend on another"
        )
    if errors:
        return Conclusion("INCONCLUSIVE", _not_judged(errors))
    if undecided:
        what = f"{_counted(len(undecided), 'case')} differed and could not be decided"
        return Conclusion(
            "INCONCLUSIVE", f"{what}; try --max-probes {2 * report.max_probes} or more --orders"
        )
    if len(report.fresh) < 2:
        return Conclusion(
            "INCONCLUSIVE", "one trial has nothing before it; select more cases, or raise --trials"
        )
    return Conclusion(
        "CLEAN", f"no case depends on what ran before {WORDS[report.as_mode]}; {_rates(report)}"
    )


def headline(report: Report) -> tuple[float | None, float | None]:
    """(the rate that the suite shows as it is run, the rate in fresh machines), 0–1. Shown is what the order of the
    suite shows; `--as fresh` compares with one machine."""
    mode = "shared" if report.as_mode == "fresh" else report.as_mode
    sequences = report.sequences(mode)
    return (rate(sequences[0].seen).value if sequences else None), rate(report.fresh).value


def _rates(report: Report) -> str:
    shown, true = headline(report)
    would = "would be shown" if report.as_mode == "fresh" else "shown"
    return f"{_percent(shown)} {would}, {_percent(true)} true"


def _percent(value: float | None) -> str:
    return "nothing" if value is None else f"{int(100 * value + 0.5)} %"


def _not_judged(errors: int) -> str:
    return f"{_counted(errors, 'trial')} could not be judged: infrastructure errors"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
