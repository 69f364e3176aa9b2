"""A smallest set of faults under which a trial still fails, found by running it again."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aegis import agents
from aegis._eval.importable import importable
from aegis._eval.network import make_network, resolve_suite
from aegis._eval.prepare import LEDGER_FOLDER, Prepared, by_id
from aegis._eval.reproduction import as_yaml, reproduction, suite_name
from aegis._eval.request import isolation_of
from aegis._eval.session import ANSWERS_FOLDER, Setting
from aegis.engine.network import RunNetwork
from aegis.engine.shrink import smallest
from aegis.engine.spec import PlannedTrial, TrialResult, TrialSpec
from aegis.engine.trial import TrialTools, run_trial
from aegis.errors import InfrastructureError, UsageError
from aegis.llm.cache import FolderCache
from aegis.results import Ledger, RunRecord
from aegis.results import document as documents
from aegis.results.show import find_trial, split_trial
from aegis.sandbox.select import open_driver
from aegis.scoring import registry
from aegis.suite import find_project
from aegis.suite.model import FaultRule
from aegis.trace.faults import FaultReport

Say = Callable[[str], None]
RETRIES = 2
"""Of a re-run that ended in an infrastructure error."""


@dataclass(frozen=True)
class ShrinkResult:
    """What came of it."""

    trial: str
    """`RUN/CASE/NUMBER`, with the run's whole id."""
    hit: tuple[str, ...]
    """Ids of the faults that had hit the trial."""
    needed: tuple[FaultRule, ...]
    """Those under which it still fails; empty when it fails without any, or did not fail again."""
    fails: bool
    """Whether it failed again under all of them."""
    minimal: bool
    """Whether each of the needed ones was shown to be needed; False when the budget ended before."""
    runs: int
    """How often the trial was run again."""
    reason: str
    """Why it failed under the needed ones."""
    suite: str
    """A suite file (YAML) that reproduces it; "" when there is none."""
    suite_name: str

    def to_json(self) -> dict[str, Any]:
        data = dataclasses.asdict(self)
        data["needed"] = [rule.model_dump(mode="json", exclude_defaults=True) for rule in self.needed]
        return data


async def shrink(
    written: str, *, budget: int, repeat: int, project: str | Path | None, say: Say
) -> ShrinkResult:
    """Raises like `aegis.eval.shrink`."""
    if budget < 2 or repeat < 1:
        raise UsageError("the budget must be at least 2 runs, and each set must run at least once")
    run, case = split_trial(written)
    found = find_project(Path(project or "."))
    folder = found.root / LEDGER_FOLDER
    if not (folder / "ledger.db").exists():
        raise UsageError(f"there are no runs in {folder}", fix="aegis eval run --suite NAME")
    with closing(Ledger(folder)) as ledger:
        record = ledger.run(run)
        document = record.document or documents.build(record, ledger.trials(record.run_id))
        work = _Shrink(ledger, record, find_trial(document, case), found.root, say, budget, repeat)
        with importable(found.root, Path(record.config["suite_path"]).parent):
            return await work.run()


