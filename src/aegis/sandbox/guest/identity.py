"""What makes a restored machine its own: entropy, clock and names.

Clones of one snapshot share the kernel's random state and clock; both are renewed here before anything runs.
The ioctl numbers are Linux's (random(4)).
"""

from __future__ import annotations

import base64
import fcntl
import os
import socket
import stat
import struct
import time
from typing import Any

from . import confine

RNDADDENTROPY = 0x40085203
RNDRESEEDCRNG = 0x5207
MERGED = "/mnt/merged"
"""The workload's root, as the server sees it."""


def renew(message: dict[str, Any]) -> None:
    """Take on the identity of an INIT message. On a plain host (`clock` absent) nothing of the host is changed."""
    if "clock" not in message:
        return
    seed = base64.b64decode(message["entropy"])
    fd = os.open("/dev/urandom", os.O_WRONLY | os.O_CLOEXEC)
    fcntl.ioctl(fd, RNDADDENTROPY, struct.pack("ii", len(seed) * 8, len(seed)) + seed)
    fcntl.ioctl(fd, RNDRESEEDCRNG)
    os.close(fd)
    time.clock_settime(time.CLOCK_REALTIME, float(message["clock"]))
    socket.sethostname(message["hostname"])
    _rewrite(confine.BOOT_ID, message["boot_id"])
    for path, text in (
        (f"{MERGED}/etc/hostname", message["hostname"]),
        (f"{MERGED}/etc/machine-id", message["machine_id"]),
    ):
        try:
            if stat.S_ISREG(
                os.lstat(path).st_mode
            ):  # an image's symbolic link would lead into the guest's own root
                _rewrite(path, text)
        except FileNotFoundError:
            pass


def _rewrite(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
    os.write(fd, text.encode() + b"\n")
    os.close(fd)


def pause() -> None:
    """Wait a moment for a host that has not connected yet."""
    time.sleep(0.005)
