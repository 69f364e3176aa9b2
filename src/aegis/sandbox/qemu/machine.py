"""One running machine: its VMM, its stream, and how it is booted, saved and restored."""

from __future__ import annotations

import asyncio
import base64
import os
import secrets
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aegis.errors import GuestProtocolError, SandboxLostError, SandboxStartError
from aegis.sandbox.guest import wire
from aegis.sandbox.guest.network import PROXY_PORT
from aegis.sandbox.guest.trust import AUTHORITY, BUNDLE
from aegis.sandbox.mux import Mux
from aegis.sandbox.network import NetworkAccess, NetworkPaths
from aegis.sandbox.qemu import memory
from aegis.sandbox.qemu.command import MachineFiles, MachineShape
from aegis.sandbox.qemu.launch import Vmm, launch
from aegis.sandbox.trust import trust_message

BOOT_TIMEOUT_S = 180.0
"""A cold boot takes 3–10 s in software; a shared host may be ten times slower."""
RESTORE_TIMEOUT_S = 60.0
POLL_S = 0.002
NAMES = ("hostname", "machine_id", "boot_id")


@dataclass(frozen=True, slots=True)
class Saved:
    """A machine at rest: two sealed memory files, and where its stream stood."""

    ram: int
    state: int
    next_stream: int
    prepared: Mapping[str, int]

    def close(self) -> None:
        os.close(self.ram)
        os.close(self.state)


class Machine:
    """A VMM with an answering guest program."""

    def __init__(self, vmm: Vmm, mux: Mux, own_ram: int | None = None) -> None:
        """`own_ram`: the memory file that it alone shares with its VMM; closed with it."""
        self.vmm = vmm
        self.own_ram = own_ram
        self.identity: dict[str, Any] = {}
        """The names that it goes by."""
        self.mux = mux
        self._watcher = asyncio.create_task(self._watch())
        self._killing: asyncio.Future[None] | None = None
        self._names: dict[str, Any] = {}
        mux.explain = self._why

    async def _watch(self) -> None:
        """Turns the end of the VMM process into the reason that every waiting call gets."""
        self.mux.fail(await self._why())

    async def _why(self) -> SandboxLostError:
        await self.vmm.process.wait()
        await asyncio.sleep(0.05)  # the machine's last frames and QEMU's last event may still be on their way
        return self.vmm.end_error()

    async def kill(self) -> None:
        """End it; goes on when the caller is cancelled. Never raises."""
        if self._killing is None:
            self._killing = asyncio.ensure_future(self._kill())
        await asyncio.shield(self._killing)

    async def _kill(self) -> None:
        self._watcher.cancel()
        await self.mux.close()
        await self.vmm.kill()
        if self.own_ram is not None:
            os.close(self.own_ram)
            self.own_ram = None

    async def renew(
        self,
        network: NetworkAccess | None = None,
        *,
        kept: Mapping[str, Any] | None = None,
        same_names: bool = False,
    ) -> None:
        """Give it entropy, clock and names of its own, and a trial's network; wait for its acknowledgement. With
        `kept`, the names that a machine had, its clock goes on and it keeps them; with `same_names` it keeps those that
        it has, and gets the real time.

        Raises SandboxStartError when the network's description is too long for a machine.
        """
        message = fresh_identity() | (network_settings(network) if network is not None else {})
        if same_names:
            message |= self.identity
        if kept is not None:
            message |= {"clock": None, **kept}
        self.identity = {name: message[name] for name in NAMES}
        try:
            if network is None:
                await self.mux.init(message)
            else:
                await self.mux.init(message, network.handler, network.gate)
        except wire.WireError:
            raise SandboxStartError(
                f"{len(network.addresses) if network else 0} allowed addresses are more than a machine can be told",
                fix="allow fewer addresses in network.allow, or the names behind them",
            ) from None

    async def rehearse(self) -> None:
        """A passing identity, and all that the start of a trial with a network does, to no effect."""
        await self.mux.init(fresh_identity() | {"rehearse": True})


def network_settings(network: NetworkAccess) -> dict[str, Any]:
    """The parts of an INIT message for a trial that has a network."""
    addresses = [list(each) for each in network.addresses]
    message: dict[str, Any] = {"network": {"ports": list(network.ports), "addresses": addresses}}
    if network.gate is not None and network.asks:
        message["network"]["ask"] = list(network.asks)
    if network.ca_pem is not None:
        message["trust"] = trust_message(network.ca_pem)
    return message


def network_paths(network: NetworkAccess) -> NetworkPaths:
    """The same in every machine."""
    trusted = network.ca_pem is not None
    return NetworkPaths(
        f"http://127.0.0.1:{PROXY_PORT}",
        AUTHORITY if trusted else None,
        BUNDLE if trusted else None,
        direct=True,
    )


def fresh_identity() -> dict[str, Any]:
    """An INIT message. Names look like those of any cloud machine."""
    return {
        "entropy": base64.b64encode(os.urandom(64)).decode(),
        "clock": time.time(),
        "hostname": f"ip-10-{secrets.randbelow(256)}-{secrets.randbelow(256)}-{secrets.randbelow(254) + 1}",
        "machine_id": uuid.uuid4().hex,
        "boot_id": str(uuid.uuid4()),
        "nonce": secrets.token_hex(16),
    }