class _Shrink:
    def __init__(
        self,
        ledger: Ledger,
        record: RunRecord,
        entry: dict[str, Any],
        root: Path,
        say: Say,
        budget: int,
        repeat: int,
    ) -> None:
        self._ledger = ledger
        self._record = record
        self._root = root
        self._say = say
        self._budget = budget
        self._repeat = repeat
        self._runs = 0
        self._name = f"{record.run_id}/{entry['case']}/{entry['number']}"
        if entry["outcome"] not in ("failed", "timeout"):
            raise UsageError(
                f"trial {self._name} did not fail ({entry['outcome']}): there is nothing to shrink"
            )
        self._missed = {score["scorer"] for score in entry["scores"] if not score["passed"]}
        self._prepared = Prepared.from_json(json.loads(ledger.blobs.get(record.config["content"])))
        self._planned = PlannedTrial(entry["case"], entry["variant"], entry["number"])
        self._weather: int = entry.get("weather") or entry["number"]
        self._case = by_id(self._prepared.suite)[entry["case"]]
        fired = {fault["id"] for fault in entry["faults"] if fault["fired"]}
        self._hit = tuple(rule for rule in self._case.faults if rule.id in fired)
        if not self._hit:
            raise UsageError(
                f"no fault has hit trial {self._name}: it failed by itself",
                fix=f"aegis trace show {self._name}",
            )
        self._tools: TrialTools | None = None
        self._last: TrialResult | None = None

    async def run(self) -> ShrinkResult:
        requested = self._record.config["requested"]
        setting = Setting(
            isolation=isolation_of(requested["isolation"]),
            vmm=requested["vmm"],
            require_kvm=requested["require_kvm"],
            jobs=1,
            retries=RETRIES,
            seed=self._record.config["seed"],
        )
        resolved = resolve_suite(self._prepared.suite, replay=False)
        network = make_network(resolved, self._prepared, (self._planned,), setting, self._ledger, self._root)
        recipe = self._prepared.recipe
        spec = recipe.spec(b"" if recipe.files is None else self._ledger.blobs.get(recipe.files))
        async with open_driver(
            setting.isolation,
            base_dir=self._root,
            vmm=setting.vmm,
            require_kvm=setting.require_kvm,
            jobs=1,
        ) as driver:
            template = await driver.template(spec, progress=self._say)
            async with network:
                self._tools = self._make_tools(driver, template, network)
                return await self._search()

    def _make_tools(self, driver: Any, template: Any, network: RunNetwork) -> TrialTools:
        return TrialTools(
            driver=driver,
            template=template,
            blobs=self._ledger.blobs,
            agent_driver=agents.get,
            scorer=registry.get,
            network=network,
            answers=FolderCache(self._ledger.folder / ANSWERS_FOLDER),
        )

    async def _search(self) -> ShrinkResult:
        self._say(f"{self._name} was hit by {len(self._hit)}: {_named(self._hit)}")
        if not await self._fails(self._hit):
            return self._result((), fails=False, minimal=False)
        if await self._fails(()):
            return self._result((), fails=True, minimal=True)
        # What is left over is for the last run, which proves the reproduction.
        found = await smallest(self._hit, self._fails, budget=max(0, (self._budget - 3) // self._repeat))
        return await self._proven(found.kept, minimal=found.minimal)

    async def _proven(self, kept: tuple[FaultRule, ...], *, minimal: bool) -> ShrinkResult:
        """With a suite of its own that says by numbers what a hash had decided, if it fails there too; else the suite
        keeps the names that the hash depends on."""
        assert self._last is not None
        seen = {} if self._last.trace is None else {report.id: report for report in self._last.trace.faults}
        suite = self._prepared.suite
        plain = tuple(_explicit(rule, seen.get(rule.id)) for rule in kept)
        name = suite_name(suite, self._case)
        alone = reproduction(suite, self._case, plain, name=name, trials=1)
        spec = dataclasses.replace(self._spec(plain), suite=name, number=1, like=None)
        if await self._run_fails(spec, f"the reproduction {name}"):
            return self._result(plain, fails=True, minimal=minimal, suite=as_yaml(alone), name=name)
        number = self._weather
        alone = reproduction(suite, self._case, kept, name=suite.suite, trials=number)
        text = f"# The weather is this trial's only under this suite's name; trial {number} is the one that fails.\n"
        return self._result(kept, fails=True, minimal=minimal, suite=text + as_yaml(alone), name=suite.suite)

    async def _fails(self, rules: tuple[FaultRule, ...]) -> bool:
        what = f"{len(rules)} of {len(self._hit)} faults ({_named(rules)})" if rules else "no fault"
        return await self._run_fails(self._spec(rules), what)

    async def _run_fails(self, spec: TrialSpec, what: str) -> bool:
        for _ in range(self._repeat):
            result = await self._again(spec)
            failed = result.outcome in ("failed", "timeout") and self._same_failure(result)
            self._say(f"run {self._runs}: {what}: {result.outcome} {result.reason}".rstrip())
            if failed:
                self._last = result
                return True
        return False

    def _same_failure(self, result: TrialResult) -> bool:
        """Whether a scorer that had failed fails again; a trial that never came to scoring has no such scorer."""
        missed = {score.scorer for score in result.scores if not score.passed}
        return not self._missed or not missed or bool(self._missed & missed)

    async def _again(self, spec: TrialSpec) -> TrialResult:
        assert self._tools is not None
        for _ in range(RETRIES + 1):
            self._runs += 1
            result = (await run_trial(spec, self._tools)).result
            if result.outcome != "error":
                return result
        raise InfrastructureError(
            f"{self._name} cannot be run again: {result.reason}", fix="run aegis doctor"
        )

    def _spec(self, rules: tuple[FaultRule, ...]) -> TrialSpec:
        free = tuple(rule.model_copy(update={"require_fired": False}) for rule in rules)
        cases = by_id(self._prepared.suite)
        spec = self._prepared.spec(self._record.run_id, self._planned, 1, cases, like=self._weather)
        return dataclasses.replace(spec, case=self._case.model_copy(update={"faults": free}))

    def _result(
        self,
        needed: tuple[FaultRule, ...],
        *,
        fails: bool,
        minimal: bool,
        suite: str = "",
        name: str = "",
    ) -> ShrinkResult:
        return ShrinkResult(
            trial=self._name,
            hit=tuple(rule.id for rule in self._hit),
            needed=needed,
            fails=fails,
            minimal=minimal,
            runs=self._runs,
            reason="" if self._last is None else self._last.reason,
            suite=suite,
            suite_name=name,
        )


def _explicit(rule: FaultRule, seen: FaultReport | None) -> FaultRule:
    """The rule with the numbers of the matches that it hit in place of its probability."""
    if rule.probability is None or seen is None or not seen.hits:
        return rule
    update = {"probability": None, "on": seen.hits, "first": None, "last": None, "every": None, "after": None}
    return rule.model_copy(update=update)


def _named(rules: tuple[FaultRule, ...]) -> str:
    return ", ".join(rule.id for rule in rules)
