"""What a rule says of one trial, with the exchanges and times that it rests on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from aegis.scoring.resilience.attempt import Attempt
from aegis.scoring.words import plain


@dataclass(frozen=True, slots=True)
class Evidence:
    """One exchange that a rule looked at."""

    exchange: int
    started_s: float
    """When the request was sent, in the trial's seconds."""
    ended_s: float | None
    """When the end of its response had been delivered."""
    what: str
    """`GET crm.example/orders/1042 got 429, the SDK's retry 1`."""


@dataclass(frozen=True, slots=True)
class Breach:
    """One way in which a rule was broken."""

    words: str
    """With the times of the requests."""
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    rule: str
    passed: bool | None
    """None: there was nothing to judge."""
    reason: str
    """One line, beginning with the rule's name."""
    evidence: tuple[Evidence, ...] = ()


def nothing(rule: str, why: str) -> Verdict:
    """The rule does not apply."""
    return Verdict(rule, None, f"{rule}: {why}")


def decide(rule: str, breaches: Sequence[Breach], kept: str, judged: Iterable[Attempt] = ()) -> Verdict:
    """Failed with the first breach in words when there is one; else passed, with `kept` as the reason."""
    if not breaches:
        return Verdict(rule, True, f"{rule}: {kept}", tuple(map(evidence, judged)))
    more = f" (and {len(breaches) - 1} more like it)" if len(breaches) > 1 else ""
    shown = {item.exchange: item for breach in breaches for item in breach.evidence}
    found = tuple(shown[number] for number in sorted(shown))
    return Verdict(rule, False, f"{rule}: {breaches[0].words}{more}", found)


def breach(words: str, *attempts: Attempt) -> Breach:
    return Breach(words, tuple(map(evidence, attempts)))


def evidence(attempt: Attempt) -> Evidence:
    exchange = attempt.exchange
    return Evidence(
        exchange.id,
        exchange.started_s,
        exchange.ended_s,
        f"{attempt.told} {attempt.outcome}, {attempt.sender}",
    )


def ended(attempt: Attempt) -> str:
    """`at 1.20 s (exchange 3)`: when its response had been delivered."""
    return f"at {attempt.ended_s:.2f} s (exchange {attempt.id})"


def sent(attempt: Attempt) -> str:
    """`at 1.71 s (exchange 4)`: when it was sent, and by the SDK or the agent when the request tells."""
    who = f", {attempt.sender}" if attempt.sdk_retry is not None else ""
    return f"at {attempt.started_s:.2f} s (exchange {attempt.id}{who})"


def span(seconds: float) -> str:
    """`1.49 s`, `4 ms`."""
    return f"{seconds:.2f} s" if abs(seconds) >= 0.1 else f"{seconds * 1000:.0f} ms"


def count(number: int, noun: str) -> str:
    """`1 request`, `3 requests`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def listed(items: Sequence[str], most: int = 3) -> str:
    """The first few, and how many more."""
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return plain(", ".join(items[:most]) + more, 400)
