"""Stripe's API (v1).

Compared on 2026-11-23:

- https://docs.stripe.com/rate-limits: 429 with `Stripe-Rate-Limited-Reason` (`global-rate`, …) and no Retry-After;
  Stripe's own clients don't try again then, but do so after a lock timeout, which is a 429 with the code `lock_timeout`
  and without that header (https://github.com/stripe/stripe-dotnet/issues/1886);
- https://docs.stripe.com/api/errors: the shape of an error; https://docs.stripe.com/error-codes: `rate_limit`,
  `lock_timeout`, `api_key_expired`;
- https://docs.stripe.com/api/idempotent_requests: the stored answer of the first request with an Idempotency-Key comes
  again for every later one, a 500 included; other parameters with the same key are an `idempotency_error`;
- bodies as users report them: https://github.com/exercism/website/issues/7884 (lock timeout),
  https://github.com/codecombat/codecombat/issues/2588 (429), https://github.com/stripe/stripe-cli/pull/792 (401),
  https://github.com/stripe/stripe-node/issues/2246 (403), https://github.com/stripe/stripe-apps/issues/819 (500),
  https://github.com/fjordllc/bootcamp/issues/3928 (idempotency).
"""

from __future__ import annotations

import base64
import binascii

from aegis.faults.providers.base import At, Limit, Provider, Reply, Why

_BEARER = ("WWW-Authenticate", 'Bearer realm="Stripe"')


class Stripe(Provider):
    name = "stripe"

    def error(self, at: At, status: int, kind: str, message: str, *, code: str | None = None) -> Reply:
        error = {"message": message, "type": kind}
        if code:
            page = f"https://stripe.com/docs/error-codes/{code.replace('_', '-')}"
            error = {"code": code, "doc_url": page, **error}
        return Reply(status, {"error": error}, (("Request-Id", f"req_{at.text('request', 14)}"),), indent=2)

    def rate_limited(self, at: At, limit: Limit) -> Reply:
        if limit.kind == "secondary":
            message = (
                "This object cannot be accessed right now because another API request or Stripe process is currently "
                "accessing it. If you see this error intermittently, retry the request. If you see this error "
                "frequently and are making multiple concurrent requests to a single object, make your requests "
                "serially or at a lower rate."
            )
            reply = self.error(at, 429, "invalid_request_error", message, code="lock_timeout")
            return reply.with_headers(("Stripe-Should-Retry", "true"), *limit.retry_after("none"))
        message = "Request rate limit exceeded. Learn more about rate limits here https://stripe.com/docs/rate-limits."
        reply = self.error(at, 429, "invalid_request_error", message, code="rate_limit")
        return reply.with_headers(("Stripe-Rate-Limited-Reason", "global-rate"), *limit.retry_after("none"))

    def quota(self, at: At, cause: str) -> Reply:
        return self.error(at, 402, "invalid_request_error", "Your account cannot make this request.")

    def overloaded(self, at: At) -> Reply:
        return self.error(
            at, 503, "api_error", "The service is temporarily unavailable. Please try again later."
        )

    def server_error(self, at: At) -> Reply:
        message = (
            "Error while communicating with one of our backends.  Sorry about that!  We have been notified of the "
            "problem.  If you have any questions, we can help at https://support.stripe.com/."
        )
        return self.error(at, 500, "api_error", message)

    def unauthorized(self, at: At, why: Why) -> Reply:
        if why == "missing":
            message = (
                "You did not provide an API key. You need to provide your API key in the Authorization header, using "
                "Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY')."
            )
            return self.error(at, 401, "invalid_request_error", message).with_headers(_BEARER)
        if why == "expired":
            message = f"Expired API Key provided: {_masked(at)}"
            reply = self.error(at, 401, "invalid_request_error", message, code="api_key_expired")
        else:
            reply = self.error(at, 401, "invalid_request_error", f"Invalid API Key provided: {_masked(at)}")
        return reply.with_headers(_BEARER)

    def forbidden(self, at: At) -> Reply:
        message = (
            f"The provided key '{_masked(at)}' does not have the required permissions for this endpoint on account "
            f"'acct_{at.account('account', 16)}'. Having more permissions would allow this request to continue."
        )
        return self.error(at, 403, "invalid_request_error", message)

    def key_reused(self, at: At, key: str) -> Reply:
        """For another request with an Idempotency-Key that was used before."""
        message = (
            "Keys for idempotent requests can only be used with the same parameters they were first used with. Try "
            f"using a key other than '{key}' if you meant to execute a different request."
        )
        return self.error(at, 400, "idempotency_error", message)


def _masked(at: At) -> str:
    """`sk_test_****…IOVG`. The key may be the user name of Basic credentials."""
    token = at.token
    if (at.seen.credential or "")[:6].lower() == "basic ":
        try:
            token = base64.b64decode(token, validate=True).decode("latin-1").partition(":")[0]
        except binascii.Error:
            token = ""
    if len(token) <= 14:
        return "*" * len(token)
    return token[:8] + "*" * (len(token) - 14) + token[-6:]


provider = Stripe()
