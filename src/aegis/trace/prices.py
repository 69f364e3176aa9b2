"""What tokens cost, from the package `genai-prices` (imported when the first price is asked for: it is large).

The package's prices carry no date of their own: its version says which they are. They are looked up in the
installed copy, never fetched.
"""

from __future__ import annotations

import warnings
from datetime import datetime
from functools import lru_cache
from typing import Any


def source() -> str:
    """Which prices these are: `genai-prices 0.2.3`."""
    from importlib.metadata import version

    return f"genai-prices {version('genai-prices')}"


def price(
    model: str | None,
    *,
    input_tokens: int | None,
    output_tokens: int | None,
    cached_tokens: int | None = None,
    cache_write_tokens: int | None = None,
    url: str | None = None,
    at: datetime | None = None,
) -> float | None:
    """US dollars of one call, or None when the model, its price or its tokens are unknown: never 0 instead.

    `input_tokens` includes the cached ones. `url` is the endpoint's: providers charge differently for the same
    model. For an unknown host (a company's own gateway) the list price of the model's maker counts. `at` (default:
    now) selects among prices that changed. What is not counted in tokens (web searches, storage) is not in it.
    """
    if not model or input_tokens is None or output_tokens is None:
        return None
    found = _look_up(model, url)
    if found is None:
        return None
    from genai_prices import Usage

    provider, info = found
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            usage = Usage(
                input_tokens=input_tokens,
                output_tokens=output_tokens,
                cache_read_tokens=cached_tokens or None,
                cache_write_tokens=cache_write_tokens or None,
            )
            calculated = info.calc_price(usage, provider, genai_request_timestamp=at)
    except (LookupError, ValueError, ArithmeticError):
        return None
    if not any(value is not None for value in vars(calculated.model_price).values()):
        # Listed without any price. A name that says so is free; otherwise nobody wrote the price down.
        return 0.0 if model.endswith(":free") else None
    return round(float(calculated.total_price), 10)


@lru_cache(maxsize=1024)
def _look_up(model: str, url: str | None) -> tuple[Any, Any] | None:
    from genai_prices.data_snapshot import get_snapshot

    snapshot = get_snapshot()
    if url is not None and (provider := _provider_at(snapshot, url)) is not None:
        # A provider that does not list the model charges something that nobody wrote down.
        return _found(snapshot, model, provider, None)
    # By the maker that the name tells, or by its prefix (`openai/gpt-4o`, as companies' gateways write it).
    return _found(snapshot, model, None, None) or _found(snapshot, model, None, "litellm")


def _provider_at(snapshot: Any, url: str) -> Any:
    try:
        return snapshot.find_provider(None, None, url)
    except LookupError:
        return None


def _found(snapshot: Any, model: str, provider: Any, provider_id: str | None) -> tuple[Any, Any] | None:
    try:
        found: tuple[Any, Any] = snapshot.find_provider_model(model, provider, provider_id, None)
    except (LookupError, ValueError):
        return None
    return found
