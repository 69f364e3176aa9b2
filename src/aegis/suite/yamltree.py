"""YAML 1.2 text → plain data plus the line of every key and value.

Built from the parser's events rather than from the library's own constructor, for what that one doesn't give:
a line for everything, every duplicate key at once, the 1.2 core schema whatever the directive says, and
bounds on depth and on what aliases expand to. Scalars follow the core schema: `true`/`false` are booleans,
`yes` and `2024-01-01` are text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from aegis.suite.problems import Path, Problem

MAX_DEPTH = 40
MAX_ALIASED_VALUES = 100_000
"""How many values all aliases and merges of a file may stand for together."""

_INT = re.compile(r"[-+]?[0-9]{1,4000}|0o[0-7]{1,4000}|0x[0-9a-fA-F]{1,3000}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_CONSTANTS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_CORE = "tag:yaml.org,2002:"
_TYPES: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (float, int),
    "bool": (bool,),
    "null": (type(None),),
}
# What YAML calls unprintable, and lone surrogates. The library gives no line for these.
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class BadYaml(Exception):
    """The text is not YAML, or goes over a bound; nothing more can be found in it."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


@dataclass(slots=True)
class Node:
    """A value with its place. `value` is a scalar, a list of `Node`, or a dict of key → (line of the key,
    `Node`)."""

    line: int
    value: Any
    weight: int = 1
    """How many values it stands for, itself and what aliases repeat included."""

    def plain(self) -> Any:
        """Without lines: what `json.loads` would have given. Aliased parts are shared, not copied."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, (_, node) in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def line_of(self, path: Path) -> int:
        """Line of the key (or list item) at the path; of the nearest thing around it when there is no
        such."""
        node, line = self, self.line
        for step in path:
            if isinstance(node.value, dict) and step in node.value:
                line, node = node.value[step]
            elif isinstance(node.value, list) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
                line = node.line
            else:
                break
        return line


def parse_yaml(text: str, *, shown: str) -> tuple[Node, list[Problem]]:
    """The document and the problems that leave it usable (duplicate keys, odd tags …), for `shown:line:
    text`.

    Raises `BadYaml` when there is no document to go on with.
    """
    unprintable = _UNPRINTABLE.search(text)
    if unprintable:
        line = text.count("\n", 0, unprintable.start()) + 1
        raise BadYaml(
            line,
            f"character U+{ord(unprintable[0]):04X} is not allowed in YAML: write it as \\u escape",
        )
    return _Composer(shown).compose(text)


@dataclass(slots=True)
class _Composer:
    shown: str
    problems: list[Problem] = field(default_factory=list)
    anchors: dict[str, Node | None] = field(default_factory=dict)
    aliased: int = 0

    def compose(self, text: str) -> tuple[Node, list[Problem]]:
        events = _events(text)
        root: Node | None = None
        for event in events:
            name = type(event).__name__
            if name == "DocumentStartEvent":
                if event.version not in (None, (1, 2)):
                    raise BadYaml(_line(event), "declares another YAML version: suites are YAML 1.2")
                if root is not None:
                    raise BadYaml(_line(event), "a second document begins here: a suite is one document")
                root = self._node(next(events), events, 0)
        if root is None:
            raise BadYaml(1, "the file holds no document")
        return root, self.problems

    def _node(self, event: Any, events: Iterator[Any], depth: int) -> Node:
        name = type(event).__name__
        if name == "AliasEvent":
            return self._alias(event)
        if depth > MAX_DEPTH:
            raise BadYaml(_line(event), f"is nested more than {MAX_DEPTH} levels deep")
        if event.anchor is not None:
            self.anchors[event.anchor] = None  # until it is complete, so that an alias inside itself is seen
        if name == "ScalarEvent":
            node = Node(_line(event), self._scalar(event))
        elif name == "SequenceStartEvent":
            node = self._sequence(event, events, depth)
        else:
            node = self._mapping(event, events, depth)
        if event.anchor is not None:
            self.anchors[event.anchor] = node
        return node

    def _alias(self, event: Any) -> Node:
        if event.anchor not in self.anchors:
            # A host such as *.crm.example, meant as text, reads as one.
            quotes = f' (write text in quotes: "*{event.anchor}")' if event.anchor.startswith(".") else ""
            raise BadYaml(
                _line(event), f"alias *{event.anchor} has no anchor &{event.anchor} before it{quotes}"
            )
        node = self.anchors[event.anchor]
        if node is None:
            raise BadYaml(_line(event), f"alias *{event.anchor} stands inside its own anchor")
        self.aliased += node.weight
        if self.aliased > MAX_ALIASED_VALUES:
            raise BadYaml(_line(event), f"aliases expand to more than {MAX_ALIASED_VALUES:,} values")
        return node

    def _sequence(self, event: Any, events: Iterator[Any], depth: int) -> Node:
        self._check_collection_tag(event, "seq")
        items: list[Node] = []
        while type(item := next(events)).__name__ != "SequenceEndEvent":
            items.append(self._node(item, events, depth + 1))
        return Node(_line(event), items, 1 + sum(item.weight for item in items))

    def _mapping(self, event: Any, events: Iterator[Any], depth: int) -> Node:
        self._check_collection_tag(event, "map")
        entries: dict[str, tuple[int, Node]] = {}
        merges: list[Node] = []
        while type(key_event := next(events)).__name__ != "MappingEndEvent":
            is_merge = _is_merge(key_event)
            line = _line(key_event)
            key = self._node(key_event, events, depth + 1).value
            value = self._node(next(events), events, depth + 1)
            if is_merge:
                merges += self._merge(line, value)
            elif not isinstance(key, str):
                self._report(line, f"key {_shown_key(key)} is not text: write it in quotes")
            elif key in entries:
                self._report(line, f"duplicate key {key!r} (first on line {entries[key][0]})")
            else:
                entries[key] = (line, value)
        for merged in merges:
            for key, entry in merged.value.items():
                entries.setdefault(key, entry)
        return Node(_line(event), entries, 1 + sum(node.weight for _, node in entries.values()))

    def _merge(self, line: int, value: Node) -> list[Node]:
        sources = value.value if isinstance(value.value, list) else [value]
        if not all(isinstance(source.value, dict) for source in sources):
            self._report(line, "<< merges mappings: give it an alias of one, or a list of aliases")
            return []
        return list(sources)

    def _scalar(self, event: Any) -> Any:
        tag = None if event.tag is None else str(event.tag)
        if tag == "!" or (tag is None and not event.implicit[0]) or tag == f"{_CORE}str":
            return self._text(event, event.value)
        kind = tag.removeprefix(_CORE) if tag is not None else None
        if kind is not None and kind not in _TYPES:
            self._report(
                _line(event), f"tag {tag!r} is not supported: a suite holds text, numbers, lists and mappings"
            )
            return event.value
        value = self._resolve(event)
        if kind is not None and (
            not isinstance(value, _TYPES[kind]) or (kind != "bool" and isinstance(value, bool))
        ):
            self._report(_line(event), f"{event.value!r} is not a {kind}, as its tag says")
        return value

    def _resolve(self, event: Any) -> Any:
        text: str = event.value
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        if _INT.fullmatch(text):
            return int(text, 0) if text.startswith(("0o", "0x")) else int(text)
        if _NOT_FINITE.fullmatch(text):
            self._report(_line(event), f"{text} is not a finite number")
            return text
        if _FLOAT.fullmatch(text):
            number = float(text)
            if math.isfinite(number):
                return number
            self._report(_line(event), "the number is too large")
            return text[:40]
        return self._text(event, text)

    def _text(self, event: Any, text: str) -> str:
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            self._report(_line(event), "the text holds half of a surrogate pair: write the character itself")
            return text.encode("utf-8", "replace").decode("utf-8")
        return text

    def _check_collection_tag(self, event: Any, kind: str) -> None:
        if event.tag is not None and str(event.tag) not in ("!", f"{_CORE}{kind}"):
            self._report(
                _line(event),
                f"tag {str(event.tag)!r} is not supported: a suite holds text, numbers, lists and mappings",
            )

    def _report(self, line: int, message: str) -> None:
        self.problems.append(Problem(self.shown, line, message))


def _events(text: str) -> Iterator[Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError

    try:
        yield from YAML(typ="safe", pure=True).parse(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        if error.context_mark and "<stream end>" in str(error.problem):
            mark = error.context_mark  # where the thing that isn't closed begins
        raise BadYaml(mark.line + 1 if mark else 1, _explain(error)) from None
    except (BadYaml, GeneratorExit):
        raise
    except Exception as error:
        # On some malformed text the parser fails with a bare ValueError, IndexError or AttributeError.
        raise BadYaml(1, f"not valid YAML: {error}") from None


def _explain(error: Any) -> str:
    problem = str(error.problem)
    if "'\\t'" in problem:
        return "not valid YAML: a tab stands where YAML wants spaces"
    if "cannot start any token" in problem:
        return f"not valid YAML: {problem} (write the value in quotes)"
    if problem.startswith("mapping values are not allowed"):
        return "not valid YAML: a second ': ' on the line (write the value in quotes), or wrong indentation"
    if error.context == "while scanning an alias":
        return "not valid YAML: a '*' that begins a value needs quotes"
    context = f"{error.context}, " if error.context else ""
    return f"not valid YAML: {context}{problem}"


def _is_merge(event: Any) -> bool:
    return type(event).__name__ == "ScalarEvent" and event.value == "<<" and event.implicit[0]


def _shown_key(key: Any) -> str:
    if isinstance(key, dict | list):
        return "(a collection)"
    return "true" if key is True else "false" if key is False else "null" if key is None else str(key)[:40]


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1
