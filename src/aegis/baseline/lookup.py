"""From what a user names to the runs that are the baseline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from aegis.baseline import facts as facts_
from aegis.baseline import history
from aegis.baseline.candidates import Candidate, Candidates, Place, gather, matching, open_store
from aegis.baseline.explain import nothing_found, unknown_name
from aegis.baseline.found import Found, NoBaseline, Skipped, Wanted
from aegis.baseline.history import Line
from aegis.baseline.store import MAX_SNAPSHOT_BYTES, Store
from aegis.errors import AegisError, UsageError
from aegis.regression import snapshot as snapshots
from aegis.regression.snapshot import Snapshot
from aegis.regression.trials import ENOUGH, CaseKey
from aegis.results import Ledger

LATEST = "latest"
SUFFIX = ".aegis"
MAX_SKIPPED = 20
MAX_COMMITS_BEHIND = 50
MAX_RUNS = 20
"""How far the search for further trials goes behind the baseline's own commit, and how many runs it takes in all."""


def find(asked: str, wanted: Wanted, *, root: Path, ledger: Ledger | None) -> Found:
    """The baseline that `asked` stands for: a file of `aegis baseline export`, a pin, a run's id or the beginning of
    one (`latest`: the newest), a branch, a tag, or a commit.

    A path is what ends in `.aegis` or begins with `/`, `./`, `../` or `~`; any other name is a file's only when it is
    nothing else. `root` is the project's folder. Nothing is fetched. Raises `NoBaseline` when there is nothing to
    compare with, and `UsageError` when what was asked for can't be understood or read.
    """
    if _is_path(asked):
        return _of_file(asked, wanted)
    store, no_git = open_store(root)
    runs = gather(ledger, store)
    pins = {} if store is None else dict(store.entries().pins)
    if asked in pins:
        return _Search(asked, wanted, runs, store).pinned(pins[asked])
    search = _Search(asked, wanted, runs, store)
    if asked == LATEST:
        return search.latest()
    named = runs.begin_with(asked)
    if any(each.facts.run_id == asked for each in named):
        return search.named(matching(asked, named))
    line = None if store is None else history.line(store.git, asked)
    if named and line is None:
        return search.named(matching(asked, named))
    if line is not None:
        return search.along(line)
    if Path(asked).is_file():
        return _of_file(asked, wanted)
    raise unknown_name(asked, store, no_git)


