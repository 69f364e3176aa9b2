"""What is known of a run while it goes on, as a value that several displays read. No clock and no terminal in
here."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

Trial = tuple[str, str, int]
"""Case, variant, number."""

_NAMES = ("passed", "failed", "timeout", "error", "cancelled")


@dataclass(frozen=True)
class Snapshot:
    total: int
    done: int
    counts: dict[str, int]
    running: dict[Trial, float]
    """Trial → when it started, oldest first, on the clock of whoever called `started`."""

    def describe(self) -> str:
        """`12/27 trials, 11 passed, 1 failed, 2 running`; `passed` always, other outcomes when there are
        some."""
        parts = [f"{self.done}/{self.total} trials", f"{self.counts['passed']} passed"]
        parts += [f"{self.counts[name]} {name}" for name in _NAMES[1:] if self.counts[name]]
        if self.running:
            parts.append(f"{len(self.running)} running")
        return ", ".join(parts)

    def eta_s(self, elapsed_s: float) -> float | None:
        """Seconds until the end if the rest goes as fast as what is done; None when nothing is done yet."""
        if not self.done or self.done >= self.total:
            return None
        return elapsed_s / self.done * (self.total - self.done)


@dataclass
class Tally:
    """Counts trials as they start and end. Safe to use from several threads."""

    total: int
    _counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_NAMES, 0))
    _running: dict[Trial, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def expect_more(self, trials: int) -> None:
        with self._lock:
            self.total += trials

    def started(self, trial: Trial, now: float) -> None:
        with self._lock:
            self._running[trial] = now

    def retrying(self, trial: Trial) -> None:
        with self._lock:
            self._running.pop(trial, None)

    def finished(self, trial: Trial, outcome: str) -> None:
        with self._lock:
            self._running.pop(trial, None)
            self._counts[outcome] = self._counts.get(outcome, 0) + 1

    def snapshot(self) -> Snapshot:
        with self._lock:
            return Snapshot(self.total, sum(self._counts.values()), dict(self._counts), dict(self._running))


def duration(seconds: float) -> str:
    """`14 s`, `2 min 14 s`, `1 h 02 min`: rounded down."""
    whole = int(max(seconds, 0))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole // 60 % 60:02} min"


def name(case: str, variant: str, number: int) -> str:
    """`refund#2`, `refund (bloated-tools)#2`."""
    return f"{case}#{number}" if variant == "baseline" else f"{case} ({variant})#{number}"
