"""The driver `qemu` keeps the contract of every driver, in real machines."""

from __future__ import annotations

from pathlib import Path

import pytest

from aegis.errors import SandboxLostError
from aegis.sandbox.select import open_driver
from support.conformance_dial import DialConformance
from support.conformance_exec import (
    SPEC,
    AttachConformance,
    EndingConformance,
    ExecConformance,
    RunConformance,
)
from support.conformance_life import LifeConformance
from support.conformance_network import NetworkConformance
from support.conformance_services import ServicesConformance
from support.host_state import host_state, nothing_left
from support.sandbox_bench import Bench

pytestmark = pytest.mark.vm


class TestExec(ExecConformance):
    pass


class TestEnding(EndingConformance):
    pass


class TestAttach(AttachConformance):
    pass


class TestRun(RunConformance):
    pass


class TestDial(DialConformance):
    pass


class TestServices(ServicesConformance):
    pass


class TestLife(LifeConformance):
    pass


class TestNetwork(NetworkConformance):
    pass


def test_leaving_the_driver_destroys_every_machine(bench: Bench) -> None:
    async def body() -> None:
        before = host_state()
        async with open_driver("vm", base_dir=Path("/")) as driver:
            template = await driver.template(SPEC)
            driver.expect(template, 2)
            sandboxes = [await driver.start(template) for _ in range(2)]
            waiting = await sandboxes[0].exec(("sleep", "1000"))
        await nothing_left(before)
        with pytest.raises(SandboxLostError):
            await waiting.wait()

    bench.run(body)


def test_it_claims_a_boundary_for_hardware_virtualisation_only(bench: Bench) -> None:
    info = bench.driver.info
    assert (info.driver, info.isolated_state) == ("qemu", True)
    assert info.security_boundary == (info.accel != "tcg")
    assert (info.note is None) == info.security_boundary
