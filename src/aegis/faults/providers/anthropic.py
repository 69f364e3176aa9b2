"""Anthropic's API, and who speaks its format.

Compared on 2026-11-23:

- https://platform.claude.com/docs/en/api/errors: the shape `{"type": "error", "error": {…}, "request_id": …}`, the
  header `request-id`, the types 401 `authentication_error`, 402 `billing_error`, 403 `permission_error`,
  429 `rate_limit_error`, 500 `api_error`, 504 `timeout_error`, 529 `overloaded_error`; an error may follow a 200
  inside the event stream;
- https://platform.claude.com/docs/en/api/rate-limits: `anthropic-ratelimit-{requests,tokens,input-tokens,
  output-tokens}-{limit,remaining,reset}`, resets as RFC 3339 times, and `retry-after`; reaching the monthly spend cap
  is a 429 without `retry-after`, with `error.details.error_code` `enforced_spend_limit_reached`;
- headers and bodies as users report them: https://github.com/anthropics/anthropic-sdk-typescript/issues/357 (429),
  https://github.com/anthropics/anthropic-sdk-typescript/issues/616 (529),
  https://github.com/umbraco/Umbraco.AI/issues/174 (the event), https://github.com/can1357/oh-my-pi/pull/5418 (spend),
  https://github.com/anthropics/claude-code/issues/91800 (500), https://github.com/anthropics/claude-code/issues/12879
  and https://github.com/eyaltoledano/claude-task-master/issues/222 (401).
"""

from __future__ import annotations

from typing import Any

from aegis.faults.providers.base import HEX, At, Headers, Limit, Provider, Reply, Why, sse

_REQUESTS_LIMIT = 4000
_TOKENS = {"tokens": 480_000, "input-tokens": 400_000, "output-tokens": 80_000}
_PAGE = "https://docs.claude.com/en/api/rate-limits"


class Anthropic(Provider):
    name = "anthropic"

    def error(
        self, at: At, status: int, kind: str, message: str, *, details: dict[str, Any] | None = None
    ) -> Reply:
        error = {"type": kind, "message": message, **({"details": details} if details else {})}
        request_id = f"req_011C{at.text('request', 20)}"
        headers: Headers = (("request-id", request_id), ("cf-ray", f"{at.text('ray', 16, HEX)}-FRA"))
        if details is None and (status == 429 or status >= 500):
            headers = (*headers, ("x-should-retry", "true"))
        return Reply(status, {"type": "error", "error": error, "request_id": request_id}, headers)

    def rate_limited(self, at: At, limit: Limit) -> Reply:
        size = limit.requests or _REQUESTS_LIMIT
        organization = at.uuid("organization")
        if limit.kind == "tokens":
            what = f"{_TOKENS['input-tokens']:,} input tokens per minute"
        else:
            what = f"{size:,} requests per minute"
        message = (
            f"This request would exceed the rate limit for your organization ({organization}) of {what}. For details, "
            f"refer to: {_PAGE}. You can see the response headers for current usage. Please reduce the prompt length "
            "or the maximum tokens requested, or try again later."
        )
        reply = self.error(at, 429, "rate_limit_error", message)
        return reply.with_headers(
            ("anthropic-organization-id", organization), *_left(limit, size), *limit.retry_after("seconds")
        )

    def quota(self, at: At, cause: str) -> Reply:
        if cause == "spend-limit":
            message = "This request would exceed your account's monthly spend limit. Please try again later."
            details = {"error_code": "enforced_spend_limit_reached"}
            return self.error(at, 429, "rate_limit_error", message, details=details)
        message = (
            "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or "
            "purchase credits."
        )
        return self.error(at, 402, "billing_error", message)

    def overloaded(self, at: At) -> Reply:
        return self.error(at, 529, "overloaded_error", "Overloaded")

    def overloaded_event(self, at: At) -> bytes:
        value = self.overloaded(at).value
        return sse("error", {**value, "error": {"details": None, **value["error"]}})

    def server_error(self, at: At) -> Reply:
        return self.error(at, 500, "api_error", "Internal server error")

    def unauthorized(self, at: At, why: Why) -> Reply:
        bearer = at.seen.request.header("authorization") is not None
        if why == "missing":
            message = "x-api-key header is required"
        elif bearer and why == "expired":
            message = "OAuth token has expired. Please obtain a new token or refresh your existing token."
        else:
            message = "Invalid bearer token" if bearer else "invalid x-api-key"
        return self.error(at, 401, "authentication_error", message)

    def forbidden(self, at: At) -> Reply:
        message = "Your API key does not have permission to use the specified resource."
        return self.error(at, 403, "permission_error", message)


def _left(limit: Limit, size: int) -> Headers:
    spent = {"input-tokens", "tokens"} if limit.kind == "tokens" else {"requests"}
    reset = limit.until.strftime("%Y-%m-%dT%H:%M:%SZ")
    headers: list[tuple[str, str]] = []
    for kind, total in {"requests": size, **_TOKENS}.items():
        headers += [
            (f"anthropic-ratelimit-{kind}-limit", str(total)),
            (f"anthropic-ratelimit-{kind}-remaining", "0" if kind in spent else str(total)),
            (f"anthropic-ratelimit-{kind}-reset", reset),
        ]
    return tuple(headers)


provider = Anthropic()
