"""Seconds and megabytes of keeping a machine: `python benchmarks/kept.py [--memory 256MiB] [--rounds 5]`.

A machine in which a Python program has imported what agents import is kept while it runs (a checkpoint), and restored.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from aegis.sandbox.base import TemplateSpec
from aegis.sandbox.kept import Keepable, Reopening
from aegis.sandbox.select import open_driver
from aegis.suite.units import parse_size

WORK = "import asyncio, http.client, json, sqlite3, ssl, sys, urllib.request\n" + (
    "open('notes.bin', 'wb').write(__import__('os').urandom(4 << 20))\nprint('up', flush=True)\n"
    "for line in sys.stdin: print(line, end='', flush=True)"
)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memory", default="256MiB")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    spec = TemplateSpec(image="debian", memory_bytes=parse_size(given.memory))
    paused, complete, size, back, started = [], [], [], [], []
    with tempfile.TemporaryDirectory() as temporary:
        async with open_driver("vm", base_dir=Path("/"), jobs=1, keepable=True) as driver:
            assert isinstance(driver, Reopening)
            template = await driver.template(spec)
            for number in range(given.rounds):
                begun = time.monotonic()
                sandbox = await driver.start(template)
                started.append(time.monotonic() - begun)
                assert isinstance(sandbox, Keepable)
                process = await sandbox.exec(("python3", "-c", WORK))
                await anext(aiter(process.stdout()))
                folder = Path(temporary) / str(number)
                copied = await sandbox.keep(folder, {}, process)
                await process.write(b"on\n")
                await anext(aiter(process.stdout()))
                await sandbox.stop()
                paused.append(copied.paused_s)
                complete.append(copied.total_s)
                size.append(copied.size_bytes / 1e6)
                begun = time.monotonic()
                copy = await driver.reopen(folder)
                await copy.run(("/bin/true",))
                back.append(time.monotonic() - begun)
                await copy.stop()
    for what, values, unit in (
        ("start of a machine that can be kept", started, "s"),
        ("it stands still for", paused, "s"),
        ("until it is on disk", complete, "s"),
        ("on disk", size, "MB"),
        ("restored, first command answered", back, "s"),
    ):
        print(f"{what:40} median {statistics.median(values):6.2f} {unit}, most {max(values):6.2f} {unit}")


if __name__ == "__main__":
    asyncio.run(main())
