"""The key `sandbox.services`: programs beside the agent. What presets there are is another room's to say."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aegis.suite.kinds import (
    BAD,
    Choice,
    Converted,
    Duration,
    Integer,
    Key,
    ListOf,
    MapOf,
    Schema,
    Section,
    Text,
)
from aegis.suite.model import Service
from aegis.suite.problems import Path, Problems
from aegis.suite.units import describe, format_duration

CheckPreset = Callable[[str, dict[str, Any]], Sequence[tuple[tuple[str | int, ...], str]]]
"""What is wrong with the own parameters of a preset, or that there is none of this name (at the empty path)."""

SERVICE_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
EXPECTED = "a list such as [postgres, {name: app, command: ./serve, ready: {tcp: 8080}}]"
_EXPECTED_URL = "a URL such as http://127.0.0.1:8080/health"
_URL_PATTERN = r"^http://(127\.0\.0\.1|localhost):[0-9]{1,5}(/\S*)?$"
_VARIABLE = Text("the name of an environment variable", re.compile(r"[A-Za-z_][A-Za-z0-9_]*"))
_PORT = Integer(1, 65535)


def _url(text: str) -> str:
    if not re.fullmatch(_URL_PATTERN[1:-1], text):
        raise ValueError(f"expected {_EXPECTED_URL}, got {describe(text)}")
    return text


def _expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"expected a regular expression, got {describe(text)} ({error})") from None
    return text


READY = Section(
    (
        Key("tcp", _PORT, "A port that accepts connections"),
        Key("http", Converted(_url, _EXPECTED_URL, _URL_PATTERN), "A URL that is answered with 2xx or 3xx"),
        Key("command", Text("a shell command"), "A shell command that exits 0"),
        Key(
            "log",
            Converted(_expression, "a regular expression", r"^[^\u0000]+$"),
            "A regular expression found in a line of the service's output",
        ),
    ),
    not_empty=True,
)

SERVICE = Section(
    (
        Key(
            "name",
            Text("a name of lower-case letters, digits and '-' (at most 32)", SERVICE_NAME),
            "Unique name; the service's folder is /srv/NAME, and NAME_PORT tells its port",
        ),
        Key("preset", Text("the name of a preset"), "A service that Aegis knows: docs/services.md"),
        Key("command", Text("a shell command"), "Shell command run in /srv/NAME; it stays in the foreground"),
        Key("port", _PORT, "Where it listens on 127.0.0.1; its environment has it as PORT"),
        Key(
            "start",
            Choice("start", ("template", "trial")),
            "template: before the snapshot, so that every trial finds it running; trial: anew in each trial",
            default="template",
        ),
        Key("ready", READY, "When it is up: all of tcp, http, command and log that are given"),
        Key("ready_timeout", Duration(0.1, 3600.0), "How long it may take until then", default="60s"),
        Key(
            "init",
            ListOf(Text("a shell command"), "a list of shell commands"),
            "Shell commands run in /workspace when it is up, before the snapshot; each must exit 0",
        ),
        Key(
            "env",
            MapOf(_VARIABLE, Text("text", may_be_empty=True), "a mapping of environment variables"),
            "Environment variables of the service alone",
        ),
    )
)


@dataclass(frozen=True, slots=True)
class Services:
    """A list of names of presets and of mappings. Reads to a list of mappings, a preset's own parameters below
    `params`."""

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if not isinstance(value, list):
            problems.wrong(path, f"expected {EXPECTED}, got {describe(value)}")
            return BAD
        found = [self._service(item, (*path, index), problems) for index, item in enumerate(value)]
        first: dict[str, int] = {}
        for index, item in enumerate(found):
            name = item.get("name") if isinstance(item, dict) else None
            if isinstance(name, str) and first.setdefault(name, index) != index:
                problems.wrong(
                    (*path, index), f"the name {name!r} is taken by an earlier service: name this one"
                )
        return found

    def _service(self, value: Any, path: Path, problems: Problems) -> Any:
        if isinstance(value, str) and value:
            return {"name": value, "preset": value, "params": {}}
        if not isinstance(value, dict):
            problems.wrong(path, f"expected the name of a preset or a mapping, got {describe(value)}")
            return BAD
        own = value if "preset" not in value else {k: v for k, v in value.items() if k in SERVICE.kinds}
        fields = SERVICE.read(own, path, problems)
        if fields is BAD:
            return BAD
        preset = value.get("preset")
        if isinstance(preset, str):
            fields.setdefault("name", preset)
            fields["params"] = {k: v for k, v in value.items() if k not in SERVICE.kinds}
        elif preset is None:
            self._check_own(value, path, problems)
        return fields

    @staticmethod
    def _check_own(value: dict[str, Any], path: Path, problems: Problems) -> None:
        missing = [key for key in ("name", "command") if key not in value]
        if missing:
            problems.wrong(path, f"needs {' and '.join(map(repr, missing))}, or a 'preset'")
        elif "ready" not in value and "port" not in value:
            problems.wrong(
                path, "nothing says when it is up: add port: PORT, or ready with tcp, http, command or log"
            )

    def schema(self) -> Schema:
        own = SERVICE.schema()
        own["required"] = ["name", "command"]
        preset = {**SERVICE.schema(), "required": ["preset"], "additionalProperties": True}
        return {
            "type": "array",
            "items": {"anyOf": [{"type": "string", "minLength": 1}, own, preset]},
        }


def check_presets(data: dict[str, Any], check: CheckPreset, found: Problems) -> None:
    """Every preset is known and takes its parameters; `data` is the document as read."""
    sandbox = data.get("sandbox")
    services = sandbox.get("services") if isinstance(sandbox, dict) else None
    for index, service in enumerate(services if isinstance(services, list) else ()):
        if service is BAD or not isinstance(service.get("preset"), str):
            continue
        for inside, message in check(service["preset"], service.get("params", {})):
            found.wrong(("sandbox", "services", index, *inside), message)


def service_document(service: Service) -> dict[str, Any]:
    """A service as a file would write it."""
    written: dict[str, Any] = {"name": service.name}
    for key in ("preset", "command", "port", "start"):
        if (value := getattr(service, key)) is not None:
            written[key] = value
    if service.ready is not None:
        written["ready"] = service.ready.model_dump(exclude_none=True)
    if service.ready_timeout is not None:
        written["ready_timeout"] = format_duration(service.ready_timeout)
    if service.init:
        written["init"] = list(service.init)
    if service.env:
        written["env"] = dict(service.env)
    return {**written, **service.params}
