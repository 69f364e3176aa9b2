"""Start time and memory of sandboxes: cold boot, restored, and from the warm pool, interleaved in one run.

    python benchmarks/sandbox_start.py [--rounds 10] [--memory-mib 256]

Prints one Markdown table. `first command` is the time from asking for a machine to the end of a first `/bin/true` in
it, as a trial would see it. Ratios are against the cold boot of the same run. Needs Linux (reads /proc).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import statistics
import sys
import time
from pathlib import Path

from aegis.sandbox.base import MIB, Template, TemplateSpec
from aegis.sandbox.qemu.driver import QemuDriver, QemuSandbox
from aegis.sandbox.select import open_driver


async def answered(sandbox: QemuSandbox, begun: float) -> float:
    """Seconds from `begun` to the end of a first command."""
    done = await sandbox.run(("/bin/true",), timeout_s=120)
    if not done.status.ok:
        raise SystemExit(f"/bin/true failed in the sandbox: {done.status.describe()}")
    return time.monotonic() - begun


def private_mib(pid: int) -> float:
    """Memory that a process and all that it started have for themselves, in MiB: pages that they wrote.

    The kernel's `Private_Dirty` would also count pages of the template that only one machine happens to map just now.
    """
    total = 0
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Anonymous:"):
            total += int(line.split()[1])
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return total / 1024 + sum(private_mib(int(child)) for child in children)


class Figures:
    """Samples of one way to start, in seconds and MiB."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self.firsts: list[float] = []
        self.memory: list[float] = []

    def row(self, name: str, cold: float) -> str:
        wait, first = statistics.median(self.waits), statistics.median(self.firsts)
        spread = f"{min(self.firsts):.2f}–{max(self.firsts):.2f}"
        memory = f"{statistics.median(self.memory):.0f}" if self.memory else "–"
        return f"| {name} | {wait * 1000:.0f} | {first:.3f} | {spread} | {cold / first:.1f} × | {memory} |"


async def cold(driver: QemuDriver, template: Template, figures: Figures) -> None:
    begun = time.monotonic()
    sandbox = await driver.boot_cold(template)
    figures.waits.append(time.monotonic() - begun)
    figures.firsts.append(await answered(sandbox, begun))
    await sandbox.stop()


async def warm(driver: QemuDriver, template: Template, figures: Figures, *, pooled: bool) -> None:
    if pooled:
        driver.expect(template, 1)
        while not driver.ready(template):  # noqa: ASYNC110 - the pool has nothing to wait on, and need not
            await asyncio.sleep(0.01)
    begun = time.monotonic()
    sandbox = await driver.start(template)
    figures.waits.append(time.monotonic() - begun)
    if sandbox.info.pooled is not pooled or not sandbox.info.restored:
        raise SystemExit("the driver did not start the machine in the way that was to be measured")
    figures.memory.append(private_mib(sandbox.pid))
    figures.firsts.append(await answered(sandbox, begun))
    await sandbox.stop()


async def main(rounds: int, memory_mib: int) -> None:
    figures = {"cold boot": Figures(), "restored": Figures(), "restored, warm pool": Figures()}
    async with open_driver("vm", base_dir=Path.cwd(), jobs=1) as driver:
        assert isinstance(driver, QemuDriver)
        template = await driver.template(TemplateSpec(image="debian", memory_bytes=memory_mib * MIB))
        for number in range(rounds):
            if number % 3 == 0:
                await cold(driver, template, figures["cold boot"])
            await warm(driver, template, figures["restored"], pooled=False)
            await warm(driver, template, figures["restored, warm pool"], pooled=True)
        print(
            f"{driver.info.version}, {driver.info.accel}, {platform.system()} {platform.release()}, "
            f"{os.cpu_count()} processors, guest memory {memory_mib} MiB, {rounds} rounds\n"
        )
    print(
        "| start | a trial waits, ms (median) | first command, s (median) | min–max | than cold | private MiB |"
    )
    print("|---|---|---|---|---|---|")
    base = statistics.median(figures["cold boot"].firsts)
    for name, each in figures.items():
        print(each.row(name, base))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--memory-mib", type=int, default=256)
    options = parser.parse_args()
    sys.exit(asyncio.run(main(options.rounds, options.memory_mib)))
