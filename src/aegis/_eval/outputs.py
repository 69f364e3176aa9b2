"""The files that a run leaves where its caller asked for them."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aegis._eval import spans
from aegis.errors import UsageError
from aegis.report import junit
from aegis.report.progress import write_line
from aegis.report.text import one_line
from aegis.results import Ledger
from aegis.results import document as documents
from aegis.results.files import write_atomic
from aegis.trace.otlp_http import check_url

STDOUT = "-"


@dataclass(frozen=True, slots=True)
class Outputs:
    """Paths, `-` for standard output, or None; and the URL of a collector of spans."""

    json_path: str | Path | None = None
    junit_path: str | Path | None = None
    otlp: str | None = None

    def check(self) -> None:
        """Refuse paths and URLs that can't be used now, not after the run. Raises `UsageError`."""
        if self.otlp is not None:
            check_url(self.otlp)
        paths = [path for path in (self.json_path, self.junit_path) if path is not None]
        if len(paths) == 2 and os.fspath(paths[0]) == os.fspath(paths[1]):
            raise UsageError(f"both outputs go to {paths[0]}", fix="give each its own path")
        for path in paths:
            if os.fspath(path) != STDOUT:
                _check(Path(path))

    @property
    def use_stdout(self) -> bool:
        return STDOUT in (self.json_path, self.junit_path)

    def write(self, document: Mapping[str, Any]) -> None:
        """Raises `UsageError` or `InfrastructureError` for a path that can't be written."""
        if self.json_path is not None:
            _write(self.json_path, documents.to_json(document))
        if self.junit_path is not None:
            _write(self.junit_path, junit.render(document))

    def write_bytes(self, data: bytes) -> None:
        """The same for another document than a run's, which has no JUnit form."""
        if self.json_path is not None:
            _write(self.json_path, data)

    def export(self, document: Mapping[str, Any], ledger: Ledger) -> None:
        """Send the trials' spans. Where that fails, one line on standard error says so: it is no part of the run."""
        if self.otlp is None:
            return
        try:
            spans.send_all(self.otlp, document, ledger)
        except Exception as error:
            write_line(sys.stderr, f"WARNING: not all spans were exported: {one_line(str(error), 400)}")


def _check(path: Path) -> None:
    if path.is_dir():
        raise UsageError(f"cannot write {path}: it is a folder", fix="name a file in it")
    if not path.parent.is_dir():
        raise UsageError(
            f"cannot write {path}: there is no folder {path.parent}", fix=f"mkdir -p {path.parent}"
        )


def _write(path: str | Path, data: bytes) -> None:
    if os.fspath(path) != STDOUT:
        write_atomic(path, data)
        return
    sys.stdout.flush()
    binary = getattr(sys.stdout, "buffer", None)
    if binary is None:  # a replaced stream without bytes, as in notebooks
        sys.stdout.write(data.decode())
    else:
        binary.write(data)
        binary.flush()
