"""Driver `process`: trials as plain programs of this host, for writing suites (`--isolation=none`).

No isolation of any kind: a trial can read and change whatever the user can. The guest program is the same as in a
machine; it serves a new folder that stands for `/`, so `/workspace/x` is `FOLDER/workspace/x` and only relative paths
mean the same as in a machine.

A trial's network is a proxy port on this host's loopback. Clients that honour the proxy variables use it; nothing keeps
the others from going straight out.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from aegis.errors import SandboxError, SandboxStartError
from aegis.sandbox import guest
from aegis.sandbox.base import DriverInfo, Progress, SandboxInfo, ServiceSpec, Template, TemplateSpec
from aegis.sandbox.guest.trust import AUTHORITY, BUNDLE
from aegis.sandbox.mux import Mux
from aegis.sandbox.network import NetworkAccess, NetworkPaths
from aegis.sandbox.proxyport import ProxyPort
from aegis.sandbox.remote import RemoteSandbox
from aegis.sandbox.services import FIX, Log
from aegis.sandbox.setup import run_setup, template_key
from aegis.sandbox.trust import host_bundle

START_TIMEOUT_S = 60.0


class ProcessDriver:
    """Makes folders instead of machines. A template does nothing: each trial repeats the set-up steps."""

    def __init__(self, *, jobs: int = 2) -> None:
        self._jobs = jobs
        self._prepared: dict[str, asyncio.Task[Path]] = {}
        """What a service's `prepare` made, by its text."""
        self._live: set[ProcessSandbox] = set()
        self.info = DriverInfo(
            driver="process",
            accel=None,
            security_boundary=False,
            isolated_state=False,
            version=f"Python {sys.version.split()[0]}",
            note=(
                "NO ISOLATION: trials run as plain processes of this host, whose network is open to them; "
                "results say nothing about production"
            ),
        )

    async def __aenter__(self) -> ProcessDriver:
        return self

    async def __aexit__(self, *exc: object) -> None:
        for sandbox in list(self._live):
            await sandbox.stop()
        for making in self._prepared.values():
            making.cancel()
            with suppress(asyncio.CancelledError, SandboxError):
                await asyncio.to_thread(shutil.rmtree, await making, ignore_errors=True)
        self._prepared.clear()

    async def template(self, spec: TemplateSpec, *, progress: Progress | None = None) -> Template:
        return Template(key=template_key(spec, "process"), spec=spec, cached=True, build_s=0.0)

    def expect(self, template: Template, remaining: int) -> None:
        return

    def slots(self, spec: TemplateSpec) -> int:
        return max(1, os.cpu_count() or 1)

    async def start(self, template: Template, *, network: NetworkAccess | None = None) -> ProcessSandbox:
        begun = time.monotonic()
        root = Path(tempfile.mkdtemp(prefix="w-"))
        sandbox: ProcessSandbox | None = None
        try:
            (root / "workspace").mkdir()
            if template.spec.services and os.geteuid() == 0:
                root.chmod(0o711)  # a service that refuses to be root must get to its own folder
            mux, server = await _launch(root)
            for service in template.spec.services:
                if service.prepare:
                    await self._copy_prepared(service, root / service.folder[1:])
            # A port of its own for each service of each trial: they all share this host's.
            spec = replace(template.spec, services=tuple(map(_at_free_port, template.spec.services)))
            sandbox = ProcessSandbox(mux, server, root, spec.env, self._live, spec.services)
            async with asyncio.timeout(START_TIMEOUT_S):
                await mux.hello()
            await run_setup(sandbox, mux, spec, sandbox.env)
            if network is not None:
                await sandbox.connect(network)
        except BaseException as error:
            if sandbox is not None:
                await asyncio.shield(sandbox.stop())
            shutil.rmtree(root, ignore_errors=True)
            if isinstance(error, TimeoutError):
                raise SandboxStartError("the guest program did not answer in time") from None
            raise
        sandbox.info = _info((time.monotonic() - begun) * 1000)
        return sandbox

    async def _copy_prepared(self, service: ServiceSpec, target: Path) -> None:
        making = self._prepared.get(service.prepare)
        if making is None:
            making = self._prepared[service.prepare] = asyncio.create_task(_prepare(service))
        folder = await asyncio.shield(making)
        await asyncio.to_thread(_copy, folder, target)


