"""What services cost a trial: none, a PostgreSQL that waits in the template, one that each trial starts itself.

    python benchmarks/services.py [--rounds 10] [--memory-mib 256]

Interleaved in one run. `ready` is the time from asking for a machine to one whose database has been connected to (and
of a machine without one, to the end of `/bin/true`). Prints Markdown: times, the price of each way, what making the
templates took and what they cost on disk. Builds the image the first time.
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

from aegis import services
from aegis.engine.services import TrialServices
from aegis.sandbox.base import MIB, Driver, Template, TemplateSpec
from aegis.sandbox.images.cache import cache_folder
from aegis.sandbox.select import open_driver
from aegis.suite.model import Service

WAYS = ("no service", "in the template", "started in the trial")


def specs(memory_mib: int) -> dict[str, TemplateSpec]:
    """All on one image, so that it makes no difference."""
    found = {}
    for way in WAYS:
        start = "trial" if way == WAYS[2] else "template"
        spec, layer = services.make(Service(name="db", preset="postgres", start=start))
        assert layer is not None
        own = () if way == WAYS[0] else (spec,)
        found[way] = TemplateSpec(
            image="debian", memory_bytes=memory_mib * MIB, layers=(layer,), services=own
        )
    return found


async def ready(driver: Driver, template: Template) -> float:
    """Seconds until a fresh machine's database accepts a connection."""
    begun = time.monotonic()
    sandbox = await driver.start(template)
    running = TrialServices()
    try:
        await running.begin(sandbox, {})
        for spec in sandbox.services:
            connection = await sandbox.dial(spec.port or 0)
            await connection.kill()
        done = await sandbox.run(("/bin/true",), timeout_s=120)
        if not done.status.ok:
            raise SystemExit(f"/bin/true failed in the sandbox: {done.status.describe()}")
        return time.monotonic() - begun
    finally:
        await running.close()
        await sandbox.stop()


def on_disk_mib(template: Template) -> float:
    folder = cache_folder() / "templates" / template.key
    return sum(path.stat().st_blocks * 512 for path in folder.iterdir()) / MIB


async def main(rounds: int, memory_mib: int) -> None:
    times: dict[str, list[float]] = {way: [] for way in WAYS}
    async with open_driver("vm", base_dir=Path.cwd(), jobs=1) as driver:
        templates = {way: await driver.template(spec) for way, spec in specs(memory_mib).items()}
        for _ in range(rounds):
            for way in WAYS:
                times[way].append(await ready(driver, templates[way]))
        print(
            f"{driver.info.version}, {driver.info.accel}, {platform.system()} {platform.release()}, "
            f"{os.cpu_count()} processors, guest memory {memory_mib} MiB, {rounds} rounds\n"
        )
    print(
        "| PostgreSQL | ready, s (median) | min–max | more than none, s | template on disk, MiB | made in, s |"
    )
    print("|---|---|---|---|---|---|")
    none = statistics.median(times[WAYS[0]])
    for way in WAYS:
        median = statistics.median(times[way])
        made = "kept from before" if templates[way].cached else f"{templates[way].build_s:.1f}"
        spread = f"{min(times[way]):.2f}–{max(times[way]):.2f}"
        disk = on_disk_mib(templates[way])
        print(f"| {way} | {median:.3f} | {spread} | {median - none:+.3f} | {disk:.0f} | {made} |")
    ahead, own = (statistics.median(times[way]) - none for way in WAYS[1:])
    print(
        f"\nStarting it in each trial costs {own / max(ahead, 0.001):.0f} × what waiting in the template does."
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--memory-mib", type=int, default=256)
    options = parser.parse_args()
    sys.exit(asyncio.run(main(options.rounds, options.memory_mib)))
