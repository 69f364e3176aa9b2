"""`aegis doctor`: what this host has for virtual machines, what is missing, and the fix beside each miss."""

from __future__ import annotations

import dataclasses
import json
import platform
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import click

NOT_READY_EXIT_CODE = 3

Status = Literal["ok", "missing", "optional"]
"""`optional`: it is not there, and machines run without it."""


@dataclass(frozen=True, slots=True)
class Check:
    group: str
    name: str
    status: Status
    detail: str
    """What was found."""
    why: str
    """What it is needed for."""
    fix: str | None = None


@dataclass(frozen=True, slots=True)
class Diagnosis:
    checks: tuple[Check, ...]
    accel: str | None
    """What machines will use: `kvm`, `hvf`, `tcg`; None when that could not be tried."""

    @property
    def missing(self) -> int:
        return sum(check.status == "missing" for check in self.checks)

    @property
    def ready(self) -> bool:
        """Whether `--isolation=vm` can run here."""
        return self.missing == 0

    @property
    def security_boundary(self) -> bool | None:
        """Whether machines keep a hostile agent in; None when unknown."""
        return None if self.accel is None else self.accel != "tcg"


@click.command(name="doctor", short_help="Check what this host needs, with the fix beside each miss.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool) -> int:
    """Check everything that virtual machines need here, and print the fix beside each thing that is missing.

    Nothing is installed or built. A probe boots a kernel to see whether hardware virtualisation really works,
    which takes up to some seconds. Exit code 0 when --isolation=vm can run, 3 when not.
    """
    diagnosis = diagnose()
    if as_json:
        click.echo(json.dumps(_to_json(diagnosis), indent=2))
    else:
        _print(diagnosis)
    return 0 if diagnosis.ready else NOT_READY_EXIT_CODE


def diagnose(cache_dir: Path | None = None) -> Diagnosis:
    """Look at the host; `cache_dir` as in `aegis.sandbox.images.cache`. Changes nothing but the probe's memory."""
    host = tuple(_host(cache_dir))
    images = tuple(_images(cache_dir))
    accel, machines = _machines(cache_dir, host)
    return Diagnosis((*host, *images, *machines), accel)


def _host(cache_dir: Path | None) -> Iterator[Check]:
    from aegis.sandbox.needs import needs

    yield Check("host", "Python", "ok", f"{platform.python_version()}, {sys.executable}", "runs Aegis")
    for need in needs(cache_dir):
        status: Status = "ok" if need.ok else "missing" if need.required else "optional"
        yield Check("host", need.name, status, need.detail, need.why, need.fix)


def _images(cache_dir: Path | None) -> Iterator[Check]:
    from aegis.errors import AegisError
    from aegis.sandbox.images import ImageStore
    from aegis.sandbox.images.boot import find_boot_files

    why = "made on first use; aegis setup makes it ahead"
    boot = find_boot_files(cache_dir)
    if boot is None:
        yield Check("images", "boot files", "optional", "not made yet", why, "aegis setup")
    else:
        yield Check("images", "boot files", "ok", f"kernel {boot.kernel_version}", why)
    try:
        image = ImageStore(cache_dir).resolve("debian", base_dir=Path.cwd(), build=False)
    except AegisError:
        yield Check("images", "debian", "optional", "not made yet", why, "aegis setup")
    else:
        yield Check("images", "debian", "ok", f"{image.size_bytes >> 20} MiB, made {image.created}", why)


def _machines(cache_dir: Path | None, host: Sequence[Check]) -> tuple[str | None, tuple[Check, ...]]:
    """What machines will be like. Tried for real, so only where QEMU and a kernel are at hand."""
    import asyncio

    from aegis.sandbox.images.boot import find_boot_files
    from aegis.sandbox.images.cache import cache_folder
    from aegis.sandbox.qemu.launch import confinement, qemu_path, qemu_version
    from aegis.sandbox.qemu.probe import probe

    why = "without it machines are emulated: slower, and no security boundary"
    name = "hardware virtualisation"
    if any(check.status == "missing" and check.name.startswith("qemu") for check in host):
        return None, (Check("machines", name, "optional", "not tried: there is no QEMU", why),)
    boot = find_boot_files(cache_dir)
    if boot is None:
        return None, (Check("machines", name, "optional", "not tried: no kernel yet", why, "aegis setup"),)
    found = asyncio.run(probe(boot.kernel, cache_folder(cache_dir), fresh=True))
    version = Check("machines", "QEMU", "ok", qemu_version(qemu_path()), "runs the machines")
    if found.accel == "tcg":
        fix = "run where KVM works, when a hostile agent must be kept in"
        virtual = Check("machines", name, "optional", found.kvm, why, fix)
    else:
        virtual = Check("machines", name, "ok", found.kvm, "machines are fast and a security boundary")
    return found.accel, (version, virtual, _confinement(confinement()))


def _confinement(words: Sequence[str]) -> Check:
    why = "an agent that breaks out of its machine finds no more than this"
    name = "confined QEMU process"
    lacking = [
        text
        for text, there in (
            ("setpriv is not there", bool(words)),
            ("no user namespaces", any("unshare" in word for word in words)),
        )
        if not there
    ]
    if lacking:
        fix = "install util-linux, and allow user namespaces (sysctl user.max_user_namespaces)"
        return Check("machines", name, "optional", "not fully: " + ", ".join(lacking), why, fix)
    return Check("machines", name, "ok", "own namespaces, no new privileges, no network", why)


def _to_json(diagnosis: Diagnosis) -> dict[str, object]:
    return {
        "ready": diagnosis.ready,
        "accel": diagnosis.accel,
        "security_boundary": diagnosis.security_boundary,
        "checks": [dataclasses.asdict(check) for check in diagnosis.checks],
    }


def _print(diagnosis: Diagnosis) -> None:
    width = max(len(check.name) for check in diagnosis.checks)
    group = None
    for check in diagnosis.checks:
        if check.group != group:
            group = check.group
            click.echo(f"{group}")
        mark = {"ok": "ok      ", "missing": "MISSING ", "optional": "optional"}[check.status]
        click.echo(f"  {mark}  {check.name.ljust(width)}  {' '.join(check.detail.split())}")
        if check.status != "ok":
            click.echo(f"            {' ' * width}  {check.why}")
            if check.fix:
                click.echo(f"            {' ' * width}  fix: {check.fix}")
    click.echo()
    click.echo(_summary(diagnosis))


def _summary(diagnosis: Diagnosis) -> str:
    if not diagnosis.ready:
        things = "1 thing is missing" if diagnosis.missing == 1 else f"{diagnosis.missing} things are missing"
        return f"not ready for --isolation=vm: {things}"
    if diagnosis.accel is None:
        return (
            "ready for --isolation=vm; whether by hardware or software, aegis doctor tells after aegis setup"
        )
    if diagnosis.security_boundary is False:
        return (
            "ready for --isolation=vm, by software emulation: each trial has its own machine, "
            "but this is no security boundary"
        )
    return "ready for --isolation=vm, by hardware virtualisation"
