"""What `aegis eval run --dry-run` prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from aegis._eval.header import counted
from aegis._eval.images import image_digest
from aegis.report.text import one_line
from aegis.sandbox.base import MIB

if TYPE_CHECKING:
    from aegis.eval import Plan


def describe(plan: Plan, *, isolation: str) -> Iterator[str]:
    """Lines: the suite, each case with its trials, the order, and what would be built."""
    suite = plan.source.suite
    counts = Counter(trial.case for trial in plan.trials)
    number = f"{counted(len(plan.trials), 'trial')} of {counted(len(counts), 'case')}"
    yield f"suite {suite.suite}: {number}, seed {plan.seed}"
    what = "one virtual machine for each trial" if isolation == "vm" else "NONE, plain processes"
    yield f"isolation: {what}"
    yield ""
    yield "cases:"
    for case in suite.cases:
        if case.id in counts:
            timeout_s = plan.prepared.timeout_s or case.timeout or suite.timeout
            yield f"  {one_line(case.id)}: {counts[case.id]} × at most {timeout_s:g} s of the agent's time"
    yield ""
    yield f"order: {one_line(', '.join(map(str, plan.trials)))}"
    yield ""
    yield from _template(plan, isolation)


def _template(plan: Plan, isolation: str) -> Iterator[str]:
    recipe = plan.prepared.recipe
    yield "template, made once for all trials:" if isolation == "vm" else "made again for each trial:"
    if isolation == "vm":
        image = plan.source.suite.sandbox.image
        state = (
            "in the cache"
            if image_digest(image, plan.source.project.root)
            else "not in the cache, built first"
        )
        machine = f"{recipe.memory_bytes // MIB} MiB, {counted(recipe.cpus, 'processor')}"
        yield f"  image {one_line(image)} ({state}), {machine}"
    yield f"  {counted(plan.files_bytes, 'byte')} of files (sandbox.files)"
    for step in recipe.setup:
        yield f"  set-up step: {one_line(step)}"
    for process in recipe.prepared:
        yield f"  prepared process: {one_line(' '.join(process.argv))}"