class _Search:
    def __init__(self, asked: str, wanted: Wanted, runs: Candidates, store: Store | None) -> None:
        self._asked = asked
        self._wanted = wanted
        self._runs = runs
        self._git = None if store is None else store.git

    def pinned(self, run_id: str) -> Found:
        found = [each for each in self._runs.runs if each.facts.run_id == run_id]
        if not found:
            raise UsageError(
                f"{self._asked} is pinned to run {run_id}, which is not among the results here",
                fix=f"aegis baseline pull; or aegis baseline pin --unpin {self._asked}",
            )
        return self.named(found[0], (f"{self._asked} is pinned to run {run_id}",))

    def latest(self) -> Found:
        """The newest run of the suite, apart from the one that is to be compared."""
        for each in self._runs.runs:
            if each.facts.suite == self._wanted.suite and each.facts.run_id != self._wanted.run_id:
                return self.named(each)
        raise NoBaseline(
            f"there is no earlier run of the suite {self._wanted.suite}",
            fix=f"aegis eval run --suite {self._wanted.suite}",
        )

    def named(self, run: Candidate, notes: tuple[str, ...] = ()) -> Found:
        """The run itself, and more trials from runs behind it."""
        facts = run.facts
        if why := run.never or facts_.mismatch(facts, self._wanted):
            raise NoBaseline(
                f"run {facts.run_id} cannot be the baseline: {why}",
                fix="name another run: aegis baseline list; or run the suite where the baseline shall come from",
                skipped=(Skipped(facts.run_id, facts.commit, why),),
            )
        first, place = self._runs.read(run)
        behind: list[Candidate] = []
        if facts.commit is not None and not facts.dirty and self._git is not None:
            here = self._git.has_commit(facts.commit)
            commits = (
                self._git.first_parents(facts.commit, MAX_COMMITS_BEHIND + 1) if here else [facts.commit]
            )
            behind = [each for _, each in self._acceptable(commits) if each.facts.run_id != facts.run_id]
        odd = facts_.not_by_itself(facts)
        said = (*notes, f"run {facts.run_id}: {odd}") if odd else notes
        return self._found(first, place, behind, said)

    def along(self, line: Line) -> Found:
        """The nearest acceptable run on a line of commits, and more trials from those behind it."""
        skipped: list[Skipped] = []
        for behind, commit in self._with_runs(line.commits):
            for run in self._at(commit):
                if (why := self._refused(run)) is None:
                    try:
                        first, place = self._runs.read(run)
                    except AegisError as error:
                        why = str(error)
                    else:
                        further = line.commits[behind : behind + MAX_COMMITS_BEHIND + 1]
                        rest = [each for _, each in self._acceptable(further)]
                        older = rest[rest.index(run) + 1 :]
                        return self._found(first, place, older, line.notes, line, behind, skipped)
                skipped.append(Skipped(run.facts.run_id, run.facts.commit, why))
        raise nothing_found(
            line, self._wanted, self._runs, self._git, tuple(skipped[:MAX_SKIPPED]), self._refused
        )

    def _found(
        self,
        first: Snapshot,
        place: Place,
        behind: Sequence[Candidate],
        notes: tuple[str, ...],
        line: Line | None = None,
        distance: int | None = None,
        skipped: Sequence[Skipped] = (),
    ) -> Found:
        more, problems = self._enough(first, behind)
        said = [*notes, *problems]
        if line is not None and line.cut_off:
            said.append("this clone is shallow: commits before its end could not be looked at")
        if len({each.facts.accel for each in (first, *more)}) > 1:
            said.append("runs with other accelerators were added to it")
        return Found(
            asked=self._asked,
            snapshots=(first, *more),
            source=place,
            merge_base=None if line is None else line.merge_base,
            behind=distance,
            skipped=tuple(skipped[:MAX_SKIPPED]),
            notes=tuple(said),
        )

    def _enough(self, first: Snapshot, behind: Sequence[Candidate]) -> tuple[list[Snapshot], list[str]]:
        """Runs to add until each case has enough trials. A case that an older run lacks, or has with other content,
        gets none from the runs before it."""
        short = {key: trials.judged for key, trials in first.trials.items() if trials.judged < ENOUGH}
        more: list[Snapshot] = []
        problems: list[str] = []
        for run in behind:
            if not short or len(more) + 1 >= MAX_RUNS:
                break
            try:
                older, _ = self._runs.read(run)
            except AegisError as error:
                problems.append(f"run {run.facts.run_id} was left out: {error}")
                continue
            if added := _add(short, first, older):
                more.append(older)
            short = {key: judged for key, judged in added.items() if judged < ENOUGH}
        return more, problems

    def _acceptable(self, commits: Sequence[str]) -> Iterator[tuple[int, Candidate]]:
        for behind, commit in self._with_runs(commits):
            yield from ((behind, run) for run in self._at(commit) if self._refused(run) is None)

    def _with_runs(self, commits: Sequence[str]) -> Iterator[tuple[int, str]]:
        known = {run.facts.commit for run in self._runs.runs}
        return ((behind, commit) for behind, commit in enumerate(commits) if commit in known)

    def _at(self, commit: str) -> list[Candidate]:
        """The suite's runs of a commit, the newest first."""
        return [
            run
            for run in self._runs.runs
            if run.facts.commit == commit
            and run.facts.suite == self._wanted.suite
            and run.facts.run_id != self._wanted.run_id
        ]

    def _refused(self, run: Candidate) -> str | None:
        """Why it is not taken without being named."""
        return run.never or facts_.mismatch(run.facts, self._wanted) or facts_.not_by_itself(run.facts)


def _add(short: dict[CaseKey, int], first: Snapshot, older: Snapshot) -> dict[CaseKey, int]:
    """The judged trials of those cases with the older run's; without the cases that it doesn't have like that."""
    return {
        key: judged + older.trials[key].judged
        for key, judged in short.items()
        if key in older.trials and older.trials[key].content == first.trials[key].content
    }


def _is_path(asked: str) -> bool:
    return asked.endswith(SUFFIX) or asked.startswith(("/", "./", "../", "~"))


def _of_file(asked: str, wanted: Wanted) -> Found:
    found = read_file(asked)
    facts = found.facts
    if why := facts_.never(facts) or facts_.mismatch(facts, wanted):
        raise NoBaseline(
            f"{asked} (run {facts.run_id}) cannot be the baseline: {why}",
            fix="export another run: aegis baseline export RUN",
            skipped=(Skipped(facts.run_id, facts.commit, why),),
        )
    odd = facts_.not_by_itself(facts)
    return Found(asked, (found,), "file", notes=(f"run {facts.run_id}: {odd}",) if odd else ())


def read_file(asked: str) -> Snapshot:
    """The snapshot in a file. Raises `UsageError` for one that can't be read, is corrupt, foreign, or newer."""
    path = Path(asked).expanduser()
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SNAPSHOT_BYTES + 1)
    except OSError as error:
        raise UsageError(
            f"cannot read {asked}: {error.strerror or error}",
            fix="aegis baseline export RUN writes such a file",
        ) from error
    if len(data) > MAX_SNAPSHOT_BYTES:
        raise UsageError(f"{asked} is too large for a snapshot", fix="aegis baseline export RUN writes one")
    return snapshots.from_bytes(data, asked)
