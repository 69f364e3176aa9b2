"""A token bucket. Pure: times are seconds on any clock that goes on."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Bucket:
    """Holds `size` tokens at most and gets one every `every_s`. It may also be shut for a time, in which it gives none.

    `told_s` is when its owner was last told to wait, None when nobody was since it was open.
    """

    size: int = 1
    every_s: float = 0.0
    told_s: float | None = None
    _tokens: float = field(init=False)
    _at_s: float = 0.0
    _shut_until_s: float = 0.0

    def __post_init__(self) -> None:
        self._tokens = float(self.size)

    def take(self, now_s: float) -> bool:
        """Take a token; whether there was one."""
        self._refill(now_s)
        # A wait that was told to the microsecond must not be cut short by rounding.
        if self._tokens < 1 - 1e-6:
            return False
        self._tokens = max(0.0, self._tokens - 1)
        return True

    def next_s(self, now_s: float) -> float:
        """Seconds until there is a token."""
        self._refill(now_s)
        return max(0.0, (1 - self._tokens) * self.every_s)

    def shut(self, until_s: float) -> None:
        self._shut_until_s = until_s

    def is_shut(self, now_s: float) -> bool:
        if now_s < self._shut_until_s:
            return True
        self.told_s = None
        return False

    def wait_s(self, now_s: float) -> float:
        """Seconds until it is no longer shut."""
        return max(0.0, self._shut_until_s - now_s)

    def is_full(self, now_s: float) -> bool:
        """Whether nothing would be lost by forgetting it."""
        self._refill(now_s)
        return self._tokens >= self.size and not self.is_shut(now_s)

    def _refill(self, now_s: float) -> None:
        if self.every_s:
            self._tokens = min(float(self.size), self._tokens + (now_s - self._at_s) / self.every_s)
        self._at_s = now_s
