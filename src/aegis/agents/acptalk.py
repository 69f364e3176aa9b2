"""One conversation in the Agent Client Protocol: hand-shake, session, a prompt a turn. The client's half of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from io import StringIO
from typing import Any, Literal, TypeVar

from acp import schema
from acp.meta import AGENT_METHODS, CLIENT_METHODS, PROTOCOL_VERSION
from acp.utils import serialize_params
from pydantic import BaseModel, ValidationError

from aegis.agents.acpfiles import AgentFiles
from aegis.agents.acptools import ReportedTools
from aegis.agents.base import MAX_ANSWER_BYTES, UserTurns
from aegis.agents.dialogue import FAREWELL_S
from aegis.agents.jsonrpc import METHOD_NOT_FOUND, ErrorResponseError, JsonRpc, RefusedRequestError
from aegis.agents.record import AgentFault, Record
from aegis.agents.session import Session, describe_end, turn_name
from aegis.agents.tail import one_line
from aegis.sandbox.base import Sandbox
from aegis.suite.units import format_size

M = TypeVar("M", bound=BaseModel)

_WANTED = {
    "allow": ("allow_once", "allow_always"),
    "deny": ("reject_once", "reject_always"),
}
"""Policy → kinds of options that fit it, the best first."""


class AcpTalk:
    """Prompts the agent turn after turn, and answers what it asks meanwhile."""

    def __init__(
        self,
        sandbox: Sandbox,
        record: Record,
        turns: UserTurns,
        *,
        cwd: str,
        permissions: Literal["allow", "deny"],
        on_turn: Callable[[int], None] | None = None,
    ) -> None:
        self._record = record
        self._turns = turns
        self._cwd = cwd
        self._on_turn = on_turn
        self._client = _Client(record, AgentFiles(sandbox), _WANTED[permissions])
        self._asked = 0
        self._rpc: JsonRpc | None = None

    async def talk(self, session: Session) -> None:
        rpc = self._rpc = JsonRpc(session, self._client)
        user = await self._turns.next(None)
        if user is None:
            return
        self._begin(user)
        self._client.session = await self._open(rpc)
        await rpc.hear_arrived()
        while True:
            answer = await self._prompt(rpc, user)
            self._record.answer(answer)
            await rpc.hear_arrived()
            user = await self._turns.next(answer)
            if user is None:
                return
            await rpc.hear_arrived()
            self._begin(user)

    async def farewell(self, session: Session) -> None:
        """Close its input, and see that it neither answers once more nor ends badly."""
        session.close_stdin()
        try:
            async with asyncio.timeout(FAREWELL_S):
                if self._rpc is not None:
                    await self._rpc.hear_rest()
                status = await session.exit_status()
        except TimeoutError:
            return
        if not status.ok:
            raise AgentFault(f"{describe_end(status)} after its last answer")

    def _begin(self, user: str) -> None:
        if self._on_turn is not None:
            self._on_turn(self._asked)
        self._record.ask(user)
        self._asked += 1

    async def _open(self, rpc: JsonRpc) -> str:
        files = schema.FileSystemCapabilities(read_text_file=True, write_text_file=True)
        hello = schema.InitializeRequest(
            protocol_version=PROTOCOL_VERSION,
            client_capabilities=schema.ClientCapabilities(fs=files, terminal=False),
        )
        known = await self._ask(rpc, "initialize", hello, schema.InitializeResponse, "initialize")
        if known.protocol_version != PROTOCOL_VERSION:
            raise AgentFault(
                f"agent speaks version {known.protocol_version} of the Agent Client Protocol, not {PROTOCOL_VERSION}"
            )
        wanted = schema.NewSessionRequest(cwd=self._cwd, mcp_servers=[])
        made = await self._ask(rpc, "session_new", wanted, schema.NewSessionResponse, "session/new")
        return made.session_id

    async def _prompt(self, rpc: JsonRpc, user: str) -> str:
        name = turn_name(self._asked, self._turns)
        block = schema.TextContentBlock(type="text", text=user)
        prompt = schema.PromptRequest(session_id=self._client.session, prompt=[block])
        self._client.begin_turn()
        done = await self._ask(rpc, "session_prompt", prompt, schema.PromptResponse, name)
        answer = self._client.end_turn(name)
        if done.stop_reason != "end_turn":
            self._record.answer(answer)
            raise AgentFault(f"agent stopped {name} with {done.stop_reason}")
        return answer

    async def _ask(self, rpc: JsonRpc, method: str, params: BaseModel, kind: type[M], about: str) -> M:
        try:
            result = await rpc.ask(AGENT_METHODS[method], serialize_params(params), about)
        except ErrorResponseError as error:
            raise AgentFault(f"agent answered {about} with an error: {error}") from None
        return read(kind, result, f"its answer to {about}")


class _Client:
    """What the agent may ask and tell, as `aegis.agents.jsonrpc.Handler` has it."""

    def __init__(self, record: Record, files: AgentFiles, wanted: tuple[str, ...]) -> None:
        self.session = ""
        self._files = files
        self._wanted = wanted
        self._tools = ReportedTools(record)
        self._record = record
        self._answer: _Answer | None = None
        self._ended = ""

    def begin_turn(self) -> None:
        self._answer = _Answer()

    def end_turn(self, name: str) -> str:
        assert self._answer is not None
        text = self._answer.text()
        self._answer, self._ended = None, name
        return text

    async def request(self, method: str, params: dict[str, Any], size_bytes: int) -> dict[str, Any]:
        if method == CLIENT_METHODS["session_request_permission"]:
            asked = read(schema.RequestPermissionRequest, params, method)
            return serialize_params(self._permit(asked, size_bytes))
        if method == CLIENT_METHODS["fs_read_text_file"]:
            text = await self._files.read(read(schema.ReadTextFileRequest, params, method))
            return serialize_params(schema.ReadTextFileResponse(content=text))
        if method == CLIENT_METHODS["fs_write_text_file"]:
            await self._files.write(read(schema.WriteTextFileRequest, params, method))
            return serialize_params(schema.WriteTextFileResponse())
        raise RefusedRequestError(METHOD_NOT_FOUND, "Method not found")

    def notice(self, method: str, params: dict[str, Any], size_bytes: int) -> bool:
        if method != CLIENT_METHODS["session_update"]:
            return False
        update = params.get("update")
        kind = update.get("sessionUpdate") if isinstance(update, dict) else None
        if not isinstance(kind, str):
            raise AgentFault("agent broke the protocol with a session/update without a sessionUpdate")
        if self.session and params.get("sessionId") != self.session:
            raise AgentFault("agent broke the protocol with a session/update of another session")
        # Other kinds, those of later versions among them, are no part of an answer.
        match kind:
            case "agent_message_chunk":
                return self._text(read(schema.AgentMessageChunk, update, f"{method} {kind}"))
            case "tool_call":
                self._tools.update(read(schema.ToolCallStart, update, f"{method} {kind}"), size_bytes)
                if self._answer is not None:
                    self._answer.interrupt()
            case "tool_call_update":
                self._tools.update(read(schema.ToolCallProgress, update, f"{method} {kind}"), size_bytes)
            case _:
                return False
        return True

    def _text(self, chunk: schema.AgentMessageChunk) -> bool:
        if not isinstance(chunk.content, schema.TextContentBlock):
            return False
        if self._answer is None:
            if not self._ended:
                return False  # a greeting: nothing has been asked yet
            raise AgentFault(
                f"agent broke the protocol: {self._ended} was over, and it went on answering",
                quote_stderr=False,
            )
        self._answer.add(chunk.content.text)
        return True

    def _permit(
        self, asked: schema.RequestPermissionRequest, size_bytes: int
    ) -> schema.RequestPermissionResponse:
        fitting = [option for kind in self._wanted for option in asked.options if option.kind == kind]
        chosen = fitting[0] if fitting else None
        self._tools.update(asked.tool_call, size_bytes, permission=chosen.kind if chosen else "cancelled")
        if chosen is None:
            return schema.RequestPermissionResponse(outcome=schema.DeniedOutcome(outcome="cancelled"))
        outcome = schema.AllowedOutcome(outcome="selected", option_id=chosen.option_id)
        return schema.RequestPermissionResponse(outcome=outcome)


class _Answer:
    """The text of one turn. What is said after a tool call is a paragraph of its own."""

    def __init__(self) -> None:
        self._text = StringIO()
        self._size_bytes = 0
        self._interrupted = False
        self._at_line_start = True

    def add(self, text: str) -> None:
        if not text:
            return
        if self._interrupted and not self._at_line_start and not text.startswith("\n"):
            text = "\n\n" + text
        self._interrupted, self._at_line_start = False, text.endswith("\n")
        self._size_bytes += len(text.encode("utf-8", "replace"))
        if self._size_bytes > MAX_ANSWER_BYTES:
            raise AgentFault(
                f"agent gave an answer longer than {format_size(MAX_ANSWER_BYTES)}", quote_stderr=False
            )
        self._text.write(text)

    def interrupt(self) -> None:
        self._interrupted = True

    def text(self) -> str:
        return self._text.getvalue()


def read(kind: type[M], value: Any, what: str) -> M:
    """A message of the protocol. Raises `AgentFault` when it is none."""
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(step) for step in first["loc"])
        told = one_line(f"{place}: {first['msg']}" if place else first["msg"], 200)
        raise AgentFault(f"agent broke the protocol with {what}: {told}") from None
