"""The suite format: every key, what it takes, and what editors say about it. docs/suite.md is the same for
people."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aegis.suite.clockkeys import ClockKind
from aegis.suite.faultkeys import Faults
from aegis.suite.hosts import (
    EXPECTED_HOST,
    EXPECTED_TARGET,
    HOST_PATTERN,
    TARGET_PATTERN,
    host_entry,
    route_target,
)
from aegis.suite.kinds import (
    BAD,
    Choice,
    Converted,
    Duration,
    Integer,
    Key,
    ListOf,
    MapOf,
    Number,
    Schema,
    Section,
    Short,
    Size,
    Text,
)
from aegis.suite.paths import EXPECTED_GUEST_PATH, GUEST_PATH_PATTERN, guest_path
from aegis.suite.problems import Path, Problems
from aegis.suite.secretkeys import Secrets, secret_section
from aegis.suite.servicekeys import Services
from aegis.suite.stresskeys import Stress
from aegis.suite.units import describe
from aegis.suite.userkeys import SIMULATE, TURN_SCORERS
from aegis.suite.worlds import CaseWorld

MIB = 1024 * 1024
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

_NAME = Text(
    "a name of letters, digits, '.', '_' and '-' (at most 100, beginning with a letter or digit)", NAME
)
_VARIABLE = Text("the name of an environment variable", re.compile(r"[A-Za-z_][A-Za-z0-9_]*"))
_COMMANDS = ListOf(Text("a shell command"), "a list of shell commands")
_GUEST_PATH = Converted(guest_path, EXPECTED_GUEST_PATH, GUEST_PATH_PATTERN)
_SOURCE = Text("a path in the project")
_ENV = MapOf(_VARIABLE, Text("text", may_be_empty=True), "a mapping of environment variables")
_DESCRIPTION = Text("text", may_be_empty=True, any_character=True)
_COLLECT = ListOf(_GUEST_PATH, "a list of paths in the sandbox such as [outbox/*.json]")
_HOST = Converted(host_entry, EXPECTED_HOST, HOST_PATTERN)
_HOSTS = ListOf(_HOST, "a list of hosts such as [api.example]")
_TRIALS = Integer(1, 1000)
_TIMEOUT = Duration(1.0, 24 * 3600.0)


@dataclass(frozen=True, slots=True)
class Expect:
    """A non-empty list of one-key mappings, scorer → its configuration. Reads to a list of (scorer,
    configuration)."""

    scorers: tuple[str, ...] = ()
    """For the schema only: the loader asks whoever knows the scorers."""

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if not isinstance(value, list) or not value:
            hint = "" if value else ": a case that checks nothing cannot fail"
            problems.wrong(path, f"expected a list such as [{{answer: refund}}], got {describe(value)}{hint}")
            return BAD
        return [self._entry(entry, (*path, index), problems) for index, entry in enumerate(value)]

    def _entry(self, entry: Any, path: Path, problems: Problems) -> Any:
        if not isinstance(entry, dict) or len(entry) != 1:
            got = f"{len(entry)} keys" if isinstance(entry, dict) and entry else describe(entry)
            hint = " (begin each scorer with '- ')" if isinstance(entry, dict) and entry else ""
            problems.wrong(path, f"expected one scorer such as {{answer: refund}}, got {got}{hint}")
            return BAD
        ((scorer, config),) = entry.items()
        return scorer, config

    def schema(self) -> Schema:
        entry: Schema = {"type": "object", "minProperties": 1, "maxProperties": 1}
        entry["properties"] = {
            name: {"description": f"Scorer `{name}` (docs/scorers.md)"} for name in self.scorers
        }
        entry["additionalProperties"] = False
        return {"type": "array", "minItems": 1, "items": entry}


AGENT = Section(
    (
        Key(
            "command",
            Text("a shell command"),
            "Shell command that starts the agent in /workspace of a fresh sandbox; "
            "for protocol python: module:function",
            required=True,
        ),
        Key(
            "protocol",
            Choice("protocol", ("text", "jsonl", "python", "chat", "acp")),
            "How turns reach the agent: text (standard input and output, one process), "
            "jsonl (one JSON object a line), python (a function), chat (an HTTP server with OpenAI's chat "
            "completions), acp (the Agent Client Protocol on standard input and output)",
            default="text",
        ),
        Key(
            "port",
            Integer(1, 65535),
            "Protocol chat: where the server listens; its environment has it as PORT",
            default=8000,
        ),
        Key(
            "ready_timeout",
            Duration(0.1, 3600.0),
            "Protocol chat: how long the server may take until it listens",
            default="60s",
        ),
        Key(
            "permissions",
            Choice("answer", ("allow", "deny")),
            "Protocol acp: the answer when the agent asks whether it may run a tool",
            default="allow",
        ),
        Key("env", _ENV, "Environment variables of the agent"),
        Key(
            "secrets",
            Secrets(_VARIABLE, _HOST, secret_section(_HOST)),
            "Variables of the host's environment whose values only the named hosts may see; the agent gets "
            "placeholders",
        ),
    ),
)

AGENT_KEYS = {"port": "chat", "ready_timeout": "chat", "permissions": "acp"}
"""Key of `agent` → the only protocol that it is about."""

ROUTE = Section(
    (
        Key(
            "to",
            Converted(route_target, EXPECTED_TARGET, TARGET_PATTERN),
            "Where it leads: http://host:port, https://host:port, or host:port",
        ),
        Key("upstream", _NAME, "Name of an entry of upstreams"),
        Key("unless", _VARIABLE, "Name of a secret: when it has a value, the name itself is reached"),
    ),
    one_of=("to", "upstream"),
)

UPSTREAM = Section(
    (
        Key(
            "command",
            Text("a shell command"),
            "Shell command run on the host in the project's folder; it must listen on 127.0.0.1 at the port "
            "that PORT names",
            required=True,
        ),
        Key(
            "scope",
            Choice("scope", ("trial", "run")),
            "trial: each trial has a process of its own; run: all trials share one",
            default="trial",
        ),
        Key("env", _ENV, "Environment variables of the program, besides the host's own"),
        Key("ready_timeout", Duration(0.1, 3600.0), "Time until its port must answer", default="30s"),
    )
)

LIMIT = Section(
    (
        Key("requests_per_minute", Number(1e9), "Requests that all trials together may send in a minute"),
        Key("tokens_per_minute", Number(1e12), "Tokens that all trials together may use in a minute"),
    ),
    not_empty=True,
)

NETWORK = Section(
    (
        Key("allow", _HOSTS, "What may be reached: name, *.name, name:port, address:port or *"),
        Key(
            "routes",
            MapOf(
                _HOST,
                Short(ROUTE, "to", f"{EXPECTED_TARGET}, or a mapping such as {{upstream: NAME}}"),
                "a mapping of production names to where they lead",
            ),
            "Production name → where it leads instead; a route allows its name",
        ),
        Key(
            "upstreams",
            MapOf(
                _NAME,
                Short(UPSTREAM, "command", "a shell command or a mapping such as {command: COMMAND}"),
                "a mapping of names to server programs",
            ),
            "Server programs of the project that run on the host, for routes to lead to",
        ),
        Key("passthrough", _HOSTS, "Hosts whose TLS is not opened: pinned or client certificates"),
        Key(
            "limits",
            MapOf(_HOST, LIMIT, "a mapping of hosts to their limits"),
            "Host → the limit that all trials share there",
        ),
        Key(
            "ca_bundle",
            _SOURCE,
            "PEM file, relative to the project's root, of further authorities that certify upstreams",
        ),
    )
)

SANDBOX = Section(
    (
        Key(
            "image",
            Text("an image: debian, a path to an image file, oci:NAME or oci-layout:PATH"),
            "What the sandbox starts from: debian (built in), a path to an image file, oci:NAME or "
            "oci-layout:PATH",
            default="debian",
        ),
        Key(
            "memory",
            Size(64 * MIB, 256 * 1024 * MIB),
            "Memory of each sandbox, 64MiB to 256GiB",
            default="512MiB",
        ),
        Key("cpus", Integer(1, 16), "Processors of each sandbox", default=1),
        Key(
            "files",
            MapOf(_SOURCE, _GUEST_PATH, "a mapping of project paths to sandbox paths"),
            "Files and folders of the project → where they lie in the sandbox",
        ),
        Key(
            "setup", _COMMANDS, "Shell commands run once, before the sandbox is snapshotted; each must exit 0"
        ),
        Key("setup_timeout", Duration(1.0, 24 * 3600.0), "Time for each of them", default="10m"),
        Key(
            "services",
            Services(),
            "Programs beside the agent (databases, mail servers, your own), up and idle when a trial begins",
        ),
        Key("env", _ENV, "Environment variables of everything that runs in the sandbox"),
    ),
)

WORLD = Section(
    (
        Key(
            "files",
            MapOf(_GUEST_PATH, _SOURCE, "a mapping of sandbox paths to source files"),
            "Sandbox path → source file or folder, relative to the suite file's folder",
        ),
        Key("run", _COMMANDS, "Shell commands run in /workspace before the agent starts; each must exit 0"),
        Key(
            "reset",
            _COMMANDS,
            "Shell commands that would clean up after a trial; only aegis audit leaks runs them",
        ),
        Key("clock", ClockKind(), "The date, time and time zone in which a trial takes place"),
    ),
)


def turn_section(scorers: tuple[str, ...] = ()) -> Section:
    return Section(
        (
            Key("user", Text("a message", any_character=True), "What the user says"),
            Key("simulate", SIMULATE, "A user whose messages depend on the answers"),
            Key(
                "expect",
                Expect(tuple(name for name in scorers if name in TURN_SCORERS)),
                "What must be true of this turn alone: its answer, tool calls and requests",
            ),
        ),
        one_of=("user", "simulate"),
    )


def case_section(
    scorers: tuple[str, ...] = (), fault: Schema | None = None, stress: Schema | None = None
) -> Section:
    return Section(
        (
            Key("id", _NAME, "Unique name of the case; goes into reports and file names", required=True),
            Key("tags", ListOf(_NAME, "a list of tags", unique=True), "Words to select cases by"),
            Key("description", _DESCRIPTION, "For people"),
            Key(
                "input",
                Text("a message", any_character=True),
                "What the agent is told; a conversation of one message",
            ),
            Key(
                "conversation",
                ListOf(turn_section(scorers), "a list of messages such as [{user: Hello}]", min_items=1),
                "What the agent is told, message by message",
            ),
            Key(
                "world",
                CaseWorld(WORLD),
                "What the case starts in, on top of the sandbox and of the suite's world; none: not even that",
            ),
            Key(
                "expect",
                Expect(scorers),
                "What must be true afterwards: a list of scorers, all of which must pass",
                required=True,
                if_missing=": a case that checks nothing cannot fail",
            ),
            Key(
                "faults",
                Faults(fault or {}),
                "Faults of its own besides the suite's: rules and names of profiles; none: no faults at all",
            ),
            Key(
                "stress",
                Stress(stress or {}),
                "Harder variants of this case besides the suite's: transforms by name or with parameters; none: none",
            ),
            Key("trials", _TRIALS, "How often this case runs, instead of the suite's trials"),
            Key(
                "timeout",
                _TIMEOUT,
                "Time for one trial of this case (1s to 24h), instead of the suite's timeout",
            ),
            Key("collect", _COLLECT, "Files of the sandbox to keep with each trial, besides the suite's"),
        ),
        one_of=("input", "conversation"),
    )


BULK = Section(
    (
        Key(
            "jsonl",
            Text("a path to a JSONL file"),
            "File with one case a line, relative to the suite file",
            required=True,
        ),
    )
)


@dataclass(frozen=True, slots=True)
class Cases:
    """A list of cases, or `{jsonl: FILE}`, which reads to a dict: the loader has the file."""

    case: Section

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if isinstance(value, dict):
            return BULK.read(value, path, problems)
        if not isinstance(value, list) or not value:
            problems.wrong(path, f"expected a list of cases or {{jsonl: FILE}}, got {describe(value)}")
            return BAD
        return [self._case(item, (*path, index), problems) for index, item in enumerate(value)]

    def _case(self, item: Any, path: Path, problems: Problems) -> Any:
        if isinstance(item, dict) and "jsonl" in item:
            problems.add(
                path,
                "cases is a list of cases or {jsonl: FILE}, not a mixture: "
                "move these cases into the JSONL file",
            )
            return BAD
        return self.case.read(item, path, problems)

    def schema(self) -> Schema:
        cases: Schema = {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/case"}}
        return {"anyOf": [cases, BULK.schema()]}


CASE = case_section()


def suite_section(case: Section = CASE, fault: Schema | None = None, stress: Schema | None = None) -> Section:
    return Section(
        (
            Key("suite", _NAME, "Name of the suite: the file's name without .yaml", required=True),
            Key("description", _DESCRIPTION, "For people"),
            Key("agent", AGENT, "The program under test", required=True),
            Key("sandbox", SANDBOX, "The machine that each trial gets"),
            Key("network", NETWORK, "What trials may reach; without it nothing"),
            Key("trials", _TRIALS, "How often each case runs", default=1),
            Key("timeout", _TIMEOUT, "Time for one trial, 1s to 24h", default="120s"),
            Key(
                "faults",
                Faults(fault or {}),
                "Faults of every case: the name of a profile, or a list of rules and names (aegis faults list)",
            ),
            Key(
                "stress",
                Stress(stress or {}),
                "Harder variants of every case: the name of a transform or a set, or a list (aegis suite preview)",
            ),
            Key("world", WORLD, "What every case starts in, besides its own world"),
            Key(
                "collect",
                _COLLECT,
                "Files of the sandbox to keep with each trial: paths; *, ? and ** for names",
            ),
            Key("cases", Cases(case), "The cases, or {jsonl: FILE}", required=True),
        ),
    )


SUITE = suite_section()


def json_schema(
    scorer_names: Mapping[str, Any] | tuple[str, ...] | list[str],
    fault: Schema | None = None,
    stress: Schema | None = None,
) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a suite file, for editors. What needs other files (that sources exist,
    that ids are unique, that the name is the file's, what a scorer takes) only the loader checks. `fault` is the schema
    of one fault rule, `stress` that of an entry of `stress`."""
    rule: Schema | None = {"$ref": "#/$defs/fault"} if fault else None
    entry: Schema | None = {"$ref": "#/$defs/stress"} if stress else None
    case = case_section(tuple(scorer_names), rule, entry)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Aegis suite",
        "description": "evals/NAME.yaml: the cases of a suite and the agent that they try",
        **suite_section(case, rule, entry).schema(),
        "$defs": {
            "case": {"description": "One task and what must be true after it", **case.schema()},
            **({"fault": fault} if fault else {}),
            **({"stress": stress} if stress else {}),
        },
    }
