"""Choosing the driver of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from aegis.errors import UsageError
from aegis.sandbox.base import Driver

VMMS = ("qemu",)


def open_driver(
    isolation: Literal["vm", "none"],
    *,
    base_dir: Path,
    vmm: str | None = None,
    require_kvm: bool = False,
    jobs: int = 2,
    cache_dir: Path | None = None,
    keepable: bool = False,
) -> Driver:
    """The driver for an isolation; an asynchronous context manager.

    `base_dir`: the project's folder, which image files are relative to. `vmm` forces one of `VMMS`. `jobs`: how many
    trials will run at once (bounds the warm pool). `keepable`: machines can be kept (`sandbox/kept.py`), for which each
    needs memory of its own. Raises UsageError; entering it raises HostNeedsError.
    """
    from aegis.sandbox.images.cache import cache_folder

    if vmm is not None and vmm not in VMMS:
        raise UsageError(f"unknown virtual machine monitor {vmm!r}", fix=f"use one of: {', '.join(VMMS)}")
    if isolation == "none":
        if require_kvm or vmm:
            raise UsageError("--require-kvm and --vmm need --isolation=vm", fix="leave them away")
        from aegis.sandbox.process import ProcessDriver

        return ProcessDriver(jobs=jobs)
    if isolation != "vm":
        raise UsageError(f"unknown isolation {isolation!r}", fix="use vm or none")
    from aegis.sandbox.qemu.driver import QemuDriver

    return QemuDriver(
        base_dir=base_dir,
        cache_dir=cache_dir or cache_folder(),
        jobs=jobs,
        require_kvm=require_kvm,
        keepable=keepable,
    )
