"""The services of one trial: those of its template taken over, those of its own started, all of them listened to."""

from __future__ import annotations

from collections.abc import Mapping

from aegis.errors import SandboxStartError
from aegis.sandbox import services
from aegis.sandbox.base import Sandbox
from aegis.trace.model import ServiceLog


class TrialServices:
    """What runs beside the agent in one sandbox."""

    def __init__(self) -> None:
        self._running: list[services.Running] = []

    async def begin(self, sandbox: Sandbox, env: Mapping[str, str]) -> None:
        """Attach to the template's services and start the trial's own, in their order, each when the one before is
        ready. `env`: what the trial's own are told besides the sandbox's environment. Raises `SandboxStartError`."""
        if own := tuple(spec for spec in sandbox.services if not spec.in_template):
            await sandbox.put_tar(services.folders_tar(own))
        for spec in sandbox.services:
            if spec.in_template:
                process = await sandbox.attach(services.held_name(spec.name))
                self._running.append(services.Running(spec, process))
            else:
                self._running.append(await services.start(sandbox, spec, env))

    async def check(self) -> None:
        """Raise `SandboxStartError` when one has ended: nobody knows what the agent would have done with it."""
        for running in self._running:
            if running.status is not None:
                await running.settle()
                last = next((line for line in reversed(running.log.lines()) if line.strip()), "")
                raise SandboxStartError(
                    f"service {running.spec.name!r} ended with {running.status.describe()} during the trial"
                    + (f": {last}" if last else "")
                )

    def logs(self) -> tuple[ServiceLog, ...]:
        """What each has written since the trial began."""
        return tuple(
            ServiceLog(
                name=running.spec.name,
                lines=tuple(running.log.lines()),
                dropped=running.log.dropped,
                ended=None if running.status is None else running.status.describe(),
            )
            for running in self._running
        )

    async def close(self) -> None:
        """Stop listening. The services end with their sandbox."""
        for running in self._running:
            await running.close()
