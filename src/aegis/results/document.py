"""The run document: what one run came to, for every exporter, report and API (docs/run-document.md).

Its JSON Schema is `schema/run-1.json` in this package; a change that a reader could trip over makes it
`aegis.run/2`.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from typing import Any

from aegis.errors import LedgerError
from aegis.results import _totals, verdict
from aegis.results.effects import effects
from aegis.results.records import OUTCOMES, PLAN, RunRecord, TrialRecord

SCHEMA = "aegis.run/1"

MAX_ANSWER_CHARS = 65_536
"""An answer longer than this is cut in the document; the trace has all of it."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_ISOLATION = {"driver": "unknown", "accel": None, "security_boundary": False}
_GIT = {"commit": None, "branch": None, "dirty": False, "prefix": ""}
_SANDBOX = {"driver": "unknown", "start_ms": 0.0, "restored": False, "memory_mib": 0}
_CHANGES = {"added": 0, "changed": 0, "deleted": 0, "more": 0, "first": [], "note": "", "blob": None}
_CLOCK = {"at": None, "zone": None}
_FILE = {"path": "", "bytes": 0, "blob": ""}
_MISSING = {"path": None, "why": ""}
_KEPT: dict[str, Any] = {"end": None, "checkpoints": [], "bytes": 0, "problem": None}
_PART = {"name": "", "passed": None, "reason": ""}
_USAGE = {"input_tokens": None, "output_tokens": None, "usd": None, "model_calls": None, "tool_calls": None}


@dataclass(frozen=True, slots=True)
class Compared:
    """What a comparison with a baseline has to say in the document, whose verdict then is the comparison's."""

    verdict: verdict.Verdict
    baseline: Mapping[str, Any]
    """As the schema's `baseline`."""
    regressions: Sequence[Mapping[str, Any]] = ()


def build(
    run: RunRecord,
    trials: Sequence[TrialRecord],
    *,
    duration_s: float | None = None,
    compared: Compared | None = None,
    places: Mapping[str, Sequence[Any]] | None = None,
) -> dict[str, Any]:
    """Make the document of a run from its records. Pure.

    Keys of `run.config` that are read: `fail_under` (percent; absent: 100; None: no rate is asked for), `isolation`
    (mapping with `driver`, `accel`, `security_boundary`), `git` (mapping with `commit`, `branch`, `dirty`,
    `prefix`, or None), `fingerprint` and `environment` (text or None), `selected` (absent: False), `refused`
    (variants that could not be made; absent: none), `own_oracles` (transforms whose variants expect something else
    than their cases; absent: none), `seed` (integer or None), `recorded` (absent: False), `replay_of` (id of a run
    or None), `started_at` (ISO 8601; absent: `run.created_at`), and `duration_s` (seconds) when the argument is
    None. Other keys are left alone, and so are keys of the mappings that the document doesn't have.

    The verdict is that of `compared`, else the threshold's. It counts every trial in `trials` as planned, apart
    from those of confirmation; one without an outcome appears as `cancelled`, reason `not run`. `snapshot` is
    None: it holds the verdict, so its maker adds it. `places` has (file, line) of each case. A trial's result is a
    TrialResult as JSON; its `trace` is the digest of a blob, or the trace itself, from which `answer`, `turns` and
    the number of tool calls are then taken. `usage`, `exchanges` and `prices` (which ones, as text) stand beside
    it, and `simulator` (what the models of simulated users took, or None).
    """
    config = run.config
    plan = Counter((trial.case, trial.variant) for trial in trials if trial.purpose == PLAN)
    entries = [_entry(trial, trial.number) for trial in trials if trial.purpose == PLAN]
    fresh = [
        _entry(trial, weather_of(trial.number, plan[trial.case, trial.variant]))
        for trial in trials
        if trial.purpose != PLAN
    ]
    results = [trial.result for trial in trials if trial.outcome is not None and trial.result is not None]
    counts = {name: sum(entry["outcome"] == name for entry in entries) for name in OUTCOMES}
    fail_under = config.get("fail_under", verdict.DEFAULT_FAIL_UNDER)
    decided = verdict.decide(counts, len(entries), fail_under) if compared is None else compared.verdict
    return {
        "schema": SCHEMA,
        "run_id": run.run_id,
        "suite": run.suite,
        "verdict": decided.verdict,
        "exit_code": decided.exit_code,
        "result": decided.line,
        "pass_rate": verdict.pass_rate(counts),
        "fail_under": fail_under,
        "counts": {"planned": len(entries), **counts},
        "isolation": _pick(config.get("isolation"), _ISOLATION),
        "baseline": None if compared is None else dict(compared.baseline),
        "regressions": [] if compared is None else [dict(item) for item in compared.regressions],
        "started_at": config.get("started_at") or run.created_at,
        "duration_s": _finite(config.get("duration_s") if duration_s is None else duration_s),
        "fingerprint": config.get("fingerprint"),
        "environment": config.get("environment"),
        "snapshot": None,
        "selected": bool(config.get("selected")),
        "git": _pick(config["git"], _GIT) if config.get("git") else None,
        "seed": config.get("seed"),
        "recorded": bool(config.get("recorded")),
        "replay_of": config.get("replay_of"),
        "denied": _totals.denied(results),
        "prices": _totals.prices(results),
        "judge": _totals.judge(results),
        "simulator": _totals.simulator(results),
        "stress": _stress(entries, config.get("refused") or (), frozenset(config.get("own_oracles") or ())),
        "cases": _cases(entries, places or {}),
        "trials": entries,
        "confirmations": fresh,
    }


