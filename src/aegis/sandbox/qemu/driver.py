"""The `qemu` driver: templates, restored clones, a warm pool."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aegis.errors import GuestOperationError, HostNeedsError, SandboxError, SandboxStartError
from aegis.sandbox.base import (
    MIB,
    DriverInfo,
    Process,
    Progress,
    SandboxInfo,
    ServiceSpec,
    Template,
    TemplateSpec,
)
from aegis.sandbox.images import BootFiles, Image, ImageStore, boot_files
from aegis.sandbox.kept import Copied
from aegis.sandbox.mux import MuxProcess
from aegis.sandbox.network import NetworkAccess
from aegis.sandbox.qemu import kept, memory
from aegis.sandbox.qemu.command import MachineFiles, MachineShape
from aegis.sandbox.qemu.kept import Origin
from aegis.sandbox.qemu.launch import confinement, qemu_path, qemu_version
from aegis.sandbox.qemu.machine import Machine, Saved, boot, network_paths, restore, save
from aegis.sandbox.qemu.pool import Pool
from aegis.sandbox.qemu.probe import boot_id, probe
from aegis.sandbox.qemu.template import FORMAT, TemplateStore
from aegis.sandbox.qemu.tsc import tsc_khz
from aegis.sandbox.remote import RemoteSandbox
from aegis.sandbox.setup import run_setup, template_key

OVERHEAD_BYTES = 96 * MIB
"""What a machine may take on the host beyond its guest's memory: QEMU itself and its translation cache."""
TOUCH_TIMEOUT_S = 30.0
TCG_NOTE = "TCG (software emulation): state and network are isolated, but this is no security boundary"


@dataclass(slots=True)
class _Made:
    """A template held by this driver."""

    saved: Saved
    files: MachineFiles
    shape: MachineShape
    image: Image
    origin: Origin
    pool: Pool | None = None


