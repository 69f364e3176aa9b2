"""An API that follows the standards and is nobody's in particular.

Compared on 2026-11-23 with RFC 6585 (429), RFC 9110, section 10.2.3 (Retry-After), RFC 6750, section 3
(https://www.rfc-editor.org/rfc/rfc6750#section-3: the challenge of a 401; a request without any credential gets no
error code) and RFC 6750, section 3.1 (`insufficient_scope` with 403).
"""

from __future__ import annotations

from aegis.faults.providers.base import At, Provider, Reply, Why

_TEXTS = {"expired": "The access token expired", "unknown": "The access token is invalid"}


class Generic(Provider):
    name = "generic"

    def error(self, at: At, status: int, kind: str, message: str) -> Reply:
        return Reply(status, {"error": {"code": kind, "message": message}})

    def overloaded(self, at: At) -> Reply:
        return super().overloaded(at).with_headers(("Retry-After", "1"))

    def unauthorized(self, at: At, why: Why) -> Reply:
        if why == "missing":
            value = {"error": "unauthorized", "error_description": "Authentication is required"}
            return Reply(401, value, (("WWW-Authenticate", "Bearer"),))
        text = _TEXTS[why]
        challenge = f'Bearer error="invalid_token", error_description="{text}"'
        return Reply(
            401,
            {"error": "invalid_token", "error_description": text},
            (("WWW-Authenticate", challenge),),
        )

    def forbidden(self, at: At) -> Reply:
        value = {
            "error": "insufficient_scope",
            "error_description": "The request requires higher privileges than provided by the access token",
        }
        return Reply(403, value, (("WWW-Authenticate", 'Bearer error="insufficient_scope"'),))


provider = Generic()
