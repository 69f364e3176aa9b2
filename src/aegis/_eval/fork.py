"""Going on with a trial from one of its checkpoints: the rest of its conversation, and what that comes to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from aegis import agents
from aegis._eval.importable import importable
from aegis._eval.network import make_network, resolve_suite
from aegis._eval.prepare import Prepared, by_id
from aegis._eval.reopen import FoundTrial, open_trial
from aegis._eval.request import isolation_of
from aegis._eval.session import ANSWERS_FOLDER, Setting
from aegis.agents.base import Continuing, UserTurns
from aegis.agents.users import Conversation
from aegis.engine.fork import Fork, earlier
from aegis.engine.network import RunNetwork
from aegis.engine.spec import PlannedTrial, TrialResult, TrialSpec
from aegis.engine.trial import TrialTools, run_trial
from aegis.errors import UsageError
from aegis.gateway import Recording
from aegis.llm.cache import FolderCache
from aegis.sandbox.base import Template
from aegis.sandbox.kept import Reopening
from aegis.scoring import matcher, registry
from aegis.suite.model import Suite
from aegis.trace import Trace, TurnRecord

Say = Callable[[str], None]
Ask = Callable[[], str | None]


@dataclass(frozen=True, slots=True)
class Words:
    """What is said from the turn on, in place of what the suite says."""

    message: str | None = None
    """At the turn itself; the suite goes on after it."""
    script: tuple[str, ...] | None = None
    """All that is said."""
    ask: Ask | None = None
    """Called for each message; None ends the conversation. Blocks."""


class Teller(Protocol):
    """Told of each message and answer as they happen, of what was said before the turn too."""

    def user(self, number: int, text: str) -> None: ...

    def agent(self, number: int, text: str) -> None: ...


@dataclass(frozen=True)
class ForkResult:
    """What came of it."""

    trial: str
    """`RUN/CASE/NUMBER`, with the run's whole id."""
    turn: int
    was: str
    """The trial's own outcome."""
    result: TrialResult

    def to_json(self) -> dict[str, Any]:
        """As the command prints it."""
        data = self.result.to_json()
        return {
            "trial": self.trial,
            "turn": self.turn,
            "was": self.was,
            "outcome": data["outcome"],
            "reason": data["reason"],
            "scores": data["scores"],
            "trace": data["trace"],
        }


async def fork(
    written: str,
    *,
    turn: int,
    words: Words,
    recorded: bool,
    variant: str | None,
    project: str | Path | None,
    say: Say,
    teller: Teller,
) -> ForkResult:
    """Raises `UsageError` for a trial or a turn that cannot be gone on from, `InfrastructureError` for a machine that
    cannot be restored."""
    with open_trial(written, variant=variant, project=project) as found:
        work = _Fork(found, turn, words, recorded, say, teller)
        with importable(found.root, Path(found.record.config["suite_path"]).parent):
            return await work.run()


