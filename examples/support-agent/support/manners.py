"""How the agent behaves towards a server that has trouble. Everything that is different on a bad day stands here."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Manners:
    tries: int = 5
    """Of one request, the first included."""
    first_pause_s: float = 0.5
    """Between the first try and the second; doubled from then on, and never the same for two clients."""
    longest_pause_s: float = 30.0
    """A server that wants us to wait longer gets no more requests for this step."""
    timeout_s: float = 60.0
    """Without a byte. What takes longer may have been done all the same."""
    heeds_retry_after: bool = True
    wants_whole_answers: bool = True
    """A stream that ended early is asked for again, and so is a list that holds less than it says."""
    keeps_keys: bool = True
    """Every try of a change has the same idempotency key."""
    keeps_logins: bool = True
    """A new token is used from then on; after a refusal of a new one, nothing is asked for any more."""

    def pause_s(self, tried: int, asked_s: float | None) -> float | None:
        """Seconds until the next try after so many, `asked_s` being what the server says; None: give up."""
        if tried >= self.tries:
            return None
        if asked_s is not None and self.heeds_retry_after:
            return asked_s if asked_s <= self.longest_pause_s else None
        return float(random.uniform(0.75, 1.0) * self.first_pause_s * 2 ** (tried - 1))


PATIENT = Manners()

HASTY = Manners(
    tries=8,
    first_pause_s=0.0,
    timeout_s=1.0,
    heeds_retry_after=False,
    wants_whole_answers=False,
    keeps_keys=False,
    keeps_logins=False,
)
"""A careless client, as many are: nobody notices on a good day. See "Bad weather" in the README."""
