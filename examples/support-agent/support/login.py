"""What the agent identifies itself with: a token, which may run out, and a way to the next one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from support.errors import SignedOutError


@dataclass(slots=True)
class Login:
    """A token, and `renew`, which gets another one or raises `SignedOutError`. With `keeps` false nothing is learnt
    from what it did: the next request begins with the old token."""

    first_token: str
    renew: Callable[[], str] | None = None
    keeps: bool = True
    _newer: str | None = None
    _signed_out: SignedOutError | None = None

    def token(self) -> str:
        """The token to use. Raises `SignedOutError` when there is none any more."""
        if self._signed_out is not None:
            raise self._signed_out
        return self._newer or self.first_token

    def next_token(self) -> str | None:
        """Another token in the place of one that has expired, None when there is no way to one. Raises
        `SignedOutError`."""
        if self.renew is None:
            return None
        try:
            token = self.renew()
        except SignedOutError as error:
            self._signed_out = error if self.keeps else None
            raise
        self._newer = token if self.keeps else None
        return token
