"""What a run would do, without doing any of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from aegis._eval import prepare
from aegis._eval.prepare import Prepared, Source
from aegis._eval.request import RunRequest
from aegis.engine.plan import shuffled
from aegis.engine.spec import PlannedTrial
from aegis.stress import generate
from aegis.suite.model import Case


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do (`aegis eval run --dry-run`)."""

    source: Source
    prepared: Prepared
    trials: tuple[PlannedTrial, ...]
    """In the order of the run."""
    seed: int
    files_bytes: int
    """Size of the archive that would go into the template."""

    def variants(self, case: Case) -> dict[str, float]:
        """The variants of a case that would run, each with the seconds that it adds to a trial's time."""
        planned = {trial.variant for trial in self.trials if trial.case == case.id}
        return {
            variant.name: 0.0 if self.prepared.timeout_s else variant.case.added_time - case.added_time
            for variant in generate.variants_of(case).variants
            if variant.name in planned
        }


def plan(request: RunRequest) -> Plan:
    """What `run` with these arguments would do. Reads the project; writes and starts nothing."""
    request.check()
    source = prepare.find(request)
    failed = prepare.failed_before(request, source)
    planned, seed = prepare.choose(request, source.suite, failed)
    measured = _Measure()
    prepared = prepare.read_files(source, measured, request.timeout_s)
    size = measured.sizes.get(prepared.recipe.files or "", 0)
    return Plan(source, prepared, shuffled(planned, seed), seed, size)


class _Measure:
    """Takes the place of the blobs where nothing may be written: keeps sizes only."""

    def __init__(self) -> None:
        self.sizes: dict[str, int] = {}

    def put(self, data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        self.sizes[digest] = len(data)
        return digest

    def get(self, digest: str) -> bytes:
        raise KeyError(digest)