async def _prepare(service: ServiceSpec) -> Path:
    """Run a service's `prepare` in a new folder. Raises SandboxStartError with the end of its output."""
    folder = Path(tempfile.mkdtemp(prefix="p-"))
    try:
        folder.chmod(0o711)
        done = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            service.prepare,
            cwd=folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            output, _ = await done.communicate()
        finally:
            if done.returncode is None:
                done.kill()
                await done.wait()
        if done.returncode != 0:
            log = Log()
            log.add(output)
            raise SandboxStartError(f"service {service.name!r} could not be prepared{log.tail()}", fix=FIX)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    # Owners too: a database belongs to whom its server runs as.
    subprocess.run(["cp", "-a", "--reflink=auto", str(source), str(target)], check=True)


def _at_free_port(service: ServiceSpec) -> ServiceSpec:
    if service.port is None:
        return service
    with socket.create_server(("127.0.0.1", 0)) as free:
        return service.at_port(free.getsockname()[1])


def _info(start_ms: float) -> SandboxInfo:
    return SandboxInfo(
        id=uuid.uuid4().hex[:12],
        driver="process",
        start_ms=start_ms,
        restored=False,
        memory_mib=0,
        pooled=False,
    )


async def _launch(root: Path) -> tuple[Mux, asyncio.subprocess.Process]:
    ours, theirs = socket.socketpair()
    try:
        program = str(Path(guest.__file__).with_name("main.py"))
        server = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-S",
            program,
            "--folder",
            str(root),
            "--link",
            str(theirs.fileno()),
            pass_fds=(theirs.fileno(),),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        ours.close()
        raise SandboxStartError(f"cannot start the guest program: {error}") from None
    finally:
        theirs.close()
    ours.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=ours)
    mux = Mux(reader, writer)
    mux.start()
    return mux, server


class ProcessSandbox(RemoteSandbox):
    """One folder and the guest program that serves it."""

    def __init__(
        self,
        mux: Mux,
        server: asyncio.subprocess.Process,
        root: Path,
        env: Mapping[str, str],
        live: set[ProcessSandbox],
        services: tuple[ServiceSpec, ...] = (),
    ) -> None:
        own = {**_host_env(root), "HOME": str(root / "workspace"), "PWD": str(root / "workspace"), **env}
        super().__init__(mux, _info(0.0), own, services)
        self._server = server
        self._root = root
        self._proxy: ProxyPort | None = None
        self._live = live
        live.add(self)

    async def connect(self, access: NetworkAccess) -> None:
        """Open the proxy port, and write the authority below the trial's folder. Raises SandboxStartError."""
        self._proxy = ProxyPort(access.handler)
        await self._proxy.open()
        # For programs that are started without the variables, as clients of MCP start their servers.
        await asyncio.to_thread(
            _write_all, {self._root / "etc/environment": f"http_proxy={self._proxy.url}\n".encode()}
        )
        authority = bundle = None
        if access.ca_pem is not None:
            authority, bundle = self._root / AUTHORITY[1:], self._root / BUNDLE[1:]
            pem = access.ca_pem.encode()
            await asyncio.to_thread(_write_all, {authority: pem, bundle: host_bundle() + b"\n" + pem})
        self.network = NetworkPaths(
            self._proxy.url, str(authority) if authority else None, str(bundle) if bundle else None
        )

    async def reconnect(self, network: NetworkAccess | None) -> None:
        if self._proxy is not None:
            await self._proxy.close()
        self._proxy = self.network = None
        if network is not None:
            await self.connect(network)

    async def _destroy(self) -> None:
        """The guest program ends with its connection, and its cradle ends the rest and removes the folder."""
        if self._proxy is not None:
            await self._proxy.close()
        try:
            async with asyncio.timeout(30):
                await self._server.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                self._server.kill()
            await self._server.wait()
        await asyncio.to_thread(shutil.rmtree, self._root, ignore_errors=True)
        self._live.discard(self)


def _write_all(files: Mapping[Path, bytes]) -> None:
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _host_env(root: Path) -> dict[str, str]:
    """PATH of this host, so that the user's own interpreters are found, behind the programs that the suite brings."""
    return {"PATH": f"{root / 'usr/local/bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}


__all__ = ["ProcessDriver", "SandboxError"]
