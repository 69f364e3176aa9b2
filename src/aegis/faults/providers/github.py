"""GitHub's REST API, and its endpoint for tokens, which says errors in a 200.

Compared on 2026-11-23:

- https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api: 403 or 429 for both limits; the
  primary one has `x-ratelimit-remaining: 0` and `x-ratelimit-reset` in UTC epoch seconds, the secondary one a message
  and sometimes `retry-after`; without either a client waits at least a minute; going on risks a ban;
- https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/refreshing-user-access-tokens
  (POST https://github.com/login/oauth/access_token) and https://github.com/orgs/community/discussions/24745
  (`bad_refresh_token`);
- https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api: `Server Error`, bad credentials;
- bodies as users report them: https://github.com/github-changelog-generator/github-changelog-generator/issues/993 and
  https://github.com/ossf/criticality_score/pull/813 (secondary), https://github.com/KnpLabs/php-github-api/issues/1070
  (primary), https://github.com/actions/create-github-app-token/issues/258 (403, with `"status": "403"`),
  https://github.com/taskcluster/taskcluster-github/issues/96 (503).
"""

from __future__ import annotations

from aegis.faults.providers.base import DIGITS, At, Headers, Limit, Provider, Reply, Why

_LIMITS_PAGE = "https://docs.github.com/rest/overview/rate-limits-for-the-rest-api"
_SECONDARY_PAGE = (
    "https://docs.github.com/free-pro-team@latest/rest/overview/rate-limits-for-the-rest-api"
    "#about-secondary-rate-limits"
)
_PAGE = "https://docs.github.com/rest"
_HEX = "0123456789ABCDEF"


class GitHub(Provider):
    name = "github"

    def error(self, at: At, status: int, kind: str, message: str, *, page: str = _PAGE) -> Reply:
        value = {"message": message, "documentation_url": page, "status": str(status)}
        headers = (
            ("Server", "github.com"),
            ("X-GitHub-Media-Type", "github.v3; format=json"),
            ("X-GitHub-Request-Id", _request_id(at)),
        )
        return Reply(status, value, headers, content_type="application/json; charset=utf-8")

    def rate_limited(self, at: At, limit: Limit) -> Reply:
        if limit.kind == "secondary":
            message = (
                "You have exceeded a secondary rate limit. Please wait a few minutes before you try again. If you "
                f"reach out to GitHub Support for help, please include the request ID {_request_id(at)}."
            )
            reply = self.error(at, 403, "secondary", message, page=_SECONDARY_PAGE)
            return reply.with_headers(*limit.retry_after("seconds"))
        who = f"user ID {at.account('user', 8, DIGITS)}" if at.token else "your IP address"
        reply = self.error(at, 403, "primary", f"API rate limit exceeded for {who}.", page=_LIMITS_PAGE)
        return reply.with_headers(*_left(at, limit), *limit.retry_after("none"))

    def overloaded(self, at: At) -> Reply:
        message = (
            "No server is currently available to service your request. Sorry about that. Please try resubmitting your "
            "request and contact us if the problem persists."
        )
        return self.error(at, 503, "overloaded", message)

    def server_error(self, at: At) -> Reply:
        return self.error(at, 500, "server_error", "Server Error")

    def unauthorized(self, at: At, why: Why) -> Reply:
        message = "Requires authentication" if why == "missing" else "Bad credentials"
        return self.error(at, 401, "unauthorized", message)

    def refresh_refused(self, at: At, message: str | None) -> Reply:
        value = {
            "error": "bad_refresh_token",
            "error_description": message or "The refresh token passed is incorrect or expired.",
            "error_uri": "https://docs.github.com/apps",
        }
        return Reply(200, value, content_type="application/json; charset=utf-8")

    def forbidden(self, at: At) -> Reply:
        return self.error(at, 403, "forbidden", "Resource not accessible by integration")


def _left(at: At, limit: Limit) -> Headers:
    size = limit.requests or (5000 if at.token else 60)
    return (
        ("X-RateLimit-Limit", str(size)),
        ("X-RateLimit-Remaining", "0"),
        ("X-RateLimit-Reset", str(limit.epoch_s)),
        ("X-RateLimit-Used", str(size)),
        ("X-RateLimit-Resource", "core"),
    )


def _request_id(at: At) -> str:
    text = at.text("request", 29, _HEX)
    return f"{text[:4]}:{text[4:8]}:{text[8:14]}:{text[14:21]}:{text[21:]}"


provider = GitHub()
