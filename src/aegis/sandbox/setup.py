"""What is done once in a template: files, set-up steps, services, prepared programs."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
from collections.abc import Mapping

from aegis.errors import GuestOperationError, SandboxStartError
from aegis.sandbox import services
from aegis.sandbox.base import Completed, PreparedProcess, TemplateSpec
from aegis.sandbox.mux import Mux, MuxProcess
from aegis.sandbox.remote import RemoteSandbox

SHOWN_LINES = 20


def template_key(spec: TemplateSpec, *parts: str) -> str:
    """Hex digest of everything that shapes a template; `parts` are the driver's own inputs (versions, digests)."""
    description = {
        "image": spec.image,
        "memory": spec.memory_bytes,
        "cpus": spec.cpus,
        "files": hashlib.sha256(spec.files_tar).hexdigest(),
        "setup": spec.setup,
        "env": sorted(spec.env.items()),
        "prepared": [[p.name, p.argv, sorted(p.env.items()), p.cwd, p.says_ready] for p in spec.prepared],
        "layers": [dataclasses.asdict(layer) for layer in spec.layers],
        "services": [dataclasses.asdict(service) for service in spec.services],
        "parts": parts,
    }
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()


async def run_setup(sandbox: RemoteSandbox, mux: Mux, spec: TemplateSpec, env: Mapping[str, str]) -> None:
    """Files, steps in order, the template's services, then prepared programs. Services are held afterwards: whoever
    wants their output attaches. Raises SandboxStartError naming the step, the service or the program that failed."""
    if spec.files_tar:
        await sandbox.put_tar(spec.files_tar)
    for number, command in enumerate(spec.setup, 1):
        done = await sandbox.run(("/bin/sh", "-c", command), timeout_s=spec.setup_timeout_s)
        if done.timed_out or not done.status.ok:
            raise _step_failed(number, command, done, spec.setup_timeout_s)
    told: dict[str, str] = {}
    running: list[services.Running] = []
    try:
        if spec.services:
            await sandbox.put_tar(services.folders_tar(spec.services))
        for service in spec.services:
            if service.in_template:
                running.append(await services.start(sandbox, service, told))
            told |= service.told
        for program in spec.prepared:
            await _prepare(mux, program, {**env, **told})
        if running:
            await asyncio.sleep(services.SETTLE_S)
        for each in running:
            if each.status is not None:
                raise SandboxStartError(
                    f"service {each.spec.name!r} ended with {each.status.describe()} right after it was ready"
                    f"{services.told_of(each)}",
                    fix=services.FIX,
                )
            assert isinstance(each.process, MuxProcess)
            await mux.hold(each.process, services.held_name(each.spec.name))
    finally:
        for each in running:
            await each.close()


async def _prepare(mux: Mux, program: PreparedProcess, env: Mapping[str, str]) -> None:
    try:
        await mux.prepare(program, env)
    except GuestOperationError as error:
        raise SandboxStartError(
            f"cannot prepare {program.argv[0]!r} in the sandbox: {error}",
            fix=f"install {program.argv[0]!r} in the image, or choose another image",
        ) from None


def _step_failed(number: int, command: str, done: Completed, timeout_s: float) -> SandboxStartError:
    how = f"took longer than {timeout_s:.0f} s" if done.timed_out else f"ended with {done.status.describe()}"
    output = (done.stdout + done.stderr).decode("utf-8", "replace").rstrip().splitlines()[-SHOWN_LINES:]
    text = "".join(f"\n    {line[:300]}" for line in output)
    return SandboxStartError(
        f"set-up step {number} {how}: {command}{text}", fix="correct `setup` in the suite"
    )