async def _connect(
    vmm: Vmm, link: Any, *, first_stream: int, prepared: Mapping[str, int], own_ram: int | None = None
) -> Machine:
    link.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=link)
    mux = Mux(reader, writer)
    mux.start(first_stream=first_stream, prepared=prepared)
    return Machine(vmm, mux, own_ram)


async def boot(
    shape: MachineShape, files: MachineFiles, *, timeout_s: float = BOOT_TIMEOUT_S
) -> tuple[Machine, int]:
    """Boot cold; returns the machine with its identity set, and its RAM (a memory file that it shares).

    Raises SandboxStartError with the console's end.
    """
    ram = memory.create("memory", shape.memory_bytes)
    vmm: Vmm | None = None
    machine: Machine | None = None
    try:
        async with asyncio.timeout(timeout_s):
            vmm, link = await launch(shape, files, ram=ram, share_ram=True, incoming=None)
            machine = await _connect(vmm, link, first_stream=1, prepared={})
            await machine.mux.hello()
            await machine.renew()
    except BaseException as error:
        console = vmm.console_tail() if vmm else ""
        await _destroy(machine, vmm)
        os.close(ram)
        raise _start_error(error, f"the machine did not boot within {timeout_s:.0f} s", console) from None
    return machine, ram


async def restore(
    shape: MachineShape, files: MachineFiles, saved: Saved, *, own_memory: bool = False
) -> Machine:
    """A clone of a saved machine. It runs and waits for its identity. `own_memory`: it gets a copy of the memory
    instead of a private view, so that it can be kept. Raises SandboxStartError."""
    ram = await asyncio.to_thread(memory.duplicate, saved.ram, "memory") if own_memory else None
    try:
        return await _restore(shape, files, saved, ram)
    except BaseException:
        if ram is not None:
            os.close(ram)
        raise


async def _restore(shape: MachineShape, files: MachineFiles, saved: Saved, own_ram: int | None) -> Machine:
    vmm: Vmm | None = None
    machine: Machine | None = None
    state = os.open(f"/proc/self/fd/{saved.state}", os.O_RDONLY | os.O_CLOEXEC)  # an offset of its own
    try:
        async with asyncio.timeout(RESTORE_TIMEOUT_S):
            ram, shared = (saved.ram, False) if own_ram is None else (own_ram, True)
            vmm, link = await launch(shape, files, ram=ram, share_ram=shared, incoming=state)
            await vmm.execute("migrate-set-capabilities", _IGNORE_SHARED)
            await vmm.execute("migrate-incoming", {"uri": f"fd:{state}"})
            await _await_migration(vmm)
            machine = await _connect(
                vmm, link, first_stream=saved.next_stream, prepared=saved.prepared, own_ram=own_ram
            )
            await vmm.execute("cont")
    except BaseException as error:
        console = vmm.console_tail() if vmm else ""
        if machine is not None:
            machine.own_ram = None  # the caller's again
        await _destroy(machine, vmm)
        raise _start_error(
            error, f"the machine was not restored within {RESTORE_TIMEOUT_S:.0f} s", console
        ) from None
    finally:
        os.close(state)
    return machine


_IGNORE_SHARED = {"capabilities": [{"capability": "x-ignore-shared", "state": True}]}


async def save(machine: Machine, ram: int) -> Saved:
    """Stop an idle machine and keep it; the machine is gone afterwards. Takes over `ram`."""
    state = memory.create("state")
    try:
        await machine.mux.rest()
        await machine.vmm.execute("stop")
        await save_state(machine.vmm, state)
        saved = Saved(ram, state, machine.mux.next_stream, dict(machine.mux.prepared))
        await machine.kill()
        memory.seal(ram)
        memory.seal(state)
    except BaseException:
        await machine.kill()
        os.close(state)
        os.close(ram)
        raise
    return saved


async def save_state(vmm: Vmm, state: int) -> None:
    """Write the device state of a stopped machine, whose memory is shared, to a memory file. Raises
    SandboxStartError."""
    await vmm.execute("migrate-set-capabilities", _IGNORE_SHARED)
    vmm.qmp.send_fd_scm(state)
    await vmm.execute("getfd", {"fdname": "state"})
    await vmm.execute("migrate", {"uri": "fd:state"})
    await _await_migration(vmm)


async def _await_migration(vmm: Vmm) -> None:
    while True:
        answer = await vmm.execute("query-migrate")
        status = answer.get("status")
        if status == "completed":
            return
        if status in ("failed", "cancelled"):
            raise SandboxStartError(
                f"QEMU could not save or restore the machine: {answer.get('error-desc', status)}"
            )
        if vmm.process.returncode is not None:
            raise SandboxStartError(
                f"QEMU ended with exit code {vmm.process.returncode} while restoring the machine"
            )
        await asyncio.sleep(POLL_S)


async def _destroy(machine: Machine | None, vmm: Vmm | None) -> None:
    if machine is not None:
        await asyncio.shield(machine.kill())
    elif vmm is not None:
        await asyncio.shield(vmm.kill())


def _start_error(error: BaseException, late: str, console: str) -> BaseException:
    """What to raise for a failed start: other errors than the sandbox's own pass through."""
    if isinstance(error, TimeoutError):
        text = late
    elif isinstance(error, (SandboxLostError, GuestProtocolError)):
        text = f"the machine did not come up: {error}"
    else:
        return error
    tail = "".join(f"\n    {line[:200]}" for line in console.splitlines()[-8:])
    return SandboxStartError(text + (f"\n    console:{tail}" if tail else ""))
