"""OpenAI's API, and who speaks its format.

Compared on 2026-11-23:

- https://developers.openai.com/api/docs/guides/rate-limits: `x-ratelimit-{limit,remaining,reset}-{requests,tokens}`,
  resets as durations such as `6m0s`;
- https://developers.openai.com/api/docs/guides/error-codes: 429 of two families, told apart by `error.code`
  (`rate_limit_exceeded`, `slow_down`; `credit_balance_exhausted`, `organization_spend_limit_exceeded`, … of type
  `insufficient_quota`, which no waiting cures); 503 `server_is_overloaded` of type `service_unavailable_error`;
- https://developers.openai.com/api/docs/guides/spend-limits: a spend limit answers 429;
- bodies as users report them: https://github.com/rotemweiss57/gpt-newspaper/issues/10 (429),
  https://github.com/openai/openai-cookbook/issues/844 (quota), https://github.com/Wei-Shaw/sub2api/issues/6631
  (overload, also as an event of type `error`), https://github.com/openai/openai-node/issues/1730 (500),
  https://github.com/popjane/free_chatgpt_api/issues/3 (401),
  https://github.com/continuedev/continue/issues/10120 (403).

The official clients look for `retry-after-ms`, then `retry-after`. An API key does not expire here; one that is no
longer valid gets `invalid_api_key`.
"""

from __future__ import annotations

import math

from aegis.faults.providers.base import HEX, LETTERS, At, Headers, Limit, Provider, Reply, Why, sse

_ERRORS_PAGE = "https://platform.openai.com/docs/guides/error-codes/api-errors"
_REQUESTS_LIMIT = 10_000
_TOKENS_LIMIT = 2_000_000


class OpenAI(Provider):
    name = "openai"

    def error(self, at: At, status: int, kind: str | None, message: str, *, code: str | None = None) -> Reply:
        value = {"error": {"message": message, "type": kind, "param": None, "code": code}}
        return Reply(status, value, self._common(at), indent=4)

    def rate_limited(self, at: At, limit: Limit) -> Reply:
        tokens = limit.kind == "tokens"
        size = _TOKENS_LIMIT if tokens else limit.requests or _REQUESTS_LIMIT
        unit = "tokens per min (TPM)" if tokens else "requests per min (RPM)"
        message = (
            f"Rate limit reached for {_model(at)} in organization {_organization(at)} on {unit}: Limit {size}, "
            f"Used {size}, Requested 1. Please try again in {duration(limit.wait_s)}. "
            "Visit https://platform.openai.com/account/rate-limits to learn more."
        )
        reply = self.error(at, 429, "tokens" if tokens else "requests", message, code="rate_limit_exceeded")
        return reply.with_headers(*_left(limit, tokens), *limit.retry_after("ms"))

    def quota(self, at: At, cause: str) -> Reply:
        code = "organization_spend_limit_exceeded" if cause == "spend-limit" else "credit_balance_exhausted"
        message = (
            "You exceeded your current quota, please check your plan and billing details. For more information "
            f"on this error, read the docs: {_ERRORS_PAGE}."
        )
        return self.error(at, 429, "insufficient_quota", message, code=code)

    def overloaded(self, at: At) -> Reply:
        message = "Our servers are currently overloaded. Please try again later."
        return self.error(at, 503, "service_unavailable_error", message, code="server_is_overloaded")

    def overloaded_event(self, at: At) -> bytes:
        error = self.overloaded(at).value["error"]
        if at.seen.path.endswith("/responses"):
            return sse("error", {"type": "error", "sequence_number": 2, "error": error})
        return sse(None, {"error": error})

    def server_error(self, at: At) -> Reply:
        message = (
            "The server had an error while processing your request. Sorry about that! You can retry your request, "
            "or contact us through our help center at help.openai.com if the error persists. (Please include the "
            f"request ID {_request_id(at)} in your message.)"
        )
        return self.error(at, 500, "server_error", message)

    def unauthorized(self, at: At, why: Why) -> Reply:
        if why == "missing":
            message = (
                "You didn't provide an API key. You need to provide your API key in an Authorization header using "
                "Bearer auth (i.e. Authorization: Bearer YOUR_KEY)."
            )
            return self.error(at, 401, "invalid_request_error", message)
        message = (
            f"Incorrect API key provided: {masked(at.token)}. You can find your API key at "
            "https://platform.openai.com/account/api-keys."
        )
        return self.error(at, 401, "invalid_request_error", message, code="invalid_api_key")

    def forbidden(self, at: At) -> Reply:
        project = f"proj_{at.account('project', 24)}"
        message = f"Project `{project}` does not have access to model `{_model(at)}`"
        return self.error(at, 403, "invalid_request_error", message, code="model_not_found")

    @staticmethod
    def _common(at: At) -> Headers:
        return (("x-request-id", _request_id(at)), ("openai-version", "2020-10-01"))


def _left(limit: Limit, tokens: bool) -> Headers:
    """What is left of both buckets: nothing of the one that ran out."""
    requests = limit.requests or _REQUESTS_LIMIT
    reset = duration(limit.wait_s)
    return (
        ("x-ratelimit-limit-requests", str(requests)),
        ("x-ratelimit-limit-tokens", str(_TOKENS_LIMIT)),
        ("x-ratelimit-remaining-requests", str(requests - 1) if tokens else "0"),
        ("x-ratelimit-remaining-tokens", "0" if tokens else str(_TOKENS_LIMIT - 1)),
        ("x-ratelimit-reset-requests", duration(60 / requests) if tokens else reset),
        ("x-ratelimit-reset-tokens", reset if tokens else "0s"),
    )


def _model(at: At) -> str:
    model = at.seen.json.get("model") if isinstance(at.seen.json, dict) else None
    return model if isinstance(model, str) and model else "this model"


def _organization(at: At) -> str:
    return f"org-{at.account('organization', 24, LETTERS)}"


def _request_id(at: At) -> str:
    return f"req_{at.text('request', 32, HEX)}"


def duration(seconds: float) -> str:
    """As Go writes it: `174ms`, `6.596s`, `6m0s`, `1h0m2s`. Rounded up to a millisecond."""
    ms = math.ceil(round(max(0.0, seconds) * 1000, 3))
    if ms < 1000:
        return f"{ms}ms" if ms else "0s"
    minutes, rest = divmod(ms, 60_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{rest / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


def masked(token: str) -> str:
    if len(token) <= 12:
        return token[:2] + "*" * (len(token) - 2)
    return token[:8] + "*" * (len(token) - 12) + token[-4:]


provider = OpenAI()
