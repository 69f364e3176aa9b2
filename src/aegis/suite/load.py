"""From a suite file to a `Suite`, or to a `SuiteError` with everything that is wrong with it."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aegis.errors import SuiteError, UsageError
from aegis.suite import stresskeys
from aegis.suite.checks import (
    CheckExpectation,
    ExpectationFiles,
    ExpectationServices,
    check_agent_keys,
    check_expectations,
    check_ids,
    check_name,
    check_sources,
)
from aegis.suite.conversations import CheckUser, check_conversations
from aegis.suite.document import to_document
from aegis.suite.faultkeys import NONE, Reach, ReadFaults, combined
from aegis.suite.hosts import HostRules
from aegis.suite.jsonl import BulkCases, parse_jsonl
from aegis.suite.keys import CASE, SUITE
from aegis.suite.kinds import BAD, holds_bad
from aegis.suite.model import Agent, FaultRule, StressRule, Suite, World
from aegis.suite.networkchecks import check_network, standing_in
from aegis.suite.paths import exact_target, shown_path, source_problem
from aegis.suite.plaindata import plain_data
from aegis.suite.problems import Path as Place
from aegis.suite.problems import Problem, Problems
from aegis.suite.project import Project, project_of, twin_of
from aegis.suite.pysuite import run_python_suite
from aegis.suite.servicekeys import CheckPreset, check_presets
from aegis.suite.stresskeys import ReadStress
from aegis.suite.textfile import Unreadable, read_text
from aegis.suite.userkeys import user_fields
from aegis.suite.worlds import merged
from aegis.suite.yamltree import BadYaml, parse_yaml

MAX_FILE_BYTES = 8 * 1024 * 1024
MAX_JSONL_BYTES = 256 * 1024 * 1024

_NO_WORLD = World()

CheckAgent = Callable[[Agent], str | None]


def load_suite(
    path: Path,
    *,
    check_expectation: CheckExpectation | None = None,
    check_agent: CheckAgent | None = None,
    expectation_files: ExpectationFiles | None = None,
    host_rules: HostRules | None = None,
    project: Project | None = None,
    read_faults: ReadFaults | None = None,
    faults: Sequence[str] | None = None,
    read_stress: ReadStress | None = None,
    stress: Sequence[str] | None = None,
    check_user: CheckUser | None = None,
    check_preset: CheckPreset | None = None,
    expectation_services: ExpectationServices | None = None,
) -> Suite:
    """Read, check and complete the suite in a `.yaml` or `.py` file.

    `check_expectation(scorer, config)` returns what is wrong with an entry of `expect`, as (path inside the
    configuration, message); without it any scorer's name and configuration are taken.
    `expectation_files(scorer, config)` returns the files, relative to the suite's folder, that an entry
    without such problems needs: they must exist. `expectation_services(scorer, config, services)` returns what such an
    entry misses among the suite's services. `check_agent` returns what is wrong with the agent for its
    protocol. `host_rules` (`aegis.gateway.entries`) decide what a host may be called; without them only the
    shape of hosts is checked, and not whether secrets can be used anywhere. `project` is the one that the
    file belongs to, found from its place by default. `read_faults` (`aegis.faults.plan.reading`) reads the keys
    `faults`; without it they are left out. `faults` are names of profiles that stand in place of the suite's own
    `faults`; with `none` alone no case has any. `read_stress` (`aegis.stress.reading`) and `stress` are the same for
    the keys `stress`. `check_user` returns why the model of a simulated user cannot be asked from here.
    `check_preset(preset, params)` returns what is wrong with a service's preset, as `check_expectation` does. Raises
    `UsageError` when they can't be used.

    Raises `SuiteError` whose `problems` are all problems found, in the order of the file, each `file:line:
    text`, with files named relative to the project's root; `UsageError` when the project's own configuration
    is wrong.
    """
    path = Path(path).absolute()
    loader = _Loader(
        path,
        project or project_of(path),
        check_expectation,
        check_agent,
        expectation_files,
        host_rules,
        read_faults,
        faults,
        read_stress,
        stress,
        check_user,
        check_preset,
        expectation_services,
    )
    try:
        suite = loader.load()
    except Unreadable as error:
        raise suite_error(loader.shown, [error.problem]) from None
    if suite is None:
        raise suite_error(loader.shown, loader.problems)
    return suite


@contextlib.contextmanager
def _collector_paused() -> Iterator[None]:
    """10,000 cases are half a million objects, none of them garbage: looking through all of them again and
    again would take two thirds of the time that a bulk suite takes to load."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def suite_error(shown: str, problems: list[Problem]) -> SuiteError:
    """The error for one suite file, its problems in the order of files and lines."""
    ordered = tuple(str(problem) for problem in sorted(set(problems)))
    count = "1 problem" if len(ordered) == 1 else f"{len(ordered)} problems"
    return SuiteError(f"the suite {shown} has {count}", problems=ordered)