class _Fork:
    def __init__(
        self, found: FoundTrial, turn: int, words: Words, recorded: bool, say: Say, teller: Teller
    ) -> None:
        self._found = found
        self._turn = turn
        self._words = words
        self._say = say
        self._teller = teller
        self._machine = found.machine(turn)
        record, entry = found.record, found.entry
        self._prepared = Prepared.from_json(json.loads(found.ledger.blobs.get(record.config["content"])))
        protocol = self._prepared.suite.agent.protocol
        if not isinstance(agents.get(protocol), Continuing):
            raise UsageError(
                f"an agent of protocol {protocol} cannot go on from a checkpoint: what its driver knows of the session "
                "is not kept",
                fix=f"aegis trial shell {found.name} --turn {turn} looks into the machine",
            )
        if not entry["trace"]:
            raise UsageError(f"trial {found.name} left no trace, so that nobody knows what had been said")
        self._past = Trace.from_json(json.loads(found.ledger.blobs.get(entry["trace"])))
        if len(self._past.turns) < turn - 1:
            raise UsageError(f"the trace of trial {found.name} ends before turn {turn}")
        self._planned = PlannedTrial(entry["case"], entry["variant"], entry["number"])
        self._recorded = recorded or bool(record.config.get("replay_of"))

    async def run(self) -> ForkResult:
        found, prepared = self._found, self._prepared
        async with found.driver() as driver:
            assert isinstance(driver, Reopening)
            folder = self._machine.folder
            notes = await asyncio.to_thread(driver.notes, folder)
            network = self._network(notes)
            cases, like = by_id(prepared.suite), found.entry.get("weather")
            spec = prepared.spec(found.record.run_id, self._planned, 1, cases, like=like)
            user, turns = self._user(spec, notes)
            tools = TrialTools(
                driver=driver,
                template=Template("", prepared.recipe.spec(b""), cached=True, build_s=0.0),
                blobs=found.ledger.blobs,
                agent_driver=agents.get,
                scorer=registry.get,
                network=network,
                answers=FolderCache(found.ledger.folder / ANSWERS_FOLDER),
                fork=Fork(driver, folder, user, turns, self._past, self._turn),
            )
            for line in caveats(prepared.suite, spec, network, recorded=self._recorded):
                self._say(line)
            async with network:
                result = (await run_trial(spec, tools)).result
        return ForkResult(found.name, self._turn, found.entry["outcome"], result)

    def _network(self, notes: Mapping[str, Any]) -> RunNetwork:
        found, prepared = self._found, self._prepared
        requested = found.record.config["requested"]
        setting = Setting(
            isolation=isolation_of("vm"),
            vmm=requested["vmm"],
            require_kvm=requested["require_kvm"],
            jobs=1,
            retries=0,
            seed=found.record.config["seed"],
        )
        resolved = resolve_suite(prepared.suite, replay=self._recorded)
        return make_network(
            resolved,
            prepared,
            (self._planned,),
            setting,
            found.ledger,
            found.root,
            replay=self._recording if self._recorded else None,
            carried=notes,
        )

    def _recording(self, _label: str) -> Recording:
        """What the trial was answered from the turn on."""
        past, turn = self._past, self._turn
        from_s = past.turn_times_s[turn - 1][0] if turn <= len(past.turns) else past.duration_s
        rest = tuple(exchange for exchange in past.exchanges if exchange.started_s >= from_s)
        return Recording(rest, self._found.ledger.blobs.get)

    def _user(self, spec: TrialSpec, notes: Mapping[str, Any]) -> tuple[Conversation, UserTurns]:
        words, said = self._words, earlier(self._past, self._turn).turns
        answers = FolderCache(self._found.ledger.folder / ANSWERS_FOLDER)
        user = Conversation(spec.case.turns, holds=matcher.holds, answers=answers)
        user.resume(notes["position"], said, words.message or notes["message"])
        for number, turn in enumerate(said, 1):
            self._teller.user(number, turn.user)
            self._teller.agent(number, turn.answer)
        inner: UserTurns = user
        if words.script is not None or words.ask is not None:
            inner = _Other(words)
        return user, _Told(inner, self._teller, said)


class _Other:
    """Somebody else's words."""

    def __init__(self, words: Words) -> None:
        self._left = list(words.script or ())
        self._ask = words.ask
        self.total: int | None = None

    async def next(self, answer: str | None) -> str | None:
        if self._ask is not None:
            return await asyncio.to_thread(self._ask)
        return self._left.pop(0) if self._left else None


class _Told:
    """Fulfils `UserTurns` and tells of both sides."""

    def __init__(self, turns: UserTurns, teller: Teller, said: Sequence[TurnRecord]) -> None:
        self._turns = turns
        self._teller = teller
        self._number = len(said)

    @property
    def total(self) -> int | None:
        return self._turns.total

    async def next(self, answer: str | None) -> str | None:
        if answer is not None:
            self._teller.agent(self._number, answer)
        message = await self._turns.next(answer)
        if message is not None:
            self._number += 1
            self._teller.user(self._number, message)
        return message


def caveats(suite: Suite, spec: TrialSpec, network: RunNetwork, *, recorded: bool) -> list[str]:
    """What is not as it was in the trial: only the machine was kept."""
    told: list[str] = []
    if recorded:
        told.append(
            "note: requests are answered from what the trial recorded from this turn on; nothing leaves"
        )
    elif names := sorted(network.resolved.upstreams):
        what = f"upstream program{'s' if len(names) > 1 else ''} {', '.join(names)}"
        told.append(
            f"note: {what} ran on this host and cannot be restored: fresh ones know nothing of earlier turns"
        )
    if spec.case.faults:
        told.append("note: the case's faults count anew from this turn")
    return told
