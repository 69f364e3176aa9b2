"""Real machines. One driver and event loop for each module; templates are kept in the user's cache folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite(
    "support.conformance_changes",
    "support.conformance_dial",
    "support.conformance_exec",
    "support.conformance_files",
    "support.conformance_life",
    "support.conformance_network",
    "support.sandbox_bench",
)

from aegis.sandbox.select import open_driver  # noqa: E402
from support.host_state import own_temporary_folder  # noqa: E402
from support.sandbox_bench import Bench, open_bench  # noqa: E402


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("temporary")
    with own_temporary_folder(folder), open_bench(lambda: open_driver("vm", base_dir=Path("/"))) as opened:
        yield opened
