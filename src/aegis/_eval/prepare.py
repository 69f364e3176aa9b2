"""From a request to everything that a run needs: the suite, its files, and the order of its trials."""

from __future__ import annotations

import dataclasses
import json
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aegis import agents
from aegis._eval.loading import load
from aegis._eval.request import RunRequest
from aegis.engine import fingerprint as fingerprints
from aegis.engine import taps
from aegis.engine.files import find_below
from aegis.engine.plan import make_plan, select
from aegis.engine.ports import BlobStore
from aegis.engine.spec import BASELINE, PlannedTrial, TemplateRecipe, TrialSpec
from aegis.engine.template import CaseFiles, load_case_files, make_recipe
from aegis.errors import NothingSelectedError, SuiteError, UsageError
from aegis.results import Ledger
from aegis.scoring import registry
from aegis.stress import generate
from aegis.stress import registry as transforms
from aegis.suite import Case, Project, Suite, find_project, find_suite, list_suites
from aegis.suite.project import project_of

LEDGER_FOLDER = ".aegis"
MAX_CA_BUNDLE_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run's content, complete: nothing of the project is read after this."""

    suite: Suite
    recipe: TemplateRecipe
    files: Mapping[str, CaseFiles]
    """By case id, for every case of the suite."""
    timeout_s: float | None
    """Overrides every timeout of the suite when not None."""
    ca_bundle: str | None = None
    """Digest of the file that the suite's `network.ca_bundle` names."""

    def spec(
        self,
        run_id: str,
        planned: PlannedTrial,
        epoch: int,
        cases: Mapping[str, Case],
        *,
        like: int | None = None,
    ) -> TrialSpec:
        """The spec of one attempt; `cases` is `by_id(self.suite)`, `like` as in `TrialSpec`."""
        case = variant_case(cases[planned.case], planned.variant)
        files = self.files[planned.case]
        return TrialSpec(
            run_id=run_id,
            suite=self.suite.suite,
            case=case,
            variant=planned.variant,
            number=planned.number,
            epoch=epoch,
            agent=self.suite.agent,
            template=self.recipe,
            timeout_s=self.timeout_s or (case.timeout or self.suite.timeout) + case.added_time,
            world=files.world,
            check_files=dict(files.checks),
            network=self.suite.network,
            ca_bundle=self.ca_bundle,
            like=like,
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "suite": self.suite.model_dump(mode="json"),
            "recipe": self.recipe.to_json(),
            "files": {case_id: files.to_json() for case_id, files in self.files.items()},
            "timeout_s": self.timeout_s,
            "ca_bundle": self.ca_bundle,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Prepared:
        """The inverse of `to_json`."""
        return cls(
            suite=Suite.model_validate(data["suite"]),
            recipe=TemplateRecipe.from_json(data["recipe"]),
            files={case_id: CaseFiles.from_json(files) for case_id, files in data["files"].items()},
            timeout_s=data["timeout_s"],
            ca_bundle=data.get("ca_bundle"),
        )


@dataclass(frozen=True, slots=True)
class Source:
    """Where a suite came from."""

    project: Project
    path: Path
    suite: Suite


def find(request: RunRequest) -> Source:
    """Find and load the suite; `env` of the request is merged into its agent's.

    Raises `SuiteError` with all problems, or when no suite is named and there is not exactly one; `UsageError` when
    `env` names a secret of the suite.
    """
    project = find_project(Path(request.project or "."))
    path = find_suite(project, request.suite) if request.suite is not None else _only_suite(project)
    if not path.resolve().is_relative_to(project.root.resolve()):
        project = project_of(path)
    suite = load(path, project, faults=request.faults, stress=request.stress)
    if request.env:
        _refuse_secrets(suite, request.env)
        agent = suite.agent.model_copy(update={"env": {**suite.agent.env, **request.env}})
        suite = suite.model_copy(update={"agent": agent})
    return Source(project, path, suite)


def _refuse_secrets(suite: Suite, env: Mapping[str, str]) -> None:
    for name in env:
        if name in suite.agent.secrets:
            raise UsageError(
                f"--env {name}: it is a secret of suite {suite.suite}, whose value never goes into the sandbox",
                fix=f"export {name} in this shell instead: the gateway puts the value in",
            )


def _only_suite(project: Project) -> Path:
    paths = list_suites(project)
    if len(paths) == 1:
        return paths[0]
    if not paths:
        raise SuiteError(f"there is no suite in {project.evals_dir}", fix="aegis init writes a first one")
    names = ", ".join(sorted({path.stem for path in paths}))
    raise SuiteError(f"there are {len(paths)} suites: {names}", fix="name one: --suite NAME")


def read_files(source: Source, blobs: BlobStore, timeout_s: float | None) -> Prepared:
    """Read every file that the trials will need into the blobs. Raises `UsageError` for those that can't be
    used."""
    suite, root = source.suite, source.project.root
    base, noting = source.path.parent, taps.Noting(blobs)
    files = {
        case.id: load_case_files(case, base=base, root=root, scorer=registry.get, blobs=noting)
        for case in suite.cases
    }
    recipe = make_recipe(
        suite,
        root=root,
        secret=(source.project.evals_dir, source.path),
        # What a function's own modules read when they are imported, only the trial has: placeholders, and the date.
        prepared=agents.get(suite.agent.protocol).prepare(
            suite.agent, networked=is_networked(suite) or any(case.world.clock for case in suite.cases)
        ),
        blobs=blobs,
        tap=noting.named,
    )
    return Prepared(suite, recipe, files, timeout_s, _read_ca_bundle(suite, root, blobs))


def is_networked(suite: Suite) -> bool:
    """Whether the agent's connections can lead anywhere."""
    return bool(suite.network.allow or suite.network.routes or suite.agent.secrets)


def _read_ca_bundle(suite: Suite, root: Path, blobs: BlobStore) -> str | None:
    name = suite.network.ca_bundle
    if name is None:
        return None
    path = find_below(root, root, name, "network.ca_bundle")
    try:
        if path.stat().st_size > MAX_CA_BUNDLE_BYTES:
            raise UsageError(f"network.ca_bundle: {name!r} is larger than {MAX_CA_BUNDLE_BYTES} bytes")
        return blobs.put(path.read_bytes())
    except OSError as error:
        raise UsageError(f"network.ca_bundle: cannot read {path}: {error.strerror}") from error


def choose(
    request: RunRequest, suite: Suite, failed_before: set[str] | None
) -> tuple[tuple[PlannedTrial, ...], int]:
    """The plan, in the order of the suite, and the seed of the order of execution. Raises `NothingSelectedError`."""
    seed = secrets.randbelow(2**32) if request.seed is None else request.seed
    cases = select(suite, keyword=request.keyword, only=failed_before)
    return make_plan(suite, cases, trials=request.trials, variants=_variant_names), seed


def _variant_names(case: Case) -> tuple[str, ...]:
    return tuple(variant.name for variant in generate.variants_of(case).variants)


def last_failed(folder: Path, suite: str) -> set[str]:
    """Cases that the newest run of the suite which judged anything did not pass.

    Raises `NothingSelectedError` when there is no such run or when all of its cases passed.
    """
    if (folder / "ledger.db").exists():
        with Ledger(folder) as ledger:
            for run in ledger.summaries(suite, limit=100):
                outcomes = {
                    (trial.case, trial.outcome) for trial in ledger.trials(run.run_id) if trial.outcome
                }
                if not outcomes:
                    continue
                failed = {case for case, outcome in outcomes if outcome != "passed"}
                if not failed:
                    raise NothingSelectedError(
                        f"every case passed in run {run.run_id}, the last one of suite {suite}"
                    )
                return failed
    raise NothingSelectedError(
        f"--last-failed: suite {suite} has no earlier run here", fix=f"aegis eval run --suite {suite}"
    )


def refused(suite: Suite, planned: Collection[PlannedTrial]) -> list[dict[str, Any]]:
    """The variants of the planned cases that could not be made, as the run document tells them."""
    cases = {trial.case for trial in planned}
    return [
        dataclasses.asdict(refusal)
        for case in suite.cases
        if case.id in cases
        for refusal in generate.variants_of(case).refusals
    ]


def own_oracles(suite: Suite) -> list[str]:
    """The transforms of the suite whose variants expect something else than their cases."""
    named = {rule.transform for case in suite.cases for rule in case.stress}
    return sorted(name for name in named if transforms.get(name).own_oracle)


def variant_case(case: Case, variant: str) -> Case:
    """The case as this variant changes it. Raises `KeyError` when it has no such variant."""
    if variant == BASELINE:
        return case
    return generate.variant_of(case, variant).case


def contents(prepared: Prepared, planned: Collection[PlannedTrial]) -> dict[tuple[str, str], str]:
    """(case, variant) → digest of its content, of the planned ones (`engine.fingerprint.contents`)."""
    cases = by_id(prepared.suite)
    return fingerprints.contents(
        planned, prepared.files, lambda case, variant: variant_case(cases[case], variant)
    )


def contents_where_possible(
    prepared: Prepared, planned: Collection[PlannedTrial]
) -> dict[tuple[str, str], str]:
    """As `contents`, without the variants that its cases don't have."""
    made = {case.id: {BASELINE, *_variant_names(case)} for case in prepared.suite.cases}
    return contents(prepared, [trial for trial in planned if trial.variant in made.get(trial.case, ())])


def cases_kept(prepared: Prepared, planned: Collection[PlannedTrial]) -> bytes:
    """What the ledger keeps of the planned cases beside the suite: digests of their contents, and their places."""
    digests = contents(prepared, planned)
    named = {case for case, _ in digests}
    places = [
        [case.id, case.source_file or None, case.source_line or None]
        for case in prepared.suite.cases
        if case.id in named
    ]
    kept = {"contents": [[*key, digest] for key, digest in digests.items()], "places": places}
    return json.dumps(kept, separators=(",", ":")).encode("ascii")


def by_id(suite: Suite) -> dict[str, Case]:
    return {case.id: case for case in suite.cases}


def failed_before(request: RunRequest, source: Source) -> set[str] | None:
    """The cases that `last_failed` of the request keeps; None when it was not asked for."""
    if not request.last_failed:
        return None
    return last_failed(source.project.root / LEDGER_FOLDER, source.suite.suite)
