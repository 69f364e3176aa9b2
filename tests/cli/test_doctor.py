"""`aegis doctor` names what is missing, with its fix, and its exit code says whether machines can run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from aegis.cli.doctor import doctor
from aegis.sandbox import needs
from aegis.sandbox.needs import Need

QEMU = Need("qemu-system-x86_64", True, "runs the machines", None, "/usr/bin/qemu-system-x86_64")
NO_QEMU = Need("qemu-system-x86_64", False, "runs the machines", "apt-get install -y qemu", "not found")
NO_SKOPEO = Need("skopeo", False, "fetches images", "apt-get install -y skopeo", "not found", required=False)


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Without boot files nothing is probed, so these tests need no QEMU and take no time."""
    monkeypatch.setenv("AEGIS_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def run(monkeypatch: pytest.MonkeyPatch, found: list[Need], *args: str) -> Result:
    monkeypatch.setattr(needs, "needs", lambda cache_dir=None: found)
    return CliRunner().invoke(doctor, args, standalone_mode=False)


def test_what_is_missing_has_its_fix_and_exit_code_3(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, [NO_QEMU])
    assert result.return_value == 3
    assert "MISSING   qemu-system-x86_64" in result.output
    assert "fix: apt-get install -y qemu" in result.output
    assert result.output.splitlines()[-1] == "not ready for --isolation=vm: 1 thing is missing"


def test_what_is_optional_has_its_fix_but_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, [QEMU, NO_SKOPEO])
    assert result.return_value == 0
    assert "fix: apt-get install -y skopeo" in result.output
    assert "MISSING" not in result.output


def test_images_that_are_not_made_yet_are_said_and_not_made(
    monkeypatch: pytest.MonkeyPatch, empty_cache: Path
) -> None:
    result = run(monkeypatch, [QEMU])
    assert result.return_value == 0
    assert result.output.count("not made yet") == 2
    assert "fix: aegis setup" in result.output
    assert not list(empty_cache.glob("boot/*")) + list(empty_cache.glob("images/*/*"))


def test_json_has_every_check(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, [QEMU, NO_SKOPEO, NO_QEMU], "--json")
    assert result.return_value == 3
    data = json.loads(result.output)
    assert (data["ready"], data["accel"], data["security_boundary"]) == (False, None, None)
    by_name = {check["name"]: check for check in data["checks"]}
    assert by_name["skopeo"]["status"] == "optional"
    assert by_name["skopeo"]["fix"] == "apt-get install -y skopeo"
    assert {check["status"] for check in data["checks"]} == {"ok", "optional", "missing"}


def test_on_this_host_every_miss_has_a_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    result = CliRunner().invoke(doctor, ["--json"], standalone_mode=False)
    assert result.exception is None
    host = [check for check in json.loads(result.output)["checks"] if check["group"] == "host"]
    assert result.return_value == 3
    assert all(check["fix"] for check in host if check["status"] != "ok")
