"""Notes of a merge request on GitLab (REST API v4)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any
from urllib.parse import quote

from aegis.ci.comment import Comment, NoPlaceError
from aegis.ci.service import Answer, Service, ServiceError, token_from

TOKEN_VARIABLE = "GITLAB_TOKEN"
_READ_ONLY = (
    "the token may not write notes: it needs the scope `api` and the role Reporter; "
    "the job's log has the report"
)


class MergeRequest:
    """The notes of one merge request."""

    def __init__(self, service: Service, project: str, number: int, address: str) -> None:
        self._service = service
        self._notes = f"projects/{quote(project, safe='')}/merge_requests/{number}/notes"
        self._address = address

    def comments(self) -> Iterator[Comment]:
        for item in self._service.pages(f"{self._notes}?per_page=100&sort=asc&order_by=created_at"):
            author = (item.get("author") or {}).get("id")
            mine = not item.get("system") and author == self._user
            yield Comment(id=int(item["id"]), body=item.get("body") or "", mine=mine)

    def create(self, body: str) -> str:
        return self._url(self._service.call("POST", self._notes, {"body": body}))

    def update(self, id: int, body: str) -> str:
        return self._url(self._service.call("PUT", f"{self._notes}/{id}", {"body": body}))

    def pause(self, seconds: float) -> None:
        self._service.pause(seconds)

    def _url(self, answer: Answer) -> str:
        if answer.status == 403:
            raise NoPlaceError(_READ_ONLY)
        self._service.check(answer)
        id = answer.data.get("id", "") if isinstance(answer.data, dict) else ""
        return f"{self._address}#note_{id}" if self._address else ""

    @cached_property
    def _user(self) -> Any:
        """Id of whom the token belongs to."""
        answer = self._service.call("GET", "user")
        self._service.check(answer)
        return answer.data.get("id") if isinstance(answer.data, dict) else None


def merge_request(env: Mapping[str, str], token_variable: str, number: int | None) -> MergeRequest:
    """The merge request that a job of GitLab CI runs for, or `number` of its project.

    Raises `NoPlaceError` when it runs for none, or for a fork's, and `ServiceError` when the environment lacks
    something.
    """
    iid = env.get("CI_MERGE_REQUEST_IID", "")
    if number is None and not iid.isdecimal():
        raise NoPlaceError(f"not a merge request (source {env.get('CI_PIPELINE_SOURCE') or 'unknown'})")
    project = env.get("CI_PROJECT_ID", "")
    target = env.get("CI_MERGE_REQUEST_PROJECT_ID") or project
    source = env.get("CI_MERGE_REQUEST_SOURCE_PROJECT_ID") or target
    if project != target or source != target:
        raise NoPlaceError(
            "the merge request comes from a fork, whose jobs get no token; the job's log has the report"
        )
    if not project:
        raise ServiceError("CI_PROJECT_ID is not set")
    api = env.get("CI_API_V4_URL", "")
    if not api:
        raise ServiceError("CI_API_V4_URL is not set")
    token = token_from(env, token_variable)
    page = env.get("CI_MERGE_REQUEST_PROJECT_URL", "")
    chosen = int(iid) if number is None else number
    service = Service(api, {"PRIVATE-TOKEN": token}, secret=token)
    return MergeRequest(service, project, chosen, f"{page}/-/merge_requests/{chosen}" if page else "")
