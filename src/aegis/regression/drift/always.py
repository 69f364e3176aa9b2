"""What is shown however rarely it happens, since once may be too often: new hosts, new writes, rules newly broken."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from aegis.regression.drift.aspects import write_of
from aegis.regression.drift.behaviour import Behaviour
from aegis.regression.drift.findings import Aspect, Finding
from aegis.regression.trials import CaseKey

_Trials = Sequence[Behaviour]


def find(key: CaseKey, before: _Trials, now: _Trials) -> Iterator[Finding]:
    """All such findings of one case. Without trials before there is nothing to be new against."""
    if not before:
        return
    for aspect, what, look in _LOOKS:
        known = {item for trial in before for item in look(trial)}
        fresh = dict.fromkeys(item for trial in now for item in look(trial) if item not in known)
        for item in fresh:
            count = sum(item in look(trial) for trial in now)
            yield Finding(key, aspect, f"{what} {item}", "", f"{count} of {len(now)} trials", "always")
    yield from _broken_rules(key, before, now)


def _hosts(trial: Behaviour) -> set[str]:
    return {request.host for request in trial.requests}


def _writes(trial: Behaviour) -> set[str]:
    return {
        write_of(request.method, request.host, request.path) for request in trial.requests if request.writes
    }


def _write_tools(trial: Behaviour) -> set[str]:
    # One of which nobody knows whether it writes may do so.
    return {call.name for call in trial.tools if call.writes is not False}


def _broken_rules(key: CaseKey, before: _Trials, now: _Trials) -> Iterator[Finding]:
    """Rules that are broken now and never were; where a rule had nothing to judge before, it says so."""
    broken = {name for trial in before for name, kept in trial.rules.items() if not kept}
    fails = dict.fromkeys(name for trial in now for name, kept in trial.rules.items() if not kept)
    for name in fails:
        if name in broken:
            continue
        judged = [trial.rules[name] for trial in now if name in trial.rules]
        times = sum(name in trial.rules for trial in before)
        was = f"kept in {times} of {times} trials" if times else "nothing to judge"
        is_now = f"broken in {judged.count(False)} of {len(judged)} trials"
        yield Finding(key, "resilience", f"rule {name} newly broken", was, is_now, "always")


_LOOKS: tuple[tuple[Aspect, str, Callable[[Behaviour], set[str]]], ...] = (
    ("hosts", "new host", _hosts),
    ("writes", "new write", _writes),
    ("tools", "new tool that may write", _write_tools),
)
