"""`aegis ci report`: a run document as what GitHub and GitLab show."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from aegis.errors import AegisError, LedgerError, UsageError

SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"
STDOUT = "-"


@dataclass(frozen=True)
class _Results:
    document: dict[str, Any] | None
    suite: str | None
    why: str = ""
    """Why there is no document, on one line."""
    path: Path | None = None
    """The document's file, where it is one."""


@click.command(name="report", short_help="A run as summary, comment, annotations and outputs.")
@click.argument("document", metavar="DOCUMENT")
@click.option(
    "--summary", metavar="PATH", help="Append the report as Markdown. Default: $GITHUB_STEP_SUMMARY."
)
@click.option(
    "--comment", metavar="PATH", help="Write the report as text of a comment, for `aegis ci comment`."
)
@click.option(
    "--annotations", is_flag=True, help="Print workflow commands that mark the cases' lines (GitHub)."
)
@click.option("--codequality", metavar="PATH", help="Write a code quality report (GitLab).")
@click.option(
    "--output", metavar="PATH", help="Append verdict, exit-code and the rest, as $GITHUB_OUTPUT wants."
)
@click.option("--suite", "-s", metavar="NAME", help="The suite, for when there is no document that names it.")
@click.option(
    "--exit-code",
    type=click.IntRange(0, 255),
    metavar="N",
    help="What the run exited with; stands in the outputs, where it is not 0.",
)
def report(
    document: str,
    summary: str | None,
    comment: str | None,
    annotations: bool,
    codequality: str | None,
    output: str | None,
    suite: str | None,
    exit_code: int | None,
) -> int:
    """Write what is asked for about the run in DOCUMENT: a file that `aegis eval run --json` wrote, or a run's id,
    the beginning of one, or `latest`. Without any of the options, the summary is printed.

    When there is no such document, or it can't be read, everything says so, and the exit code is 3. Else it is 0,
    whatever the verdict: that is for `aegis eval run` to tell.

    \b
    Examples:
      aegis ci report run.json --annotations --comment comment.md
      aegis ci report run.json --output "$GITHUB_OUTPUT"
      aegis ci report run.json --codequality codequality.json
      aegis ci report latest
    """
    summary = summary or os.environ.get(SUMMARY_VARIABLE) or None
    if summary is None and not (comment or annotations or codequality or output):
        summary = STDOUT
    results = _read(document, suite)
    texts = _Texts(results, exit_code)
    try:
        texts.try_all(annotations=annotations)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        # A document that fits the schema as far as that was checked, and is broken in a trial.
        why = f"{document} is broken: {type(error).__name__}: {error}"
        results = _Results(None, results.suite, _shown(why))
        texts = _Texts(results, exit_code)
    if results.document is None:
        click.echo(f"error: no results: {results.why}", err=True)
        click.echo("fix: see what the run said before it ended", err=True)
    _write_all(texts, summary, comment, codequality, output)
    if annotations:
        for line in texts.annotations():
            click.echo(line)
    return 0 if results.document is not None else 3


def _write_all(
    texts: _Texts, summary: str | None, comment: str | None, codequality: str | None, output: str | None
) -> None:
    from aegis.ci import outputs

    if summary == STDOUT:
        click.echo(texts.summary(outputs.SUMMARY_MAX_BYTES), nl=False)
    elif summary is not None:
        room = outputs.SUMMARY_MAX_BYTES - outputs.size(Path(summary))
        if room >= outputs.SUMMARY_MIN_BYTES:
            _writing(summary, lambda path: outputs.append(path, texts.summary(room)))
        else:
            click.echo(f"warning: {summary} is full: GitHub takes no longer summary of a step", err=True)
    if comment is not None:
        text = texts.comment()
        if text is None:
            click.echo("warning: no comment is written: which suite is it? (--suite NAME)", err=True)
        else:
            _writing(comment, lambda path: path.write_text(text, "utf-8", errors="backslashreplace"))
    if codequality is not None:
        _writing(codequality, lambda path: path.write_text(json.dumps(texts.codequality(), indent=2) + "\n"))
    if output is not None:
        _writing(output, lambda path: outputs.append(path, outputs.assignments(texts.outputs())))


def _writing(path: str, write: Callable[[Path], object]) -> None:
    try:
        write(Path(path))
    except OSError as error:
        raise UsageError(
            f"cannot write {path}: {error.strerror}", fix="name a file in a folder that is there"
        ) from None


