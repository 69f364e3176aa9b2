"""Named bundles of rules: those that come with Aegis (`faults/profiles/NAME.yaml`), and the user's own
(`evals/faults/NAME.yaml`), which win."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path as FilePath
from typing import Any

from aegis.errors import UsageError
from aegis.suite.kinds import BAD, Key, ListOf, Section, Text
from aegis.suite.problems import Locate, Path, Problems, did_you_mean
from aegis.suite.units import describe
from aegis.suite.yamltree import BadYaml, parse_yaml

FOLDER = "faults"
"""Of the user's own profiles, in the folder of the suites."""
MAX_FILE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Profile:
    name: str
    description: str
    checked: str
    """Date (ISO 8601) on which its facts were compared with their sources; "" when it has none."""
    sources: tuple[str, ...]
    rules: list[Any]
    """As written."""
    document: Any
    locate: Locate
    own: bool
    """Whether it is the user's."""


@dataclass(frozen=True, slots=True)
class _Rules:
    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if isinstance(value, list) and value:
            return value
        problems.wrong(
            path, f"expected a list of rules such as [{{inject: rate-limit}}], got {describe(value)}"
        )
        return BAD

    def schema(self) -> dict[str, Any]:
        return {"type": "array", "minItems": 1}


_PROFILE = Section(
    (
        Key(
            "profile", Text("the name of the profile"), "Name of the profile: the file's name", required=True
        ),
        Key("description", Text("text", may_be_empty=True, any_character=True), "For people"),
        Key("checked", Text("a date such as 2026-01-31"), "When its facts were compared with their sources"),
        Key("sources", ListOf(Text("an address"), "a list of addresses"), "Where its facts come from"),
        Key("rules", _Rules(), "The rules, as in a suite", required=True),
    )
)


def names(folder: FilePath | None = None) -> list[str]:
    """Every profile that there is, the user's included, sorted."""
    return sorted({*own_names(folder), *_built_in()})


def own_names(folder: FilePath | None) -> list[str]:
    """The user's."""
    return [] if folder is None else [path.stem for path in _own_files(folder)]


def load(name: str, folder: FilePath | None = None) -> Profile:
    """The profile of this name; `folder` holds the user's suites. Raises `UsageError` when there is none, or when its
    file is wrong."""
    if folder is not None:
        for path in _own_files(folder):
            if path.stem == name:
                return _read(name, _text(path), shown=f"{folder.name}/{FOLDER}/{path.name}", own=True)
    if name not in _built_in():
        known = names(folder)
        raise UsageError(
            f"there is no profile {name!r}{did_you_mean(name, known)}",
            fix=f"there are: {', '.join(known)}; your own would be {FOLDER}/{name}.yaml beside the suites",
        )
    file = resources.files("aegis.faults").joinpath("profiles", f"{name}.yaml")
    return _read(name, file.read_text("utf-8"), shown=f"profile {name}", own=False)


def _built_in() -> list[str]:
    folder = resources.files("aegis.faults").joinpath("profiles")
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def _own_files(folder: FilePath) -> list[FilePath]:
    return sorted((folder / FOLDER).glob("*.yaml"))


def _text(path: FilePath) -> str:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise UsageError(f"the profile {path.name} is larger than {MAX_FILE_BYTES} bytes")
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the profile {path} cannot be read: {error}") from error


def _read(name: str, text: str, *, shown: str, own: bool) -> Profile:
    try:
        root, found = parse_yaml(text, shown=shown)
    except BadYaml as error:
        raise UsageError(f"{shown}:{error.line}: {error.message}") from error
    document = root.plain()
    problems = Problems(document, lambda path: (shown, root.line_of(path)), list(found))
    read = _PROFILE.read(document, (), problems)
    if not problems.found and read["profile"] != name:
        problems.wrong(("profile",), f"is {read['profile']!r}, but its file is {name}.yaml: name both alike")
    if problems.found:
        raise UsageError("; ".join(map(str, problems.found[:5])))
    return Profile(
        name=name,
        description=" ".join(read.get("description", "").split()),
        checked=read.get("checked", ""),
        sources=tuple(read.get("sources", ())),
        rules=read["rules"],
        document=document,
        locate=problems.locate,
        own=own,
    )
