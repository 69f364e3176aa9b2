"""What is said where there are no results: a gate never goes green because nothing ran."""

from __future__ import annotations

VERDICT = "INCONCLUSIVE"
EXIT_CODE = 3


def markdown(suite: str | None, why: str) -> str:
    """The summary. `why` is one line, of which nothing is taken for Markdown."""
    name = f": {_inert(suite)}" if suite else ""
    return (
        f"## Aegis{name}\n\n**INCONCLUSIVE: no results.** Nothing is known about the agent.\n\n"
        f"    {why}\n\nThe job's log says what went wrong.\n"
    )


def outputs(why_code: int | None) -> dict[str, str]:
    """The outputs of the step; `why_code` is what the run exited with, where that is known."""
    return {
        "verdict": VERDICT,
        "exit-code": str(why_code or EXIT_CODE),
        "complete": "false",
        "pass-rate": "",
        "regressions": "0",
        "regressed-cases": "[]",
        "report": "",
    }


def _inert(text: str) -> str:
    return "".join(f"\\{c}" if c in r"\`*_{}[]()<>#+!|~&" else c for c in text)
