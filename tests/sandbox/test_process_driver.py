"""The driver `process` keeps the contract of every driver, as far as a plain host can."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from aegis.errors import SandboxLostError
from aegis.sandbox.process import ProcessDriver
from support.conformance_changes import ChangesConformance
from support.conformance_dial import DialConformance
from support.conformance_exec import (
    SPEC,
    AttachConformance,
    EndingConformance,
    ExecConformance,
    RunConformance,
    TerminalConformance,
)
from support.conformance_files import GetConformance, PutConformance, TreeConformance
from support.conformance_life import LifeConformance, TemplateConformance
from support.conformance_network import NetworkConformance
from support.host_state import host_state, nothing_left, own_temporary_folder
from support.sandbox_bench import Bench, open_bench


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with own_temporary_folder(tmp_path_factory.mktemp("temporary")), open_bench(ProcessDriver) as opened:
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


class TestDial(DialConformance):
    pass


class TestPut(PutConformance):
    pass


class TestGet(GetConformance):
    pass


class TestTree(TreeConformance):
    pass


class TestLife(LifeConformance):
    pass


class TestTemplate(TemplateConformance):
    pass


class TestNetwork(NetworkConformance):
    pass


def test_leaving_the_driver_destroys_every_sandbox(bench: Bench) -> None:
    async def body() -> None:
        before = host_state()
        async with ProcessDriver() as driver:
            template = await driver.template(SPEC)
            sandboxes = [await driver.start(template) for _ in range(3)]
            waiting = await sandboxes[0].exec(("sleep", "1000"))
        await nothing_left(before)
        with pytest.raises(SandboxLostError):
            await waiting.wait()

    bench.run(body)


def test_it_claims_no_isolation(bench: Bench) -> None:
    info = bench.driver.info
    assert (info.driver, info.accel, info.security_boundary, info.isolated_state) == (
        "process",
        None,
        False,
        False,
    )
    assert "NO ISOLATION" in (info.note or "")


class TestChanges(ChangesConformance):
    pass
