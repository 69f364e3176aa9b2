"""Aegis on hardware virtualisation: the real driver on a host whose KVM works. One machine runs it all."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest
from nested_host import HostRun

pytestmark = [pytest.mark.nested, pytest.mark.timeout(3600), pytest.mark.xdist_group("nested")]


def test_the_host_ends_by_itself(host: HostRun) -> None:
    assert host.ended.code == 0, host.tell()
    assert host.summary, host.tell()


def test_the_doctor_finds_that_kvm_works(host: HostRun) -> None:
    assert host.step("doctor")["code"] == 0, host.tell()
    found = json.loads(host.text("doctor.json"))
    assert (found["ready"], found["accel"], found["security_boundary"]) == (True, "kvm", True), found


def test_the_driver_keeps_its_contract(host: HostRun) -> None:
    assert host.step("driver")["code"] == 0, host.tell()
    suites = ElementTree.fromstring(host.text("driver.xml")).iter("testsuite")
    counts = [
        {key: int(suite.get(key, "0")) for key in ("tests", "failures", "errors", "skipped")}
        for suite in suites
    ]
    assert sum(count["tests"] for count in counts) >= 10, counts
    assert not any(count["failures"] + count["errors"] + count["skipped"] for count in counts), host.tell(
        "driver"
    )


def test_an_evaluation_reports_a_security_boundary(host: HostRun) -> None:
    assert host.step("eval")["code"] == 0, host.tell()
    document = json.loads(host.text("run.json"))
    assert (document["verdict"], document["counts"]["passed"]) == ("PASS", 2), document
    isolation = document["isolation"]
    assert (isolation["driver"], isolation["accel"], isolation["security_boundary"]) == ("qemu", "kvm", True)


def test_no_machine_was_emulated(host: HostRun) -> None:
    assert host.summary.get("accelerations") == ["kvm"], host.tell()
