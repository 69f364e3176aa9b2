"""One run of the KVM host: prepared, started, and what came back from it."""

from __future__ import annotations

import contextlib
import json
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nested_boot import host_boot
from nested_drives import cache_drive, checkout_drive, copy_checkout, system_image
from nested_machine import Ended, run_host

from aegis.sandbox.images.cache import quiet
from aegis.sandbox.images.tools import Log

DEADLINE_S = 1800
"""For a machine that takes two minutes on a quiet host."""
TAIL_LINES = 150


@dataclass(frozen=True)
class HostRun:
    ended: Ended
    files: dict[str, bytes]
    """What the payload sent, by name."""
    prepare_s: float

    @property
    def summary(self) -> dict[str, Any]:
        """Steps with their exit codes; empty when the payload didn't come to its end."""
        return json.loads(self.files["summary.json"]) if "summary.json" in self.files else {}

    def step(self, name: str) -> dict[str, Any]:
        """How a step ended. Raises AssertionError when it didn't."""
        found = [step for step in self.summary.get("steps", ()) if step["name"] == name]
        assert found, f"the KVM host never finished: {self.tell()}"
        return found[0]

    def text(self, name: str) -> str:
        return self.files.get(name, b"").decode("utf-8", "replace")

    def tell(self) -> str:
        """How it ended, and the end of its console: for the message of a failure."""
        how = "ended at the deadline" if self.ended.code is None else f"QEMU's exit code {self.ended.code}"
        lines = self.ended.console.splitlines()[-TAIL_LINES:]
        return "\n".join([f"{how} after {self.ended.duration_s:.0f} s; its console:", *lines])

    def times(self) -> str:
        parts = [("preparation", self.prepare_s)]
        parts += [(step["name"], step["duration_s"]) for step in self.summary.get("steps", ())]
        total_s = self.prepare_s + self.ended.duration_s
        return f"{total_s:.0f} s ({', '.join(f'{name} {seconds:.0f} s' for name, seconds in parts)})"


def run_checks(cache: Path, folder: Path) -> HostRun:
    """Prepare the drives (quick when the cache has them), run the machine, collect its results."""
    begun = time.monotonic()
    log = Log.start(cache, "nested")
    boot = host_boot(cache, quiet)
    system = system_image(cache, folder, quiet)
    checkout = copy_checkout(folder / "checkout")
    packed = checkout_drive(checkout, folder / "checkout.squashfs", log)
    kept = cache_drive(cache, checkout, quiet)
    prepared_s = time.monotonic() - begun
    ended = run_host(boot, [system, packed, kept], folder, deadline_s=DEADLINE_S)
    return HostRun(ended, _read(ended.parcel), prepared_s)


def _read(parcel: Path) -> dict[str, bytes]:
    """The files of the archive, as far as it is whole."""
    files: dict[str, bytes] = {}
    with contextlib.suppress(OSError, tarfile.TarError), tarfile.open(parcel, "r:") as archive:
        for member in archive:
            content = archive.extractfile(member)
            if content is not None:
                files[member.name.removeprefix("./")] = content.read()
    return files
