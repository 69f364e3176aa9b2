"""JSON-RPC 2.0, a message a line, with an untrusted program that may ask back while it is asked.

The package `agent-client-protocol` has a connection of its own. It skips lines that are no JSON, drops responses that
nobody waits for, and starts a task for every message: for two programs that trust each other that is kind, here each of
them is a failure that must be told, and memory must stay bounded.

Source: https://www.jsonrpc.org/specification (2026-11-23).
"""

from __future__ import annotations

import json
from typing import Any, Protocol

from aegis.agents.dialogue import early_end
from aegis.agents.lines import LineBuffer, parse_object
from aegis.agents.record import AgentFault
from aegis.agents.session import Session
from aegis.agents.tail import one_line

METHOD_NOT_FOUND = -32601


class RefusedRequestError(Exception):
    """The program's request is answered by an error: no breach of the protocol."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class ErrorResponseError(Exception):
    """The program answered a request by an error."""


class Handler(Protocol):
    """What the program may ask or tell. Both raise `AgentFault` for what breaks the protocol."""

    async def request(self, method: str, params: dict[str, Any], size_bytes: int) -> dict[str, Any]:
        """The result. Raises `RefusedRequestError`."""

    def notice(self, method: str, params: dict[str, Any], size_bytes: int) -> bool:
        """A notification; whether it was understood."""


class JsonRpc:
    """One side of a connection. Lines are heard only while a response is awaited or `hear_arrived` is called, one
    after the other, so that nothing can overtake anything."""

    def __init__(self, session: Session, handler: Handler) -> None:
        self._session = session
        self._handler = handler
        self._lines = LineBuffer()
        self._asked: list[str] = []
        """What each request was about; its id is its place."""
        self._result: dict[str, Any] | None = None

    async def ask(self, method: str, params: dict[str, Any], about: str) -> Any:
        """The result of a request. `about`: `turn 2`, for failures. Raises `ErrorResponseError`, `AgentFault`."""
        number = len(self._asked)
        self._asked.append(about)
        self._send({"id": number, "method": method, "params": params})
        while True:
            while (line := self._lines.line()) is not None:
                response = await self._hear(line, awaited=number)
                if response is not None:
                    return _result(response)
            data = await self._session.chunk()
            if data is None:
                response = await self._unended_line(number)
                if response is not None:
                    return _result(response)
                raise await early_end(self._session, f"before answering {about}")
            self._lines.add(data)

    async def hear_arrived(self) -> None:
        """Hear what has come without being waited for."""
        if (data := await self._session.arrived()) is not None:
            self._lines.add(data)
        while (line := self._lines.line()) is not None:
            await self._hear(line, awaited=None)

    async def hear_rest(self) -> None:
        """Hear everything to the end of the output. Requests are not answered any more: nobody reads the answers."""
        while (data := await self._session.chunk()) is not None:
            self._lines.add(data)
            while (line := self._lines.line()) is not None:
                await self._hear(line, awaited=None, answer=False)

    async def _unended_line(self, awaited: int) -> dict[str, Any] | None:
        """A last line without its end counts; one that is broken was cut by the program's end."""
        rest = self._lines.rest()
        try:
            return await self._hear(rest, awaited=awaited)
        except AgentFault:
            return None

    async def _hear(self, line: bytes, *, awaited: int | None, answer: bool = True) -> dict[str, Any] | None:
        """The response that is awaited, when the line is one."""
        if not line.strip():
            return None
        try:
            message = parse_object(line)
            if message.get("jsonrpc") != "2.0":
                raise AgentFault(
                    f'agent broke the protocol with a message without "jsonrpc": "2.0": {_shown(line)}'
                )
            if "method" in message:
                await self._called(message, line, answer)
                return None
            if "id" not in message or ("result" in message) == ("error" in message):
                raise AgentFault(
                    f"agent broke the protocol with what is no message of JSON-RPC: {_shown(line)}"
                )
            self._check_id(message["id"], awaited)
        except AgentFault:
            self._session.record.stdout.add(line + b"\n")
            raise
        return message

    async def _called(self, message: dict[str, Any], line: bytes, answer: bool) -> None:
        method, params = message["method"], message.get("params")
        params = {} if params is None else params
        if not isinstance(method, str) or not isinstance(params, dict):
            raise AgentFault(f"agent broke the protocol with a call without method or params: {_shown(line)}")
        if "id" not in message:
            if not self._handler.notice(method, params, len(line)):
                self._session.record.stdout.add(line + b"\n")
            return
        number = message["id"]
        if isinstance(number, bool | list | dict):
            raise AgentFault(f"agent broke the protocol with a request of an impossible id: {_shown(line)}")
        if not answer:
            return
        try:
            result = await self._handler.request(method, params, len(line))
        except RefusedRequestError as refused:
            self._session.record.stdout.add(line + b"\n")
            self._send({"id": number, "error": {"code": refused.code, "message": str(refused)}})
        else:
            self._send({"id": number, "result": result})

    def _check_id(self, number: Any, awaited: int | None) -> None:
        if type(number) is not int or not 0 <= number < len(self._asked):
            shown = one_line(json.dumps(number), 40)
            raise AgentFault(
                f"agent broke the protocol: it answered request {shown}, which nobody made",
                quote_stderr=False,
            )
        if number != awaited:
            raise AgentFault(
                f"agent broke the protocol: {self._asked[number]} was answered twice", quote_stderr=False
            )

    def _send(self, message: dict[str, Any]) -> None:
        text = json.dumps({"jsonrpc": "2.0", **message}, ensure_ascii=False)
        self._session.send(text.encode("utf-8", "replace") + b"\n")


def _result(response: dict[str, Any]) -> Any:
    if "result" in response:
        return response["result"]
    error = response["error"]
    details = error if isinstance(error, dict) else {"message": json.dumps(error)}
    words = [str(details.get("message", "")), *([json.dumps(details["data"])] if details.get("data") else [])]
    raise ErrorResponseError(one_line(": ".join(words), 300))


def _shown(line: bytes) -> str:
    return one_line(line[:400].decode("utf-8", "replace"), 100)
