"""What the figures were measured on, in one line for the report."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path


def describe() -> str:
    """`2 × AMD EPYC …, 23 GiB, Linux 6.1.0, Python 3.11.2`; what the host doesn't tell is left out."""
    cores = len(os.sched_getaffinity(0))
    model = _first_match("/proc/cpuinfo", r"model name\s*:\s*(.+)") or platform.machine()
    memory_kib = _first_match("/proc/meminfo", r"MemTotal:\s*(\d+) kB")
    parts = [f"{cores} × {model}"]
    if memory_kib:
        parts.append(f"{int(memory_kib) / 1024**2:.0f} GiB")
    parts += [f"Linux {platform.release()}", f"Python {platform.python_version()}"]
    return ", ".join(parts)


def _first_match(path: str, pattern: str) -> str | None:
    try:
        match = re.search(pattern, Path(path).read_text())
    except OSError:
        return None
    return match.group(1).strip() if match else None
