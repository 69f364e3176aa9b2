"""A host whose KVM works, run once for all tests here."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from nested_host import HostRun, run_checks

from aegis.sandbox.images.cache import cache_folder

_RUN = pytest.StashKey[HostRun]()


@pytest.fixture(scope="session")
def host(request: pytest.FixtureRequest) -> HostRun:
    """What the checks inside the KVM host gave. Its drives and logs are removed; the texts are kept."""
    with tempfile.TemporaryDirectory(prefix="kvm-host-") as folder:
        done = run_checks(cache_folder(), Path(folder))
    request.config.stash[_RUN] = done
    return done


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if (done := config.stash.get(_RUN, None)) is not None:
        terminalreporter.write_line(f"nested KVM host: {done.times()}")
