"""The documentation names everything there is, and nothing that there isn't."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from aegis import agents, errors
from aegis._eval.coveragetopics import TOPICS
from aegis.cli.root import cli
from aegis.faults import doc
from aegis.faults.plan import keys, profiles
from aegis.results.records import OUTCOMES
from aegis.results.verdict import EXIT_CODES
from aegis.scoring import registry
from aegis.stress import doc as stress_doc
from aegis.stress import reading as stress_reading
from aegis.stress import registry as transforms
from aegis.suite.kinds import Key

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").glob("*/*.md")])
DOCS = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md")))

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```", re.M | re.S)
_BUILT_IN_OPTIONS = {"-h", "--help", "-V", "--version"}


def page_id(path: Path) -> str:
    return str(path.relative_to(ROOT))


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def commands(
    group: click.Command = cli, words: tuple[str, ...] = ("aegis",)
) -> Iterator[tuple[str, click.Command]]:
    """Every command with its whole name, groups included."""
    yield " ".join(words), group
    if isinstance(group, click.Group):
        context = click.Context(group)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            if command is not None and not command.hidden:
                yield from commands(command, (*words, name))


COMMANDS = dict(commands())


def options(command: click.Command) -> set[str]:
    """Long and short names of the visible options."""
    shown = (item for item in command.params if isinstance(item, click.Option) and not item.hidden)
    return {name for item in shown for name in (*item.opts, *item.secondary_opts)} - _BUILT_IN_OPTIONS


def long_options(command: click.Command) -> set[str]:
    return {name for name in options(command) if name.startswith("--")}


def named(word: str, text: str) -> bool:
    """Whether the text holds the word by itself, not as a part of a longer one."""
    return re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text) is not None


def under(heading: str, text: str) -> Iterator[tuple[str, str]]:
    """(what the group of the heading's pattern holds, the text below it up to the next heading of its level)."""
    level = heading.partition(" ")[0]
    pattern = rf"^{heading}$(.*?)(?=^#{{1,{len(level)}}} |\Z)"
    yield from re.findall(pattern, text, re.M | re.S)


def sections(text: str) -> dict[str, str]:
    """Command → its section; a heading `aegis suite check|list [NAME]` is about two commands."""
    found = {}
    for heading, body in under("## `(aegis [^`]*)`", text):
        words = [word for word in heading.split() if word[0].islower()]
        for last in words[-1].split("|"):
            found[" ".join([*words[:-1], last])] = body
    return found


@pytest.mark.parametrize(
    "name", [name for name, command in COMMANDS.items() if not isinstance(command, click.Group)]
)
def test_every_command_has_a_section_that_names_each_option(name: str) -> None:
    text = sections(page("cli.md")).get(name)
    assert text is not None, f"docs/cli.md has no heading `{name}`"
    assert sorted(option for option in long_options(COMMANDS[name]) if not named(option, text)) == []


def test_no_section_is_about_a_command_that_does_not_exist() -> None:
    assert sorted(set(sections(page("cli.md"))) - set(COMMANDS)) == []


@pytest.mark.parametrize("name", registry.names())
def test_every_scorer_is_documented(name: str) -> None:
    assert f"`{name}`" in page("scorers.md")


def test_the_reference_of_faults_is_what_the_faults_say() -> None:
    _, mark, generated = page("faults.md").partition("scripts/docs writes it. -->\n\n")
    assert mark
    assert generated == doc.reference(), "write it anew: scripts/docs"


def test_the_reference_of_transforms_is_what_the_transforms_say() -> None:
    _, mark, generated = page("stress.md").partition("scripts/docs writes it. -->\n\n")
    assert mark
    assert generated == stress_doc.reference(), "write it anew: scripts/docs"


@pytest.mark.parametrize("name", transforms.NAMES)
def test_every_transform_is_documented_with_the_reason_why_its_oracle_holds(name: str) -> None:
    entry = dict(under("### `([^`]*)`", page("stress.md")))[name]
    assert "\nThe oracle stays valid because" in entry
    assert all(f"`{level}`" in entry for level in transforms.get(name).levels if level)
    assert all(f"| `{key.name}` |" in entry for key in transforms.get(name).keys)


@pytest.mark.parametrize("key", ["transform", "levels"])
def test_every_key_of_an_entry_of_stress_is_documented(key: str) -> None:
    entries = page("suite.md").partition("## `stress`")[2].partition("\n## ")[0]
    assert f"| `{key}` |" in entries
    assert key in {item.name for item in stress_reading.rule_section("deep-conversation").keys}


@pytest.mark.parametrize("topic", [*(topic.id for topic in TOPICS), "trials"])
def test_every_topic_of_the_coverage_table_is_documented(topic: str) -> None:
    table = page("stress.md").partition("| topic | covered when |")[2].partition("\n\n")[0]
    assert f"`{topic}`" in table


@pytest.mark.parametrize("key", [*keys.RULE_KEYS, *keys.MATCH.keys], ids=lambda key: key.name)
def test_every_key_of_a_rule_is_documented(key: Key) -> None:
    rules = page("suite.md").partition("## `faults`")[2].partition("\n## ")[0]
    (row,) = [line for line in rules.splitlines() if line.startswith(f"| `{key.name}` |")]
    assert key.default is None or f"| `{doc.written(key.default)}` |" in row
    assert not key.required or "| required |" in row


@pytest.mark.parametrize("name", profiles.names())
def test_every_built_in_profile_is_documented(name: str) -> None:
    assert f"### `{name}`" in page("faults.md")


@pytest.mark.parametrize("name", agents.protocols())
def test_every_protocol_is_documented(name: str) -> None:
    assert f"`{name}`" in page("agents.md")


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_every_outcome_is_documented(outcome: str) -> None:
    assert f"| `{outcome}` |" in page("errors.md")


def error_classes(base: type[errors.AegisError] = errors.AegisError) -> list[type[errors.AegisError]]:
    return [base, *(found for child in base.__subclasses__() for found in error_classes(child))]


@pytest.mark.parametrize("error", error_classes(), ids=lambda error: error.__name__)
def test_every_error_is_documented_with_its_exit_code(error: type[errors.AegisError]) -> None:
    rows = [line for line in page("errors.md").splitlines() if f"`{error.__name__}`" in line]
    assert rows, f"docs/errors.md does not name {error.__name__}"
    assert any(named(str(error.exit_code), row) for row in rows)


@pytest.mark.parametrize(("verdict", "code"), [*EXIT_CODES.items(), ("Interrupted", 130)])
def test_every_verdict_is_documented_with_its_exit_code(verdict: str, code: int) -> None:
    rows = [line for line in page("exit-codes.md").splitlines() if verdict in line]
    assert any(named(str(code), row) for row in rows)


@pytest.mark.parametrize(
    "code",
    [
        "not-found",
        "not-executable",
        "is-directory",
        "too-large",
        "permission",
        "no-space",
        "bad-request",
        "failed",
    ],
)
def test_every_guest_error_code_is_documented(code: str) -> None:
    assert code in (errors.GuestOperationError.__doc__ or "")
    assert f"`{code}`" in page("guest-protocol.md")


def anchors(path: Path) -> set[str]:
    """The fragment of each heading, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", path.read_text(encoding="utf-8")), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    broken = []
    for target in _LINK.findall(_FENCE.sub("", path.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, fragment = target.partition("#")
        place = (path.parent / name).resolve() if name else path
        if not place.exists() or (fragment and fragment not in anchors(place)):
            broken.append(target)
    assert broken == []


def shown_commands() -> list[tuple[str, str]]:
    """Every line of a code block that calls `aegis`, with its page."""
    found = []
    for path in PAGES:
        for block in _FENCE.findall(path.read_text(encoding="utf-8")):
            for line in re.findall(r"^(?:\$ )?(aegis .+)$", block, re.M):
                found.append((page_id(path), line))
    return found


@pytest.mark.parametrize(("place", "line"), shown_commands())
def test_every_command_shown_exists(place: str, line: str) -> None:
    words = shlex.split(line, comments=True)
    name = words.pop(0)
    while words and f"{name} {words[0]}" in COMMANDS:
        name = f"{name} {words.pop(0)}"
    command = COMMANDS[name]
    assert not isinstance(command, click.Group) or words[:1] in ([], ["--version"], ["--help"]), (
        f"no command: {line}"
    )
    used = {word.partition("=")[0] for word in words if word.startswith("-") and word != "-"}
    assert used - _BUILT_IN_OPTIONS <= options(command), f"{place}: {line}"


def test_every_page_is_in_the_index() -> None:
    index = page("index.md")
    missing = [path.name for path in (ROOT / "docs").glob("*.md") if f"]({path.name})" not in index]
    assert sorted(set(missing) - {"index.md"}) == []


@pytest.mark.parametrize("script", sorted(set(re.findall(r"\b(?:scripts|benchmarks)/\w+(?:\.\w+)?", DOCS))))
def test_every_script_named_exists(script: str) -> None:
    assert (ROOT / script).exists()
