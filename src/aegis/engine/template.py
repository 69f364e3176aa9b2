"""What all trials of a run start from, and the files that each case adds: read from the project once, kept as
blobs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aegis import services
from aegis.engine import taps
from aegis.engine.files import find_below, pack_project, pack_world
from aegis.engine.ports import BlobStore
from aegis.engine.spec import TemplateRecipe
from aegis.errors import UsageError
from aegis.sandbox.base import MAX_GET_BYTES, PreparedProcess
from aegis.scoring.base import Scorer
from aegis.suite.model import Case, Suite


@dataclass(frozen=True, slots=True)
class CaseFiles:
    """Digests of the files of one case."""

    world: str | None = None
    checks: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"world": self.world, "checks": dict(self.checks)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CaseFiles:
        """The inverse of `to_json`."""
        return cls(world=data["world"], checks=dict(data["checks"]))


def make_recipe(
    suite: Suite,
    *,
    root: Path,
    secret: Iterable[Path],
    prepared: tuple[PreparedProcess, ...],
    blobs: BlobStore,
    tap: bool = False,
) -> TemplateRecipe:
    """Pack `sandbox.files` and describe the template. The program `aegis-mcp-tap` goes into it when `tap` says so, or
    anything here names it. Raises `UsageError` like `pack_project`."""
    config = suite.sandbox
    made = [services.make(service) for service in config.services]
    archive = pack_project(root, config.files, secret=secret)
    if tap or taps.is_named(suite) or taps.NAME.encode() in (archive or b""):
        archive = taps.with_tap(archive)
    return TemplateRecipe(
        image=config.image,
        memory_bytes=config.memory,
        cpus=config.cpus,
        files=None if archive is None else blobs.put(archive),
        setup=config.setup,
        setup_timeout_s=config.setup_timeout,
        env=dict(config.env),
        prepared=prepared,
        layers=tuple(layer for _, layer in made if layer is not None),
        services=tuple(spec for spec, _ in made),
        made_for={"suite": suite.suite, "project": str(root)},
    )


def load_case_files(
    case: Case, *, base: Path, root: Path, scorer: Callable[[str], Scorer], blobs: BlobStore
) -> CaseFiles:
    """Read the case's world and the files that its scorers name, both relative to `base`, the suite file's
    folder.

    Raises `UsageError` for a file that is missing, unreadable, too large or outside the project.
    """
    archive = pack_world(base, root, case.world.files, case_id=case.id)
    checks: dict[str, str] = {}
    for expectation in case.expect:
        for name in scorer(expectation.scorer).files(expectation.config):
            checks[name] = blobs.put(_read_check(base, root, name, f"case {case.id!r}: {expectation.scorer}"))
    return CaseFiles(None if archive is None else blobs.put(archive), checks)


def _read_check(base: Path, root: Path, name: str, what: str) -> bytes:
    path = find_below(base, root, name, what)
    if path.is_dir():
        raise UsageError(f"{what}: {name!r} is a folder", fix="name the files one by one")
    try:
        if path.stat().st_size > MAX_GET_BYTES:
            raise UsageError(f"{what}: {name!r} is larger than {MAX_GET_BYTES} bytes")
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{what}: cannot read {path}: {error.strerror}") from error