def weather_of(number: int, planned: int) -> int:
    """The planned trial whose weather a trial of confirmation meets: one after the other, so that fresh trials meet
    what those before them met, and nothing else. `planned`: how many the case has."""
    return (number - 1) % planned + 1 if planned else number


def _cases(entries: Sequence[Mapping[str, Any]], places: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    named = dict.fromkeys(entry["case"] for entry in entries)
    return [
        dict(zip(("case", "file", "line"), (case, *places.get(case, (None, None))), strict=True))
        for case in named
    ]


def _stress(
    entries: Sequence[Mapping[str, Any]], refused: Sequence[Mapping[str, Any]], own_oracles: Collection[str]
) -> dict[str, Any] | None:
    found = effects(entries, own_oracles)
    return {"effects": found, "refused": [dict(item) for item in refused]} if found or refused else None


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the document."""
    text = resources.files("aegis.results").joinpath("schema/run-1.json").read_text("utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def validate(document: Mapping[str, Any]) -> None:
    """Raise `LedgerError` that lists, with their places, up to ten departures from the schema."""
    import jsonschema

    checker = jsonschema.FormatChecker(formats=())
    # The date-time format needs packages beyond jsonschema itself; the standard library's parser does as
    # well.
    checker.checks("date-time", raises=ValueError)(_is_date_time)
    raise_problems(jsonschema.Draft202012Validator(schema(), format_checker=checker), document, SCHEMA)


def raise_problems(validator: Any, document: Mapping[str, Any], name: str) -> None:
    """Raise `LedgerError` for what a validator of jsonschema finds in a document of the format `name`."""
    problems = [
        f"{'/'.join(map(str, error.absolute_path)) or 'document'}: {error.message[:200]}"
        for error in validator.iter_errors(document)
    ]
    if problems:
        more = f"; {len(problems) - 10} more" if len(problems) > 10 else ""
        raise LedgerError(
            f"the {'run' if name == SCHEMA else 'comparison'} document does not fit schema {name}: "
            f"{'; '.join(problems[:10])}{more}",
            fix="read it with the Aegis that wrote it",
        )


def to_json(document: Mapping[str, Any]) -> bytes:
    """The document as the file that `--json` writes: UTF-8, indented, one final newline."""
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    # Agents can answer with lone surrogates, which UTF-8 cannot carry; JSON's escape can.
    return (_SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n").encode("utf-8")


def _entry(trial: TrialRecord, weather: int) -> dict[str, Any]:
    done = trial.outcome is not None
    result: Mapping[str, Any] = (trial.result or {}) if done else {}
    trace = result.get("trace")
    embedded: Mapping[str, Any] = trace if isinstance(trace, Mapping) else {}
    turns = embedded.get("turns") or []
    answer = result.get("answer", turns[-1]["answer"] if turns else "")
    usage = _pick(result.get("usage"), _USAGE)
    if usage["tool_calls"] is None and embedded:
        usage["tool_calls"] = len(embedded.get("tool_calls") or [])
    sandbox = result.get("sandbox")
    return {
        "case": trial.case,
        "variant": trial.variant,
        "number": trial.number,
        "weather": weather,
        "outcome": trial.outcome if done else "cancelled",
        "reason": result.get("reason", "") if done else "not run",
        "scores": [_score(score) for score in result.get("scores") or ()],
        "answer": _shorten(answer or ""),
        "turns": result.get("turns", len(turns)),
        "duration_s": _finite(result.get("duration_s")),
        "sandbox": _pick(sandbox, _SANDBOX) if sandbox else None,
        "usage": usage,
        "faults": list(result.get("faults") or ()),
        "exchanges": result.get("exchanges", 0),
        "rewritten": result.get("rewritten"),
        "changes": _pick(result["changes"], _CHANGES) if result.get("changes") else None,
        "trace": trace if isinstance(trace, str) else None,
        "clock": _pick(result["clock"], _CLOCK) if result.get("clock") else None,
        "collected": [_pick(file, _FILE) for file in result.get("collected") or ()],
        "not_collected": [_pick(item, _MISSING) for item in result.get("not_collected") or ()],
        "attempts": trial.attempts,
        "kept": _kept(result.get("kept")),
    }


def _kept(kept: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if kept is None else _pick(kept, _KEPT)


def _score(score: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "scorer": score["scorer"],
        "passed": score["passed"],
        "value": _finite(score["value"]),
        "reason": score["reason"],
        "parts": [_pick(part, _PART) for part in score.get("parts") or ()],
    }


def _shorten(answer: str) -> str:
    if len(answer) <= MAX_ANSWER_CHARS:
        return answer
    return f"{answer[:MAX_ANSWER_CHARS]}… ({len(answer) - MAX_ANSWER_CHARS} more characters in the trace)"


def _pick(given: Mapping[str, Any] | None, defaults: Mapping[str, Any]) -> dict[str, Any]:
    return {key: (given or {}).get(key, default) for key, default in defaults.items()}


def _finite(value: float | None) -> float:
    # JSON has no NaN; a user's scorer can return one.
    return value if value is not None and math.isfinite(value) else 0.0


def _is_date_time(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None
