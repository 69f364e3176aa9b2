"""The host's time stamp counter rate, which a guest under TCG must be told."""

from __future__ import annotations

import ctypes
import mmap
import platform
import time

# rdtsc; shl rdx, 32; or rax, rdx; ret
_CODE = bytes.fromhex("0f31 48c1e220 4809d0 c3")


def tsc_khz(interval_s: float = 0.05) -> int | None:
    """The counter's rate in kHz, measured against the monotonic clock over `interval_s`; None where there is none.

    The kernel does not publish the rate to user space, and `cpu MHz` of /proc/cpuinfo is the momentary clock.
    """
    if platform.machine() not in ("x86_64", "AMD64"):
        return None
    try:
        page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    except (OSError, PermissionError):
        return _from_cpuinfo()
    page.write(_CODE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    read = ctypes.CFUNCTYPE(ctypes.c_uint64)(address)
    read()
    start_ns, start = time.monotonic_ns(), read()
    time.sleep(interval_s)
    end_ns, end = time.monotonic_ns(), read()
    return int((end - start) * 1_000_000 / (end_ns - start_ns))


def _from_cpuinfo() -> int | None:
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("cpu MHz"):
                return round(float(line.partition(":")[2]) * 1000)
    return None
