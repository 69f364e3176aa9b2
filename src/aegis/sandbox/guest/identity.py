"""What makes a restored machine its own: entropy, clock, names, and whom its clients trust.

Clones of one snapshot share the kernel's random state and clock; both are renewed here before anything runs.
The ioctl numbers are Linux's (random(4)).
"""

from __future__ import annotations

import base64
import fcntl
import functools
import os
import socket
import struct
import time
from typing import Any

from . import confine, trust
from .rootfs import Root

RNDADDENTROPY = 0x40085203
RNDRESEEDCRNG = 0x5207
MERGED = "/mnt/merged"
"""The workload's root, as the server sees it."""
ZONES = "/usr/share/zoneinfo"
_PLACES = trust.Places()


@functools.cache
def workload_root() -> Root:
    """Made once, in the template: each clone would be slow to."""
    return Root(MERGED)


def renew(message: dict[str, Any]) -> None:
    """Take on the identity of an INIT message. On a plain host (`clock` absent) nothing of the host is changed."""
    if "clock" not in message:
        return
    seed = base64.b64decode(message["entropy"])
    fd = os.open("/dev/urandom", os.O_WRONLY | os.O_CLOEXEC)
    fcntl.ioctl(fd, RNDADDENTROPY, struct.pack("ii", len(seed) * 8, len(seed)) + seed)
    fcntl.ioctl(fd, RNDRESEEDCRNG)
    os.close(fd)
    if message["clock"] is not None:  # a kept machine's time goes on
        time.clock_settime(time.CLOCK_REALTIME, float(message["clock"]))
    socket.sethostname(message["hostname"])
    with open(confine.BOOT_ID, "w") as file:
        file.write(message["boot_id"] + "\n")
    root = workload_root()
    for path, text in (
        ("/etc/hostname", message["hostname"]),
        ("/etc/machine-id", message["machine_id"]),
    ):
        try:
            root.rewrite(path, text.encode() + b"\n")
        except OSError:
            pass  # the image has none, or the workload put something else there
    if "trust" in message:
        _PLACES.install(root, message["trust"])


def set_clock(at: float | None, zone: dict[str, Any] | None) -> None:
    """Show another time (seconds since 1970), and make `zone` (`name`, and its file as `data`) the machine's time zone.
    Raises OSError for a time that the kernel refuses."""
    if at is not None:
        time.clock_settime(time.CLOCK_REALTIME, float(at))
    if zone is not None:
        _set_zone(workload_root(), zone["name"], base64.b64decode(zone["data"]))


def _set_zone(root: Root, name: str, data: bytes) -> None:
    """As an installed system has it: the zone's file where libraries look for it by name, /etc/localtime a link to it.
    An image without zones gets this one."""
    place = f"{ZONES}/{name}"
    if root.resolved(place) is None:
        root.write(place, data)
    try:
        root.remove("/etc/localtime")
    except FileNotFoundError:
        pass
    root.link("/etc/localtime", place)
    root.write("/etc/timezone", name.encode() + b"\n")


def rehearse() -> None:
    """Do ahead what the start of a trial would wait for: in a machine that is about to be saved, and in a clone that
    waits for a trial."""
    try:
        _PLACES.ready(workload_root())
    except OSError:
        pass  # a trial that has a network will meet the same, and say so


def pause() -> None:
    """Wait a moment for a host that has not connected yet."""
    time.sleep(0.005)
