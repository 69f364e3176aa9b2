"""What it costs a trial to tell what its agent changed: the mark before the agent, the difference after it.

    python benchmarks/trial_changes.py [--files 0,1000,5000] [--trials 15]

For each number of files that the set-up wrote, machines are started one after another; by turns one trial has
neither mark nor difference, the next has both. A trial here is: a machine from the template, a world of two files, an
agent (a Python program) that changes one file and adds three, the end. Printed are medians and their ratio.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from pathlib import Path

from machine import describe

from aegis.sandbox.base import MIB, Driver, Template, TemplateSpec
from aegis.sandbox.select import open_driver

FOLDER_FILES = 250
WORLD = "printf 'a\\nb\\n' > orders.txt; echo call > notes.txt"
AGENT = """\
import os
with open("orders.txt", "a") as file:
    file.write("c")
os.mkdir("outbox")
for name in "123":
    with open("outbox/" + name, "w") as file:
        file.write("hello")
"""


def setup(files: int) -> str:
    folders = max(files // FOLDER_FILES, 1)
    return (
        f"mkdir -p /srv/db; cd /srv/db; for d in $(seq {folders}); do mkdir $d; "
        f"for i in $(seq {files // folders}); do echo $i > $d/$i; done; done"
    )


async def trial(driver: Driver, template: Template, *, look: bool) -> tuple[float, float, float]:
    """Seconds of the whole, of the mark and of the difference."""
    begun = time.perf_counter()
    sandbox = await driver.start(template)
    mark_s = changes_s = 0.0
    try:
        await sandbox.run(("/bin/sh", "-c", WORLD))
        if look:
            before = time.perf_counter()
            await sandbox.mark()
            mark_s = time.perf_counter() - before
        done = await sandbox.run(("python3", "-c", AGENT))
        assert done.status.ok, done.stderr
        if look:
            before = time.perf_counter()
            changes = await sandbox.changes()
            changes_s = time.perf_counter() - before
            assert len(changes.items) == 5, changes
    finally:
        await sandbox.stop()
    return time.perf_counter() - begun, mark_s, changes_s


async def measure(files: int, trials: int) -> str:
    async with open_driver("vm", base_dir=Path.cwd()) as driver:
        spec = TemplateSpec(image="debian", memory_bytes=256 * MIB, setup=(setup(files),) if files else ())
        template = await driver.template(spec)
        await trial(driver, template, look=True)
        rows: dict[bool, list[tuple[float, float, float]]] = {True: [], False: []}
        for number in range(2 * trials):
            look = number % 2 == 1
            rows[look].append(await trial(driver, template, look=look))
    without_s, with_s = (statistics.median(row[0] for row in rows[look]) for look in (False, True))
    mark_ms, changes_ms = (statistics.median(row[i] for row in rows[True]) * 1000 for i in (1, 2))
    ratio = with_s / without_s
    return f"| {files:,} | {without_s:.3f} | {with_s:.3f} | {ratio:.2f} | {mark_ms:.0f} | {changes_ms:.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", default="0,1000,5000", help="files of the set-up, separated by commas")
    parser.add_argument("--trials", type=int, default=15, help="of each kind")
    arguments = parser.parse_args()
    print(f"Measured on: {describe()}\n")
    print(
        "| files | trial without s | trial with s | ratio | mark ms | difference ms |\n|---|---|---|---|---|---|"
    )
    for files in (int(each) for each in arguments.files.split(",")):
        print(asyncio.run(measure(files, arguments.trials)), flush=True)


if __name__ == "__main__":
    main()
