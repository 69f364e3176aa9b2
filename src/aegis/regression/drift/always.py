"""What is shown however rarely it happens, since once may be too often: new hosts, new writes, rules newly broken."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from aegis.regression.drift.aspects import Trials
from aegis.regression.drift.behaviour import Behaviour
from aegis.regression.drift.findings import Aspect, Finding
from aegis.regression.trials import CaseKey


def find(key: CaseKey, before: Trials, now: Trials) -> Iterator[Finding]:
    """All such findings of one case. Without trials before there is nothing to be new against."""
    if not before.trials:
        return
    if not {*before.traffic}.issuperset(now.traffic):
        hosts = ([view.hosts for view in side.traffic] for side in (before, now))
        yield from _new(key, "hosts", "new host", *hosts)
        writes = ([view.writes for view in side.traffic] for side in (before, now))
        yield from _new(key, "writes", "new write", *writes)
    if not {*before.calls}.issuperset(now.calls):
        tools = ([view.may_write for view in side.calls] for side in (before, now))
        yield from _new(key, "tools", "new tool that may write", *tools)
    rules = [trial.rules for trial in now.trials]
    if not all(all(kept.values()) for kept in {id(kept): kept for kept in rules}.values()):
        yield from _broken_rules(key, before.trials, now.trials)


def _new(
    key: CaseKey, aspect: Aspect, what: str, before: Sequence[Collection[str]], now: Sequence[Collection[str]]
) -> Iterator[Finding]:
    known: set[str] = set().union(*before)
    if all(map(known.issuperset, now)):
        return
    for item in dict.fromkeys(item for items in now for item in sorted(items) if item not in known):
        count = sum(item in items for items in now)
        yield Finding(key, aspect, f"{what} {item}", "", f"{count} of {len(now)} trials", "always")


def _broken_rules(key: CaseKey, before: Sequence[Behaviour], now: Sequence[Behaviour]) -> Iterator[Finding]:
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