@dataclass
class _Loader:
    path: Path
    project: Project
    check_expectation: CheckExpectation | None
    check_agent: CheckAgent | None
    expectation_files: ExpectationFiles | None
    host_rules: HostRules | None
    read_faults: ReadFaults | None = None
    faults_instead: Sequence[str] | None = None
    read_stress: ReadStress | None = None
    stress_instead: Sequence[str] | None = None
    check_user: CheckUser | None = None
    check_preset: CheckPreset | None = None
    expectation_services: ExpectationServices | None = None

    def __post_init__(self) -> None:
        self.shown = self._shown(self.path)
        self.problems: list[Problem] = []
        self.bulk: BulkCases | None = None
        self.bulk_shown = ""
        self.targets: dict[tuple[str, str], str] = {}
        self.line_of: Callable[[Place], int] = lambda path: 1

    def load(self) -> Suite | None:
        """None when there are problems, now all in `self.problems`."""
        document = self._document()
        with _collector_paused():
            return self._read(document)

    def _read(self, document: Any) -> Suite | None:
        found = Problems(document, self._locate, self.problems)
        data = SUITE.read(document, (), found)
        if data is BAD:
            return None
        if isinstance(data.get("cases"), dict):
            self._read_bulk(data, found)
        self._check(data, found)
        if self.problems:
            return None
        return Suite.model_validate(self._model(data))

    def _check(self, data: dict[str, Any], found: Problems) -> None:
        check_name(data, self.path, found)
        twin = twin_of(self.path)
        if twin is not None:
            found.add(("suite",), f"{self._shown(twin)} has the same name: keep one of the two")
        check_ids(data, found)
        check_agent_keys(data, found)
        if self.check_preset is not None:
            check_presets(data, self.check_preset, found)
        base, root = self.path.parent, self.project.root
        check_sources(found, base=base, root=root)
        if self.check_expectation is not None:
            check, files = self.check_expectation, self.expectation_files
            services = self.expectation_services
            check_expectations(data, check, files, found, base=base, root=root, services=services)
        check_conversations(data, found, self.check_expectation, self.check_user)
        reach = check_network(data, found, root=root, rules=self.host_rules)
        self._read_faults(data, found, reach)
        self._read_stress(data, found)
        agent = data.get("agent")
        if (
            self.check_agent is not None
            and isinstance(agent, dict)
            and "command" in agent
            and not holds_bad(agent)
        ):
            problem = self.check_agent(Agent.model_validate(agent))
            if problem is not None:
                found.wrong(("agent", "command"), problem)

    def _read_faults(self, data: dict[str, Any], found: Problems, reach: Reach) -> None:
        """Rules in place of what the keys `faults` hold; a case has the suite's besides its own."""
        shared = self._rules(data.pop("faults", []), ("faults",), found, reach)
        none_at_all = list(self.faults_instead or ()) == [NONE]
        if self.faults_instead is not None:
            shared = () if none_at_all else self._instead(self.faults_instead, reach)
        data["faults"] = shared or ()
        cases = data.get("cases")
        for index, case in enumerate(cases if isinstance(cases, list) else ()):
            if isinstance(case, dict):
                own = self._rules(case.pop("faults", []), ("cases", index, "faults"), found, reach)
                case["faults"] = () if none_at_all else combined(own, shared or ())

    def _read_stress(self, data: dict[str, Any], found: Problems) -> None:
        """As `_read_faults`, for the keys `stress`."""
        shared = self._stress_rules(data.pop("stress", []), ("stress",), found)
        none_at_all = list(self.stress_instead or ()) == [stresskeys.NONE]
        if self.stress_instead is not None:
            problems = Problems({}, lambda path: ("", 1))
            names = [] if none_at_all else list(self.stress_instead)
            shared = self._stress_rules(names, ("--stress",), problems)
            if problems.found:
                raise UsageError("; ".join(problem.message for problem in problems.found))
        data["stress"] = shared or ()
        cases = data.get("cases")
        for index, case in enumerate(cases if isinstance(cases, list) else ()):
            if isinstance(case, dict):
                own = self._stress_rules(case.pop("stress", []), ("cases", index, "stress"), found)
                case["stress"] = () if none_at_all else stresskeys.combined(own, shared or ())

    def _stress_rules(self, value: Any, path: Place, found: Problems) -> tuple[StressRule, ...] | None:
        if self.read_stress is None or value is BAD:
            return ()
        return self.read_stress(value, path, found)

    def _instead(self, names: Sequence[str], reach: Reach) -> tuple[FaultRule, ...] | None:
        problems = Problems({}, lambda path: ("", 1))
        rules = self._rules(list(names), ("--faults",), problems, reach)
        if problems.found:
            raise UsageError("; ".join(problem.message for problem in problems.found))
        return rules

    def _rules(self, value: Any, path: Place, found: Problems, reach: Reach) -> tuple[FaultRule, ...] | None:
        if self.read_faults is None or value is BAD:
            return ()
        return self.read_faults(value, path, found, reach=reach, folder=self.path.parent)

    def _document(self) -> Any:
        if self.path.suffix not in (".yaml", ".py"):
            raise Unreadable(Problem(self.shown, 1, "is not a suite: its name must end in .yaml or .py"))
        text = read_text(
            self.path,
            shown=self.shown,
            max_bytes=MAX_FILE_BYTES,
            advice="keep bulk cases in a JSONL file (cases: {jsonl: FILE})",
        )
        return self._yaml(text) if self.path.suffix == ".yaml" else self._python(text)

    def _yaml(self, text: str) -> Any:
        try:
            root, problems = parse_yaml(text, shown=self.shown)
        except BadYaml as error:
            raise Unreadable(Problem(self.shown, error.line, error.message)) from None
        self.problems += problems
        self.line_of = root.line_of
        return root.plain()

    def _python(self, text: str) -> Any:
        module = run_python_suite(self.path, text, shown=self.shown)
        self.line_of = module.line_of
        value = to_document(module.value) if isinstance(module.value, Suite) else module.value

        def report(path: Place, message: str) -> None:
            self.problems.append(Problem(self.shown, module.line_of(path), f"suite{_index(path)}: {message}"))

        return plain_data(value, report)

    def _locate(self, path: Place) -> tuple[str, int]:
        if self.bulk is not None and len(path) >= 2 and path[0] == "cases" and isinstance(path[1], int):
            return self.bulk_shown, self.bulk.lines[path[1]]
        return self.shown, self.line_of(path)

    def _read_bulk(self, data: dict[str, Any], found: Problems) -> None:
        written = data["cases"].get("jsonl")
        data["cases"] = []
        if not isinstance(written, str):
            return
        place: Place = ("cases", "jsonl")
        problem = source_problem(written, base=self.path.parent, root=self.project.root, folder_ok=False)
        if problem is not None:
            found.wrong(place, problem)
            return
        file = self.path.parent / written
        shown = self._shown(file)
        try:
            text = read_text(file, shown=shown, max_bytes=MAX_JSONL_BYTES, advice="split the suite")
        except Unreadable as error:
            self.problems.append(error.problem)
            return
        self.bulk_shown = shown
        self.bulk = parse_jsonl(text, shown=shown)
        self.problems += self.bulk.problems
        found.document = {**found.document, "cases": self.bulk.cases}
        data["cases"] = [
            CASE.read(case, ("cases", index), found) for index, case in enumerate(self.bulk.cases)
        ]

    def _model(self, data: dict[str, Any]) -> dict[str, Any]:
        """The fields of `Suite`: one message becomes a conversation of one, expectations get their lines."""
        cases = []
        shared, collect = self._world(data.get("world", {})), data.get("collect", [])
        for index, case in enumerate(data["cases"]):
            file, line = self._locate(("cases", index))
            fields = {key: value for key, value in case.items() if key not in ("input", "conversation")}
            # Most cases of a bulk suite have none: one value serves them all.
            fields["world"] = merged(shared, self._world(case["world"])) if case.get("world") else shared
            fields["collect"] = tuple(dict.fromkeys((*collect, *case.get("collect", ()))))
            turns = case.get("conversation") or [{"user": case["input"]}]
            fields["turns"] = [
                self._turn(turn, ("cases", index, "conversation", number))
                for number, turn in enumerate(turns)
            ]
            fields["expect"] = self._expectations(case["expect"], ("cases", index, "expect"))
            fields["source_file"], fields["source_line"] = file, line
            cases.append(fields)
        model = {**data, "cases": cases, "source_file": self.shown, "agent": self._agent(data)}
        model |= {"world": shared, "collect": tuple(dict.fromkeys(collect))}
        if "files" in data.get("sandbox", {}):
            root = self.project.root
            files = {
                source: exact_target(target, root / source)
                for source, target in data["sandbox"]["files"].items()
            }
            model["sandbox"] = {**data["sandbox"], "files": files}
        return model

    def _turn(self, turn: dict[str, Any], place: Place) -> dict[str, Any]:
        fields = dict(turn)
        if "simulate" in turn:
            fields["simulate"] = user_fields(turn["simulate"])
        if "expect" in turn:
            fields["expect"] = self._expectations(turn["expect"], (*place, "expect"))
        return fields

    def _expectations(self, entries: list[Any], place: Place) -> list[dict[str, Any]]:
        return [
            {"scorer": scorer, "config": config, "line": self._locate((*place, number))[1]}
            for number, (scorer, config) in enumerate(entries)
        ]

    def _agent(self, data: dict[str, Any]) -> dict[str, Any]:
        """Secrets that a route stands in for are optional without saying so."""
        secrets, optional = data["agent"].get("secrets", {}), standing_in(data.get("network"))
        return {
            **data["agent"],
            "secrets": {name: {"optional": name in optional, **secret} for name, secret in secrets.items()},
        }

    def _world(self, read: dict[str, Any]) -> World:
        if not read:
            return _NO_WORLD
        return World.model_validate({**read, "files": self._world_files(read.get("files", {}))})

    def _world_files(self, files: dict[str, str]) -> dict[str, str]:
        base = self.path.parent
        targets = {}
        for target, source in files.items():
            # Remembered: bulk cases name the same few files, and each answer asks the file system.
            if (target, source) not in self.targets:
                self.targets[target, source] = exact_target(target, base / source)
            targets[self.targets[target, source]] = source
        return targets

    def _shown(self, path: Path) -> str:
        return shown_path(path, self.project.root)


def _index(path: Place) -> str:
    return "".join(f"[{step!r}]" for step in path)