class QemuDriver:
    """Machines of QEMU. `base_dir`: folder that image files of a suite are relative to."""

    def __init__(
        self,
        *,
        base_dir: Path,
        cache_dir: Path,
        jobs: int = 2,
        require_kvm: bool = False,
        keepable: bool = False,
    ) -> None:
        self._base_dir = base_dir
        self._cache_dir = cache_dir
        self._jobs = jobs
        self._require_kvm = require_kvm
        self._keepable = keepable
        self._store = TemplateStore(cache_dir / "templates")
        self._made: dict[str, _Made] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._live: set[QemuSandbox] = set()
        self._fds: list[int] = []
        self._boot: BootFiles | None = None
        self._kernel = self._initrd = self._guest_root = -1
        self._tsc_khz: int | None = None
        self._accel = "tcg"
        self.info = _info("tcg", "unknown")

    async def __aenter__(self) -> QemuDriver:
        path = qemu_path()
        self._boot = await asyncio.to_thread(boot_files)
        result = await probe(self._boot.kernel, self._cache_dir)
        if self._require_kvm and result.accel == "tcg":
            raise HostNeedsError(
                f"hardware virtualisation is required and does not work here: {result.kvm}",
                fix="run on a host with KVM, or leave --require-kvm away",
            )
        self._accel = result.accel
        self.info = _info(result.accel, qemu_version(path))
        if result.accel == "tcg":
            self._tsc_khz = await asyncio.to_thread(_kept_tsc, self._cache_dir)
        self._kernel = self._open_memory(self._boot.kernel, "kernel")
        self._initrd = self._open_memory(self._boot.initrd, "initrd")
        self._guest_root = self._open(self._boot.guest_root)
        return self

    async def __aexit__(self, *exc: object) -> None:
        for made in self._made.values():
            if made.pool is not None:
                await made.pool.close()
        await asyncio.gather(*(sandbox.stop() for sandbox in list(self._live)))
        for made in self._made.values():
            made.saved.close()
        for fd in self._fds:
            os.close(fd)
        self._made.clear()
        self._fds.clear()

    def _open(self, path: Path) -> int:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._fds.append(fd)
        return fd

    def _open_memory(self, path: Path, name: str) -> int:
        """The confined process opens these by /proc/self/fd, which asks for permissions that the file may not give."""
        fd = memory.load(path, name)
        self._fds.append(fd)
        return fd

    # -- templates -----------------------------------------------------------------------------------------------

    async def template(self, spec: TemplateSpec, *, progress: Progress | None = None) -> Template:
        begun = time.monotonic()
        say = progress or (lambda text: None)
        store = ImageStore()
        image = await asyncio.to_thread(
            store.resolve, spec.image, base_dir=self._base_dir, progress=progress, layers=spec.layers
        )
        shape = MachineShape(self._accel, spec.memory_bytes, spec.cpus, self._tsc_khz)
        key = template_key(spec, *self._key_parts(image, shape))
        async with self._locks.setdefault(key, asyncio.Lock()):
            cached = True
            if key not in self._made:
                files = MachineFiles(self._kernel, self._initrd, self._guest_root, self._open(image.rootfs))
                held = await asyncio.to_thread(self._store.hold, key)
                try:
                    saved, cached = await self._load_or_make(key, spec, shape, files, image, say)
                except BaseException:
                    self._fds.remove(files.image)
                    os.close(files.image)
                    os.close(held)
                    raise
                self._fds.append(held)
                self._made[key] = _Made(saved, files, shape, image, self._origin(key, shape, image))
        return Template(key=key, spec=spec, cached=cached, build_s=time.monotonic() - begun)

    @property
    def _version(self) -> str:
        """Of the monitor, however it is confined."""
        return self.info.version.partition(" (")[0]

    def _origin(self, key: str, shape: MachineShape, image: Image) -> Origin:
        assert self._boot is not None
        cpu = kept.host_cpu(shape.accel)
        return Origin(key, image.digest, image.ref, self._boot.digest, self._version, cpu, shape)

    def _key_parts(self, image: Image, shape: MachineShape) -> tuple[str, ...]:
        assert self._boot is not None
        # The counter's rate is part of the kernel's state; the host's boot stands for its processor and clock.
        return (
            f"format {FORMAT}",
            self.info.version,
            self._boot.digest,
            image.digest,
            shape.accel,
            str(shape.tsc_khz),
            boot_id(),
        )

    async def _load_or_make(
        self,
        key: str,
        spec: TemplateSpec,
        shape: MachineShape,
        files: MachineFiles,
        image: Image,
        say: Progress,
    ) -> tuple[Saved, bool]:
        saved = await asyncio.to_thread(self._store.load, key)
        if saved is not None:
            return saved, True
        lock = self._store.lock(key)
        await asyncio.to_thread(lock.__enter__)
        try:
            saved = await asyncio.to_thread(self._store.load, key)
            if saved is not None:
                return saved, True
            say(f"booting a template of image {spec.image}")
            saved = await self._make(spec, shape, files, image, say)
            description = _description(spec, shape, image)
            await asyncio.to_thread(self._store.store, key, saved, description)
            return saved, False
        finally:
            lock.__exit__(None, None, None)

    async def _make(
        self, spec: TemplateSpec, shape: MachineShape, files: MachineFiles, image: Image, say: Progress
    ) -> Saved:
        machine, ram = await boot(shape, files)
        try:
            if spec.setup:
                say(f"running {len(spec.setup)} set-up steps")
            if spec.services:
                say(f"starting {', '.join(service.name for service in spec.services if service.in_template)}")
            sandbox = await _furnish(machine, spec, image)
            await _touch_common_programs(sandbox)
        except BaseException:
            await asyncio.shield(machine.kill())
            os.close(ram)
            raise
        say("saving the template")
        return await save(machine, ram)

    # -- sandboxes -----------------------------------------------------------------------------------------------

    def expect(self, template: Template, remaining: int) -> None:
        made = self._made[template.key]
        if made.pool is None:
            limit = max(1, min(self._jobs, self.slots(template.spec) - self._jobs))
            made.pool = Pool(lambda: self._warm(made), limit)
        made.pool.expect(remaining)

    def ready(self, template: Template) -> int:
        """How many machines wait in the warm pool."""
        pool = self._made[template.key].pool
        return pool.ready if pool is not None else 0

    async def _warm(self, made: _Made) -> Machine:
        """A machine whose first answers, which are slow in software, are behind it."""
        machine = await restore(made.shape, made.files, made.saved, own_memory=self._keepable)
        try:
            await machine.rehearse()
            process = await machine.mux.exec(("/bin/true",), "/", {})
            await process.wait()
            await process.kill()
        except GeneratorExit:
            raise
        except BaseException as error:
            await asyncio.shield(machine.kill())
            if isinstance(error, SandboxError):
                raise SandboxStartError(f"a restored machine does not answer: {error}") from None
            raise
        return machine

    async def start(self, template: Template, *, network: NetworkAccess | None = None) -> QemuSandbox:
        begun = time.monotonic()
        made = self._made[template.key]
        machine = made.pool.take() if made.pool is not None else None
        pooled, restored = machine is not None, True
        try:
            if machine is None:
                machine, restored = await self._restore_or_boot(made, template.spec)
            await machine.renew(network)
        except SandboxError as error:
            if machine is not None:
                await asyncio.shield(machine.kill())
            if isinstance(error, SandboxStartError):
                raise
            raise SandboxStartError(f"the machine did not acknowledge its identity: {error}") from None
        except BaseException:
            if machine is not None:
                await asyncio.shield(machine.kill())
            raise
        info = SandboxInfo(
            id=uuid.uuid4().hex[:12],
            driver="qemu",
            start_ms=(time.monotonic() - begun) * 1000,
            restored=restored,
            memory_mib=template.spec.memory_bytes // MIB,
            pooled=pooled,
        )
        sandbox = self._sandbox(machine, info, made, template.spec)
        sandbox.network = network_paths(network) if network is not None else None
        return sandbox

    async def _restore_or_boot(self, made: _Made, spec: TemplateSpec) -> tuple[Machine, bool]:
        """A clone; where the host cannot restore it, a machine booted and furnished from nothing."""
        try:
            return await restore(made.shape, made.files, made.saved, own_memory=self._keepable), True
        except SandboxStartError:
            machine, ram = await boot(made.shape, made.files)
            machine.own_ram = ram
            try:
                await _furnish(machine, spec, made.image)
            except BaseException:
                await asyncio.shield(machine.kill())
                raise
            return machine, False

    async def boot_cold(self, template: Template) -> QemuSandbox:
        """A machine booted from nothing instead of restored; for measuring what restoring saves."""
        begun = time.monotonic()
        made = self._made[template.key]
        machine, ram = await boot(made.shape, made.files)
        os.close(ram)
        await _furnish(machine, template.spec, made.image)
        start_ms = (time.monotonic() - begun) * 1000
        info = SandboxInfo(uuid.uuid4().hex[:12], "qemu", start_ms, False, template.spec.memory_bytes // MIB)
        return self._sandbox(machine, info, made, template.spec)

    def _sandbox(self, machine: Machine, info: SandboxInfo, made: _Made, spec: TemplateSpec) -> QemuSandbox:
        return QemuSandbox(machine, info, {**made.image.env, **spec.env}, self._live, made, spec.services)

    def notes(self, folder: Path) -> Mapping[str, Any]:
        """As `Reopening.notes` says."""
        return kept.read(folder).notes

    async def reopen(
        self, folder: Path, *, network: NetworkAccess | None = None, progress: Progress | None = None
    ) -> ReopenedQemu:
        """As `Reopening.reopen` says."""
        begun = time.monotonic()
        assert self._boot is not None
        meta = await asyncio.to_thread(kept.read, folder)
        kept.check(
            meta,
            boot=self._boot.digest,
            version=self._version,
            accel=self._accel,
            tsc_khz=self._tsc_khz,
        )
        image = await asyncio.to_thread(_image_of, meta.origin)
        if progress is not None:
            progress("restoring the machine")
        saved = await asyncio.to_thread(self._unpacked, folder, meta)
        shape = meta.origin.shape
        image_fd = os.open(image.rootfs, os.O_RDONLY | os.O_CLOEXEC)
        machine: Machine | None = None
        try:
            files = MachineFiles(self._kernel, self._initrd, self._guest_root, image_fd)
            machine = await restore(shape, files, saved)
            machine.mux.take_up(meta.link)
            await machine.renew(network, kept=meta.identity)
        except BaseException as error:
            if machine is not None:
                await asyncio.shield(machine.kill())
            if isinstance(error, SandboxError) and not isinstance(error, SandboxStartError):
                raise SandboxStartError(f"the restored machine does not answer: {error}") from None
            raise
        finally:
            saved.close()
            os.close(image_fd)
        start_ms = (time.monotonic() - begun) * 1000
        info = SandboxInfo(uuid.uuid4().hex[:12], "qemu", start_ms, True, shape.memory_bytes // MIB)
        sandbox = ReopenedQemu(machine, info, meta, self._live)
        sandbox.network = network_paths(network) if network is not None else None
        return sandbox

    def _unpacked(self, folder: Path, meta: kept.Meta) -> Saved:
        """The kept machine as one that was saved whole. Blocks."""
        template = self._store.load(meta.origin.template)
        if template is None:
            raise SandboxStartError(
                "the template of the kept machine was pruned, and the machine is kept as its difference from that",
                fix="run the trial again",
            )
        with contextlib.closing(template):
            ram = memory.duplicate(template.ram, "memory")
        state = memory.create("state")
        try:
            kept.unpack(folder, ram, state)
            return Saved(ram, state, meta.link.next_stream, meta.link.prepared)
        except BaseException:
            os.close(ram)
            os.close(state)
            raise

    def slots(self, spec: TemplateSpec) -> int:
        by_cpu = max(1, (os.cpu_count() or 1) // spec.cpus)
        by_memory = int(_available_memory() * 0.8) // (spec.memory_bytes + OVERHEAD_BYTES)
        return max(1, min(by_cpu * 2, by_memory) if self._accel == "tcg" else min(by_cpu * 4, by_memory))


async def _touch_common_programs(sandbox: RemoteSandbox) -> None:
    """Run what nearly every trial begins with, so that its pages are in the template's memory; clones would each read
    and unpack them from the image. What the image lacks, or does not end in time, is left out."""
    for argv in (("/bin/true",), ("/bin/sh", "-c", ":"), ("python3", "-c", "import json, os, re")):
        with contextlib.suppress(GuestOperationError):
            await sandbox.run(argv, timeout_s=TOUCH_TIMEOUT_S)


async def _furnish(machine: Machine, spec: TemplateSpec, image: Image) -> RemoteSandbox:
    env: Mapping[str, str] = {**image.env, **spec.env}
    sandbox = RemoteSandbox(machine.mux, SandboxInfo("template", "qemu", 0.0, False, 0), env)
    await run_setup(sandbox, machine.mux, spec, sandbox.env)
    return sandbox


class QemuSandbox(RemoteSandbox):
    """The machine of one trial."""

    def __init__(
        self,
        machine: Machine,
        info: SandboxInfo,
        env: Mapping[str, str],
        live: set[QemuSandbox],
        made: _Made | None = None,
        services: tuple[ServiceSpec, ...] = (),
    ) -> None:
        super().__init__(machine.mux, info, env, services)
        self._made = made
        self._machine = machine
        self._live = live
        live.add(self)

    @property
    def pid(self) -> int:
        """Process id of the launcher of the VMM, for measuring."""
        return self._machine.vmm.pid

    async def reconnect(self, network: NetworkAccess | None) -> None:
        await self._machine.renew(network, same_names=True)
        self.network = network_paths(network) if network is not None else None

    async def keep(self, folder: Path, notes: Mapping[str, Any], program: Process | None = None) -> Copied:
        """As `Keepable.keep` says."""
        if self._made is None:
            raise SandboxError("a restored copy is not kept again")
        stream = program.stream if isinstance(program, MuxProcess) else None
        made = self._made
        return await kept.keep(
            self._machine,
            made.saved.ram,
            folder,
            origin=made.origin,
            env=self.env,
            program=stream,
            notes=notes,
        )

    async def _destroy(self) -> None:
        with contextlib.suppress(Exception):
            await self._machine.kill()
        self._live.discard(self)


def _description(spec: TemplateSpec, shape: MachineShape, image: Image) -> dict[str, object]:
    """What `aegis template show` tells of it."""
    return {
        "image": spec.image,
        "image_digest": image.digest,
        "accel": shape.accel,
        "memory_bytes": shape.memory_bytes,
        "cpus": spec.cpus,
        "files_bytes": len(spec.files_tar),
        "setup": list(spec.setup),
        "services": [service.name for service in spec.services if service.in_template],
        "env": sorted(spec.env),
        "host_boot": boot_id(),
        **spec.made_for,
    }


class ReopenedQemu(QemuSandbox):
    """A restored copy of a kept machine."""

    def __init__(self, machine: Machine, info: SandboxInfo, meta: kept.Meta, live: set[QemuSandbox]) -> None:
        super().__init__(machine, info, meta.env, live)
        self._program = None if meta.program is None else machine.mux.program(meta.program)
        # Nobody here wants to hear the others, such as services; unread output would make them wait.
        others = [process for process in machine.mux.programs if process is not self._program]
        self._drains = [
            asyncio.create_task(_drain(chunks)) for p in others for chunks in (p.stdout(), p.stderr())
        ]

    async def _destroy(self) -> None:
        for task in self._drains:
            task.cancel()
        await asyncio.gather(*self._drains, return_exceptions=True)
        await super()._destroy()

    def program(self) -> MuxProcess:
        """As `ReopenedSandbox.program` says."""
        if self._program is None:
            raise SandboxStartError("no program was running in the kept machine that could go on")
        return self._program


async def _drain(chunks: AsyncIterator[bytes]) -> None:
    async for _ in chunks:
        pass


def _image_of(origin: Origin) -> Image:
    for image in ImageStore().list():
        if image.digest == origin.image:
            return image
    raise SandboxStartError(
        f"the image of the kept machine ({origin.image_ref}, {origin.image[:12]}) is no longer in the cache",
        fix="run the trial again",
    )


def _info(accel: str, version: str) -> DriverInfo:
    return DriverInfo(
        driver="qemu",
        accel=accel,
        security_boundary=accel != "tcg",
        isolated_state=True,
        version=f"QEMU {version}" + ("" if confinement() else " (VMM process not confined)"),
        note=TCG_NOTE if accel == "tcg" else None,
    )


def _available_memory() -> int:
    """Bytes that new processes can get, as the kernel estimates it."""
    try:
        with open("/proc/meminfo") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 2048 * MIB


def _kept_tsc(cache_dir: Path) -> int | None:
    """The counter's rate, measured once per boot of the host: equal templates need equal rates."""
    memo = cache_dir / "tsc_khz"
    with contextlib.suppress(OSError, ValueError):
        kept_boot, rate = memo.read_text().split()
        if kept_boot == boot_id():
            return int(rate)
    rate_khz = tsc_khz()
    if rate_khz is not None:
        with contextlib.suppress(OSError):
            memo.parent.mkdir(parents=True, exist_ok=True)
            memo.write_text(f"{boot_id()} {rate_khz}")
    return rate_khz


__all__ = ["QemuDriver", "QemuSandbox"]