@dataclass(frozen=True)
class _Texts:
    """Everything that can be said about a run, or about there being none."""

    results: _Results
    exit_code: int | None

    def try_all(self, *, annotations: bool) -> None:
        """Make each text once, so that a broken document is found before anything is written."""
        self.summary(100_000)
        self.comment()
        self.codequality()
        self.outputs()
        if annotations:
            self.annotations()

    def summary(self, max_bytes: int) -> str:
        from aegis.ci import nothing
        from aegis.report import markdown

        if self.results.document is None:
            return nothing.markdown(self.results.suite, self.results.why)
        return markdown.summary(self.results.document, max_bytes=max_bytes)

    def comment(self) -> str | None:
        """None when nobody knows for which suite."""
        from aegis.ci import nothing, outputs
        from aegis.report import markdown

        document, suite = self.results.document, self.results.suite
        if document is not None:
            return markdown.comment(document, max_bytes=outputs.COMMENT_MAX_BYTES)
        if suite is None:
            return None
        return f"{markdown.marker(suite)}\n{nothing.markdown(suite, self.results.why)}"

    def annotations(self) -> list[str]:
        from aegis.ci import outputs
        from aegis.report import annotations

        if self.results.document is None:
            return [outputs.command("error", f"INCONCLUSIVE: no results: {self.results.why}")]
        return annotations.github(self.results.document)

    def codequality(self) -> list[dict[str, Any]]:
        from aegis.report import annotations

        return [] if self.results.document is None else annotations.gitlab_codequality(self.results.document)

    def outputs(self) -> dict[str, str]:
        from aegis.ci import nothing

        document = self.results.document
        if document is None:
            return nothing.outputs(self.exit_code)
        return {
            "verdict": document["verdict"],
            "exit-code": str(self.exit_code or document["exit_code"]),
            "complete": "true" if _complete(document) else "false",
            "pass-rate": _percent(document),
            "regressions": str(len(document["regressions"])),
            "regressed-cases": json.dumps([_label(item) for item in document["regressions"]]),
            "report": str(self.results.path.absolute()) if self.results.path else "",
        }


def _complete(document: Mapping[str, Any]) -> bool:
    """Whether every case of the suite was run and judged, so that later runs may be compared with it."""
    counts = document["counts"]
    judged = sum(counts[name] for name in ("passed", "failed", "timeout"))
    return 0 < judged == counts["planned"] and not document["selected"] and document["replay_of"] is None


def _percent(document: Mapping[str, Any]) -> str:
    from aegis.results import verdict

    counts = document["counts"]
    judged = sum(counts[name] for name in ("passed", "failed", "timeout"))
    return verdict.percent(counts["passed"], judged).removesuffix(" %") if judged else ""


def _label(item: Mapping[str, Any]) -> str:
    from aegis.results.show import BASELINE_VARIANT

    return item["case"] if item["variant"] == BASELINE_VARIANT else f"{item['case']} ({item['variant']})"


def _read(written: str, suite: str | None) -> _Results:
    from aegis.results import document as documents

    path: Path | None = Path(written)
    try:
        if path is not None and path.is_file():
            document = _parse(path)
        elif written.endswith(".json") or "/" in written:
            raise LedgerError(f"there is no {written}: the run ended before it wrote one")
        else:
            document, path = _from_ledger(written), None
        # The trials one by one would take minutes in a large run; what is read of them is read at once, below.
        documents.validate({**document, "trials": [], "confirmations": []})
    except (AegisError, OSError, ValueError, RecursionError) as error:
        return _Results(None, suite or _only_suite(), _shown(str(error)))
    return _Results(document, document["suite"], path=path)


def _parse(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except ValueError:
        raise LedgerError(f"{path} is no run document: it is not JSON, or was cut off") from None
    if not isinstance(document, dict) or not isinstance(document.get("trials"), list):
        raise LedgerError(f"{path} is no run document")
    return document


def _from_ledger(run_id: str) -> dict[str, Any]:
    from aegis.cli.history import ledger_folder, open_ledger
    from aegis.results import document as documents

    folder = ledger_folder()
    if not (folder / "ledger.db").exists():
        raise UsageError(f"there are no runs in {folder}")
    with open_ledger(folder) as ledger:
        record = ledger.run(run_id)
        return record.document or documents.build(record, ledger.trials(record.run_id))


def _only_suite() -> str | None:
    """The project's suite, where it has one only."""
    from aegis.suite import find_project, list_suites

    try:
        names = {path.stem for path in list_suites(find_project(Path.cwd()))}
    except AegisError:
        return None
    return names.pop() if len(names) == 1 else None


def _shown(text: str) -> str:
    from aegis.report.text import one_line

    return one_line(text, 500)
