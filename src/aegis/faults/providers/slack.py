"""Slack's Web API, which says most errors in a 200 with `"ok": false`.

Compared on 2026-11-23:

- https://docs.slack.dev/apis/web-api/rate-limits: 429 with Retry-After in seconds, by method and workspace;
- https://github.com/beginner-corp/slack/issues/105: its body `{"ok": false, "error": "ratelimited"}` and headers;
- https://docs.slack.dev/authentication/using-token-rotation: refresh at `oauth.v2.access`; `invalid_refresh_token`;
- https://docs.slack.dev/reference/methods/auth.test (errors that every method may return): `token_expired`,
  `invalid_auth`, `not_authed`, `missing_scope`, `internal_error`, `service_unavailable`, each in a 200.
"""

from __future__ import annotations

from typing import Any

from aegis.faults.providers.base import HEX, At, Limit, Provider, Reply, Why

_TOKEN_ERRORS: dict[Why, str] = {
    "expired": "token_expired",
    "unknown": "invalid_auth",
    "missing": "not_authed",
}


class Slack(Provider):
    name = "slack"

    def error(self, at: At, status: int, kind: str, message: str) -> Reply:
        return self._not_ok(at, kind, status=status)

    def rate_limited(self, at: At, limit: Limit) -> Reply:
        return self._not_ok(at, "ratelimited", status=429).with_headers(*limit.retry_after("seconds"))

    def quota(self, at: At, cause: str) -> Reply:
        return self._not_ok(at, "message_limit_exceeded")

    def overloaded(self, at: At) -> Reply:
        return self._not_ok(at, "service_unavailable")

    def server_error(self, at: At) -> Reply:
        return self._not_ok(at, "internal_error")

    def unauthorized(self, at: At, why: Why) -> Reply:
        return self._not_ok(at, _TOKEN_ERRORS[why])

    def refresh_refused(self, at: At, message: str | None) -> Reply:
        return self._not_ok(at, "invalid_refresh_token")

    def forbidden(self, at: At) -> Reply:
        return self._not_ok(at, "missing_scope", needed="chat:write", provided="identify")

    @staticmethod
    def _not_ok(at: At, error: str, *, status: int = 200, **more: Any) -> Reply:
        request_id = at.text("request", 32, HEX)
        headers = (("X-Slack-Req-Id", request_id), ("Cache-Control", "private, no-cache, no-store"))
        value = {"ok": False, "error": error, **more}
        return Reply(status, value, headers, content_type="application/json; charset=utf-8")


provider = Slack()
