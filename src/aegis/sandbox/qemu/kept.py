"""Kept machines: copies of running ones in a folder each, restored from there any number of times.

A folder holds `memory.zst` (the pages in which the machine's memory differs from its template's), `state.zst` (device
state) and `meta.json` (what it takes to restore it). It appears whole, by rename. The machine stands still only while
its device state is saved and its memory compared; compression and the disk come after.

The memory of a clone is its own private view of the template's, which QEMU can neither leave out of a saved state nor
show to anybody else. A machine that is to be kept therefore gets a copy of the template's memory as a memory file that
this process shares: then device state is saved as a template's is, and the comparison needs no privilege, whoever runs
it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aegis.errors import SandboxError, SandboxStartError
from aegis.sandbox.atrest import LinkAtRest
from aegis.sandbox.kept import Copied
from aegis.sandbox.qemu import delta, memory
from aegis.sandbox.qemu.command import MachineShape
from aegis.sandbox.qemu.machine import Machine, save_state

FORMAT = 1
MAX_STATE_BYTES = 64 * 1024 * 1024
MEMORY, STATE, META = "memory.zst", "state.zst", "meta.json"


@dataclass(frozen=True, slots=True)
class Origin:
    """What a machine was made of; a restore needs the same."""

    template: str
    """Key of its template."""
    image: str
    """Digest."""
    image_ref: str
    boot: str
    """Digest of kernel, initial file system and guest program."""
    version: str
    """Of the monitor."""
    cpu: str
    """The host's processor; "" in software, where it does not matter."""
    shape: MachineShape

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Origin:
        """The inverse of `to_json`."""
        return cls(**{**data, "shape": MachineShape(**data["shape"])})


@dataclass(frozen=True, slots=True)
class Meta:
    """What `meta.json` holds."""

    origin: Origin
    env: Mapping[str, str]
    identity: Mapping[str, Any]
    link: LinkAtRest
    program: int | None
    notes: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "origin": self.origin.to_json(),
            "env": dict(self.env),
            "identity": dict(self.identity),
            "link": self.link.to_json(),
            "program": self.program,
            "notes": dict(self.notes),
        }


def host_cpu(accel: str) -> str:
    """What a machine's processor features depend on."""
    if accel == "tcg":
        return ""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


async def keep(
    machine: Machine,
    base: int,
    folder: Path,
    *,
    origin: Origin,
    env: Mapping[str, str],
    program: int | None,
    notes: Mapping[str, Any],
) -> Copied:
    """As `Keepable.keep` says. `base`: the template's memory."""
    begun = time.monotonic()
    state = memory.create("state")
    try:
        link, runs, paused_s = await _stand_still(machine, base, state)
        meta = Meta(origin, env, machine.identity, link, program, notes)
        size = await asyncio.to_thread(_write, folder, meta, runs, state)
    except OSError as error:
        raise SandboxError(
            f"cannot keep the machine in {folder.parent}: {error.strerror}",
            fix="free some space there, or keep fewer machines",
        ) from None
    finally:
        os.close(state)
    return Copied(size, paused_s, time.monotonic() - begun)


async def _stand_still(machine: Machine, base: int, state: int) -> tuple[LinkAtRest, list[delta.Run], float]:
    if machine.own_ram is None:
        raise SandboxError("this machine was not started to be kept")
    begun = time.monotonic()
    try:
        await machine.mux.still()
        await machine.vmm.execute("stop")
        try:
            link = machine.mux.at_rest()
            await save_state(machine.vmm, state)
            comparing = asyncio.ensure_future(asyncio.to_thread(delta.differing, base, machine.own_ram))
            try:
                runs = await asyncio.shield(comparing)
            finally:
                await asyncio.wait([comparing])  # nobody may close the file that a thread reads
        finally:
            with contextlib.suppress(SandboxError):  # it is gone: whoever uses it next is told
                await machine.vmm.execute("cont")
    finally:
        machine.mux.go_on()
    return link, runs, time.monotonic() - begun


def _write(folder: Path, meta: Meta, runs: list[delta.Run], state: int) -> int:
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    staging = Path(tempfile.mkdtemp(prefix=".", dir=folder.parent))
    try:
        size = delta.write(runs, staging / MEMORY) + delta.write_state(state, staging / STATE)
        size += (staging / META).write_bytes(json.dumps(meta.to_json(), indent=1).encode())
        os.rename(staging, folder)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return size


def read(folder: Path) -> Meta:
    """Raises SandboxStartError for what is not there or cannot be read."""
    try:
        data = json.loads((folder / META).read_bytes())
        if data["format"] != FORMAT:
            raise SandboxStartError(
                f"the machine kept in {folder} is of another version of Aegis", fix="run the trial again"
            )
        return Meta(
            origin=Origin.from_json(data["origin"]),
            env=data["env"],
            identity=data["identity"],
            link=LinkAtRest.from_json(data["link"]),
            program=data["program"],
            notes=data["notes"],
        )
    except FileNotFoundError:
        raise SandboxStartError(f"no machine is kept in {folder}", fix="run the trial again") from None
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise _damaged(folder, error) from None


def unpack(folder: Path, ram: int, state: int) -> None:
    """Make a copy of the template's memory the machine's, and write its device state. Blocks. Raises
    SandboxStartError."""
    try:
        delta.apply(folder / MEMORY, ram)
        delta.read_state(folder / STATE, state, max_bytes=MAX_STATE_BYTES)
    except (OSError, delta.DamagedError) as error:
        raise _damaged(folder, error) from None


def _damaged(folder: Path, error: Exception) -> SandboxStartError:
    return SandboxStartError(
        f"the machine kept in {folder} is damaged ({error}) and cannot be restored", fix="run the trial again"
    )


def check(meta: Meta, *, boot: str, version: str, accel: str, tsc_khz: int | None) -> None:
    """Raises SandboxStartError for a host on which the machine cannot go on."""
    origin = meta.origin
    again = "run the trial again here"
    if origin.version != version:
        raise SandboxStartError(
            f"the machine was kept by {origin.version}, and here is {version}: one cannot read the other's state",
            fix=f"{again}, or put {origin.version} back",
        )
    if origin.boot != boot:
        raise SandboxStartError(
            "the machine was kept with another kernel or guest program than this version of Aegis has",
            fix=f"{again}, or use the version of Aegis that kept it",
        )
    if origin.shape.accel != accel or origin.cpu != host_cpu(accel):
        was = f"{origin.shape.accel}{f' on {origin.cpu}' if origin.cpu else ''}"
        raise SandboxStartError(
            f"the machine was kept under {was}, which this host does not offer", fix=again
        )
    if origin.shape.tsc_khz and tsc_khz and abs(origin.shape.tsc_khz - tsc_khz) > origin.shape.tsc_khz // 500:
        raise SandboxStartError("the machine was kept on a host whose clock runs at another rate", fix=again)
