"""What a simulated user needs of this host, looked for when the suite is loaded."""

from __future__ import annotations

from aegis.llm.base import Endpoint, endpoint
from aegis.suite.model import SimulatedUser


def lack(user: SimulatedUser) -> str | None:
    """Why the user's model cannot be asked from here, or its budget not be kept; None when nothing is in the way. Asks
    nobody."""
    if user.model is None:
        return None
    from aegis.llm.client import problem

    where = endpoint_of(user)
    if lacking := problem(where):
        return f"the simulated user {lacking}; a script of rules (script) needs neither"
    if user.budget.usd is not None and not _has_price(where):
        return (
            f"the price of the model {user.model!r} is not known: give budget.tokens in place of budget.usd"
        )
    return None


def endpoint_of(user: SimulatedUser) -> Endpoint:
    """Where the user's model is asked."""
    assert user.model is not None
    return endpoint(user.model, provider=user.provider, base_url=user.base_url, key_variable=user.key_env)


def _has_price(where: Endpoint) -> bool:
    from aegis.llm.client import own_url
    from aegis.trace import prices

    return prices.price(where.model, input_tokens=1, output_tokens=1, url=own_url(where)) is not None
