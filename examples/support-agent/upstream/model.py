"""A model endpoint that needs no network and no key of value: OpenAI's chat completions, answered by rules.

`POST /v1/chat/completions`, streamed (`stream`, `stream_options.include_usage`) and not, with tool calls. Stateless:
everything it knows stands in the request.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from upstream import completions, planner, replies
from upstream.httpd import Request, Response, serve
from upstream.steps import Answer, Step, View

PATHS = ("/v1/chat/completions", "/chat/completions")


class _InvalidError(Exception):
    """The request can't be answered; the text is for whoever sent it, `param` is the field."""

    def __init__(self, text: str, param: str | None = None) -> None:
        super().__init__(text)
        self.param = param


def respond(request: Request) -> Response:
    """The answer to one request, or an error in OpenAI's format."""
    if request.path not in PATHS:
        return _error(404, f"Invalid URL ({request.method} {request.path})", code="unknown_url")
    if request.method != "POST":
        return _error(405, f"Not allowed to {request.method} on {request.path}.", code="method_not_supported")
    if request.bearer() is None:
        return _error(401, "You didn't provide an API key.", code="invalid_api_key")
    try:
        asked = _parse(request.body)
        completion = completions.complete(asked, _step(asked))
    except _InvalidError as error:
        return _error(400, str(error), param=error.param)
    headers = {"x-request-id": f"req_{completion.id}"}
    if not asked.get("stream"):
        return Response(200, completion.whole(), headers=headers)
    options = asked.get("stream_options") or {}
    events = completion.chunks(include_usage=bool(options.get("include_usage")))
    return Response(200, events=events, headers=headers)


def _parse(body: bytes) -> Mapping[str, Any]:
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        raise _InvalidError("We could not parse the JSON body of your request.") from None
    if not isinstance(asked, dict):
        raise _InvalidError("The body of your request must be a JSON object.")
    if not isinstance(asked.get("model"), str):
        raise _InvalidError("you must provide a model parameter", "model")
    messages = asked.get("messages")
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise _InvalidError("Invalid type for 'messages': expected an array of objects.", "messages")
    tools = asked.get("tools") or []
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise _InvalidError("Invalid type for 'tools': expected an array of objects.", "tools")
    if not isinstance(asked.get("stream_options") or {}, dict):
        raise _InvalidError("Invalid type for 'stream_options': expected an object.", "stream_options")
    return asked


def _step(asked: Mapping[str, Any]) -> Step:
    try:
        view = View(asked["messages"])
    except (ValueError, LookupError, TypeError) as error:
        raise _InvalidError(f"Invalid 'messages': {error}", "messages") from None
    try:
        step = planner.next_step(view)
    except (LookupError, TypeError, AttributeError):
        # A tool gave something else than it does in the prompt that the rules were made for.
        return Answer(replies.FAILED)
    offered = {(tool.get("function") or {}).get("name") for tool in asked.get("tools") or ()}
    return step if isinstance(step, Answer) or step.name in offered else Answer(replies.UNCLEAR)


def _error(status: int, message: str, *, code: str | None = None, param: str | None = None) -> Response:
    detail = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return Response(status, {"error": detail})


if __name__ == "__main__":
    serve(respond)
