"""The driver `process` keeps the contract of every driver, as far as a plain host can."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from aegis.sandbox.process import ProcessDriver
from support.conformance_exec import (
    AttachConformance,
    EndingConformance,
    ExecConformance,
    RunConformance,
    TerminalConformance,
)
from support.sandbox_bench import Bench, open_bench


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with open_bench(ProcessDriver) as opened:
        yield opened


class TestExec(ExecConformance):
    pass


class TestTerminal(TerminalConformance):
    pass


class TestEnding(EndingConformance):
    pass


class TestAttach(AttachConformance):
    pass


class TestRun(RunConformance):
    pass
