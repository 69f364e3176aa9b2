"""Which of its matches a rule hits. Pure."""

from __future__ import annotations

from aegis.faults.base import TrialKey
from aegis.suite.model import FaultRule


def hits(
    rule: FaultRule, key: TrialKey, *, route: str, number: int, nth: int, at_s: float, fired: int
) -> bool:
    """Whether the rule hits its match number `number`, which is the `nth` on this route, after `fired` hits."""
    if rule.until_hits is not None and fired >= rule.until_hits:
        return False
    if rule.until_s is not None and at_s >= rule.until_s:
        return False
    if rule.after_s is not None and at_s < rule.after_s:
        return False
    if rule.after is not None and number <= rule.after:
        return False
    if rule.on and number not in rule.on:
        return False
    if rule.first is not None and number < rule.first:
        return False
    if rule.last is not None and number > rule.last:
        return False
    if rule.every is not None and (number - (rule.after or 0)) % rule.every:
        return False
    # Last, and by the route: requests that are under way at the same time change nothing for each other.
    return rule.probability is None or key.draw(rule.id, route, nth, "hits") < rule.probability


def is_permanent(rule: FaultRule) -> bool:
    """Whether, once it hits, nothing in the rule lets it end: trying again does not help."""
    return not rule.on and all(
        limit is None
        for limit in (
            rule.last,
            rule.every,
            rule.probability,
            rule.until_hits,
            rule.until_s,
            rule.until_match,
        )
    )


def describe(rule: FaultRule) -> str:
    """When it hits, in words: `on match 1`, `every 3rd match after match 2`, `always`."""
    words: list[str] = []
    if rule.on:
        words.append(f"on match {', '.join(map(str, rule.on))}")
    if rule.first is not None:
        words.append(f"from match {rule.first}")
    if rule.last is not None:
        words.append(f"to match {rule.last}")
    if rule.every is not None:
        words.append(f"every {rule.every} matches")
    if rule.after is not None:
        words.append(f"after match {rule.after}")
    if rule.after_s is not None:
        words.append(f"after {rule.after_s:g} s")
    if rule.probability is not None:
        words.append(f"in {rule.probability * 100:.3g} % of the matches")
    if rule.until_hits is not None:
        words.append(f"{'once' if rule.until_hits == 1 else f'{rule.until_hits} times'} at most")
    if rule.until_s is not None:
        words.append(f"until {rule.until_s:g} s")
    if rule.until_match is not None:
        words.append("until a given request succeeds")
    return ", ".join(words) or "always"
