"""What is done once in a template: files, set-up steps, prepared programs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from aegis.errors import GuestOperationError, SandboxStartError
from aegis.sandbox.base import Completed, TemplateSpec
from aegis.sandbox.mux import Mux
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
        "parts": parts,
    }
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()


async def run_setup(sandbox: RemoteSandbox, mux: Mux, spec: TemplateSpec, env: Mapping[str, str]) -> None:
    """Files, steps in order, then prepared programs. Raises SandboxStartError naming the step that failed."""
    if spec.files_tar:
        await sandbox.put_tar(spec.files_tar)
    for number, command in enumerate(spec.setup, 1):
        done = await sandbox.run(("/bin/sh", "-c", command), timeout_s=spec.setup_timeout_s)
        if done.timed_out or not done.status.ok:
            raise _step_failed(number, command, done, spec.setup_timeout_s)
    for program in spec.prepared:
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
