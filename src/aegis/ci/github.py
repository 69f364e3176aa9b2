"""Comments of a pull request on GitHub (REST API 2022-11-28)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from aegis.ci.comment import Comment, NoPlaceError
from aegis.ci.service import Answer, Service, ServiceError, token_from

API = "https://api.github.com"
TOKEN_VARIABLE = "GITHUB_TOKEN"
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_READ_ONLY = (
    "the token may not write comments: give the job `permissions: pull-requests: write` "
    "(a fork's pull request never gets that); the summary has the report"
)


class PullRequest:
    """The comments of one pull request."""

    def __init__(self, service: Service, repository: str, number: int) -> None:
        self._service = service
        self._issues = f"repos/{repository}/issues"
        self._number = number

    def comments(self) -> Iterator[Comment]:
        for item in self._service.pages(f"{self._issues}/{self._number}/comments?per_page=100"):
            user = item.get("user") or {}
            yield Comment(id=int(item["id"]), body=item.get("body") or "", mine=self._is_mine(user))

    def create(self, body: str) -> str:
        path = f"{self._issues}/{self._number}/comments"
        return self._url(self._service.call("POST", path, {"body": body}))

    def update(self, id: int, body: str) -> str:
        return self._url(self._service.call("PATCH", f"{self._issues}/comments/{id}", {"body": body}))

    def pause(self, seconds: float) -> None:
        self._service.pause(seconds)

    def _url(self, answer: Answer) -> str:
        if answer.status == 403:
            raise NoPlaceError(_READ_ONLY)
        self._service.check(answer)
        return str(answer.data.get("html_url", "")) if isinstance(answer.data, dict) else ""

    def _is_mine(self, user: Mapping[str, Any]) -> bool:
        if self._login is None:
            return user.get("type") == "Bot"
        return user.get("login") == self._login

    @cached_property
    def _login(self) -> str | None:
        """Who the token belongs to; None for an app's, such as a job's own, which may not ask that."""
        answer = self._service.call("GET", "user")
        if answer.status == 401:
            raise ServiceError("401: the token is not valid", 401)
        if answer.status == 200 and isinstance(answer.data, dict):
            return str(answer.data.get("login"))
        return None


def pull_request(env: Mapping[str, str], token_variable: str, number: int | None) -> PullRequest:
    """The pull request that a job of GitHub Actions runs for, or `number` of its repository.

    Raises `NoPlaceError` when it runs for none, or for a fork's, and `ServiceError` when the environment lacks
    something.
    """
    event = _event(env)
    if number is None:
        number = _number(event)
    if number is None:
        raise NoPlaceError(f"not a pull request (event {env.get('GITHUB_EVENT_NAME') or 'unknown'})")
    repository = env.get("GITHUB_REPOSITORY", "")
    if not _REPOSITORY.fullmatch(repository):
        raise ServiceError("GITHUB_REPOSITORY is not OWNER/NAME")
    if env.get("GITHUB_EVENT_NAME") != "pull_request_target" and _from_fork(event, repository):
        raise NoPlaceError(
            "the pull request comes from a fork, whose jobs may not write comments; the summary has the report"
        )
    token = token_from(env, token_variable)
    headers = {
        "Authorization": f"Bearer {token}",
        "Accept": "application/vnd.github+json",
        "X-GitHub-Api-Version": "2022-11-28",
    }
    service = Service(env.get("GITHUB_API_URL") or API, headers, secret=token)
    return PullRequest(service, repository, number)


def _event(env: Mapping[str, str]) -> Mapping[str, Any]:
    path = env.get("GITHUB_EVENT_PATH")
    if not path:
        return {}
    try:
        event = json.loads(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise ServiceError(f"GITHUB_EVENT_PATH cannot be read: {error}") from None
    return event if isinstance(event, dict) else {}


def _number(event: Mapping[str, Any]) -> int | None:
    found = (event.get("pull_request") or {}).get("number")
    return found if isinstance(found, int) else None


def _from_fork(event: Mapping[str, Any], repository: str) -> bool:
    """A fork that was deleted has no repository any more."""
    if not event.get("pull_request"):
        return False
    head = (event["pull_request"].get("head") or {}).get("repo") or {}
    return str(head.get("full_name", "")).lower() != repository.lower()
