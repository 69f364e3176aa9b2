"""The access token runs out in the middle of the work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from aegis.faults import jsonpath, oauth, providers
from aegis.faults.answers import read_whole
from aegis.faults.base import Fault, Hit, Seen
from aegis.faults.grants import Grant, Grants, credential_header, swapped, token_of
from aegis.faults.oauth import Refused, TokenRequest
from aegis.faults.plan.keys import HostGlob, Method
from aegis.faults.plan.match import glob
from aegis.faults.providers.base import At, Why, letters
from aegis.gateway.base import Forward, ResponsePlan
from aegis.suite.kinds import Duration, Flag, Integer, Key, Section, Text
from aegis.trace.modelrequests import asks_a_model

_REFRESH = {"path": "/oauth/token", "method": "POST"}


class TokenExpired(Fault):
    """The credential in use expires: from the match that the rule picks on, every matching request with it gets 401
    with `WWW-Authenticate: Bearer error="invalid_token"` (RFC 6750) or the provider's own form, until the agent has got
    a new token at the refresh endpoint. From then on only the new token is honoured; the old one stays refused, and so
    does any other that nobody issued. This is what happens to every agent that works for longer than a token lives.

    Official clients don't try a 401 again; OAuth libraries refresh on their own only when they were told how long a
    token lives. An agent should refresh once, send the refused request once more and go on.

    With `mint: true` the refresh endpoint is answered here, as an OAuth 2.0 token endpoint does (RFC 6749, sections 5
    and 6): `grant_type` `refresh_token` or `client_credentials`, in a form or in JSON. Upstream never sees the token
    that is issued: in its place goes the credential that was in use before, so that an upstream that knows nothing of
    refreshes works. Its host must be allowed like any other. With `mint: false` the real endpoint is asked, and the new
    token is taken from its answer.

    A rule that picks one match (`on: 4`) or everything from one on (`after: 3`, `after: 10s`) lets it expire once;
    matches that are picked apart from each other (`on: [4, 12]`, `every: 8`) let it expire again each time. The refresh
    is no match of the rule. Other credentials that were used before are left alone, and so are model calls unless the
    rule names their host: a provider's key does not expire.
    """

    name = "token-expired"
    group = "auth"
    stage = "answer"
    needs_body = True
    recurs = False
    keys = (
        providers.KEY,
        Key(
            "refresh",
            Section(
                (
                    Key("host", HostGlob(), "Host; any that the rule is about by default"),
                    Key("path", Text("a path that begins with /"), "Path; * stands for any characters"),
                    Key("method", Method(), "HTTP method"),
                ),
                not_empty=True,
            ),
            "The endpoint that issues new tokens",
            default=_REFRESH,
        ),
        Key(
            "mint", Flag(), "Whether the refresh endpoint is answered here instead of upstream", default=True
        ),
        Key("token", Text("a JSON path"), "Where the token stands in its answer", default="access_token"),
        Key("rotate", Flag(), "Whether each refresh issues a new refresh token as well", default=False),
        Key("expires_in", Duration(1, 30 * 86_400), "How long a minted token lives", default="1h"),
        Key("uses", Integer(1, 1_000_000), "Requests after which a new token expires again"),
    )

    def __init__(self, params: Mapping[str, Any]) -> None:
        super().__init__({**params, "refresh": {**_REFRESH, **params["refresh"]}})
        self._place = jsonpath.parse(params["token"])
        self._grants = Grants()
        self._refused: dict[Why, int] = {"expired": 0, "unknown": 0, "missing": 0}
        self._wrong_refreshes: list[str] = []

    @classmethod
    def problem(cls, params: Mapping[str, Any]) -> str | None:
        try:
            place = jsonpath.parse(params["token"])
        except ValueError as error:
            return f"token: {error}"
        if params["mint"] and (not place or not all(isinstance(step, str) for step in place)):
            return f"token: expected names only such as data.access_token with mint, got {params['token']!r}"
        if not params["mint"] and params["rotate"]:
            return "rotate is what a minted answer does: with mint: false the real endpoint decides"
        return None

    # -- who is refused --------------------------------------------------------------------------------------------

    def leaves_out(self, seen: Seen) -> bool:
        if self._is_refresh(seen):
            return True
        about_any_host = self.covers_host("host.invalid")
        return about_any_host and asks_a_model(seen.request.method, seen.path)

    def takes(self, seen: Seen, picked: bool) -> bool:
        return self._grants.refuses(seen, picked, self.now())

    async def apply(self, hit: Hit, seen: Seen, forward: Forward) -> ResponsePlan:
        why = self._grants.why(token_of(credential_header(seen)))
        self._refused[why] += 1
        provider = providers.find(self.params["provider"], seen)
        return provider.unauthorized(At(seen, hit), why).plan(seen.request.method)

    # -- the refresh -----------------------------------------------------------------------------------------------

    def watches(self, seen: Seen) -> bool:
        return self._is_refresh(seen) or self._minted(seen) is not None

    async def observe(self, seen: Seen, forward: Forward) -> ResponsePlan:
        if not self._is_refresh(seen):
            return await self._as_before(seen, forward)
        grant = self._grants.to_refresh(seen.request.host)
        grant.refreshes += 1
        if self.params["mint"]:
            return self._mint(seen, grant)
        plan = await forward(seen.request)
        return await self._learn(plan, grant) if 200 <= plan.status < 300 else plan

    def _is_refresh(self, seen: Seen) -> bool:
        endpoint = self.params["refresh"]
        request = seen.request
        if request.method != endpoint["method"] or not glob(endpoint["path"], seen.path):
            return False
        host = endpoint.get("host")
        return self.covers_host(request.host) if host is None else glob(host, request.host)

    def _minted(self, seen: Seen) -> Grant | None:
        """The grant whose issued token this request carries."""
        if not self.params["mint"]:
            return None
        return self._grants.replaced_by(token_of(credential_header(seen)))

    async def _as_before(self, seen: Seen, forward: Forward) -> ResponsePlan:
        """Forward with the credential that was in use before. A placeholder in it is replaced on the way, as ever."""
        grant, header = self._minted(seen), credential_header(seen)
        assert grant is not None
        assert header is not None
        headers = swapped(seen.request.headers, header, grant.original)
        return await forward(replace(seen.request, headers=headers))

    def _mint(self, seen: Seen, grant: Grant) -> ResponsePlan:
        method = seen.request.method
        try:
            asked = oauth.read_request(seen)
            self._check_rotation(asked, grant)
        except Refused as refused:
            self._wrong_refreshes.append(refused.error)
            return refused.reply.plan(method)
        number = grant.issued + 1 + 1000 * self._grants.all.index(grant)
        token = letters(self.draw, f"token {number}", 40)
        if self.params["rotate"] and asked.grant == "refresh_token":
            grant.refresh_token = letters(self.draw, f"refresh {number}", 48)
        lives_s: float = self.params["expires_in"]
        grant.issue(token, uses=self.params.get("uses"), ends_s=self.now() + lives_s)
        reply = oauth.issued(
            token,
            place=self._place,
            expires_s=lives_s,
            refresh_token=grant.refresh_token,
            scope=asked.scope,
        )
        return reply.plan(method)

    @staticmethod
    def _check_rotation(asked: TokenRequest, grant: Grant) -> None:
        if asked.grant == "refresh_token" and grant.refresh_token not in (None, asked.refresh_token):
            raise Refused("invalid_grant", "The refresh token was used before")

    async def _learn(self, plan: ResponsePlan, grant: Grant) -> ResponsePlan:
        body = await read_whole(plan)
        found = next(iter(jsonpath.find(oauth.parsed(body), self._place)), None)
        if isinstance(found, str) and found:
            grant.issue(found, uses=self.params.get("uses"))
        return plan

    # -- what came of it -------------------------------------------------------------------------------------------

    def notes(self) -> tuple[str, ...]:
        words: list[str] = []
        for grant in self._grants.all:
            if not grant.expiries or not grant.expired:
                continue
            if grant.refreshes:
                what = f"was called {_times(grant.refreshes)} and issued no token"
            else:
                what = "was not called after the last expiry" if grant.issued else "was never called"
            words.append(f"the refresh endpoint {self._endpoint(grant)} {what}")
        issued = sum(grant.issued for grant in self._grants.all)
        if issued:
            words.append(f"a new token was issued {_times(issued)}")
        if self._wrong_refreshes:
            errors = ", ".join(dict.fromkeys(self._wrong_refreshes))
            words.append(f"the refresh endpoint refused {_times(len(self._wrong_refreshes))}: {errors}")
        texts: dict[Why, str] = {
            "unknown": "a token that nobody issued was refused",
            "missing": "a request without a credential was refused",
        }
        words += [f"{text} {_times(self._refused[why])}" for why, text in texts.items() if self._refused[why]]
        return tuple(words)

    def _endpoint(self, grant: Grant) -> str:
        endpoint = self.params["refresh"]
        host = endpoint.get("host") or min(grant.hosts)
        return f"{endpoint['method']} {host}{endpoint['path']}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


fault = TokenExpired
