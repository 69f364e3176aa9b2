"""Time zones as files, as machines without any of their own need them."""

from __future__ import annotations

import zoneinfo
from importlib import resources
from pathlib import Path

from aegis.errors import SandboxError

MAX_ZONE_BYTES = 32 * 1024


def zone_data(name: str) -> bytes:
    """The file (RFC 8536) of a time zone, from this host or from the package `tzdata`.

    Raises SandboxError when neither has it.
    """
    parts = name.split("/")
    if all(part.replace("_", "").replace("-", "").replace("+", "").isalnum() for part in parts):
        places = [Path(folder, *parts) for folder in zoneinfo.TZPATH]
        for place in places:
            if (data := _read(place)) is not None:
                return data
        try:
            packaged = resources.files("tzdata").joinpath("zoneinfo", *parts)
            data = packaged.read_bytes() if packaged.is_file() else b""
        except (ModuleNotFoundError, OSError):
            data = b""
        if data.startswith(b"TZif"):
            return data
    raise SandboxError(f"this host does not know the time zone {name}", fix="install tzdata on this host")


def _read(place: Path) -> bytes | None:
    try:
        data = place.read_bytes()
    except OSError:
        return None
    return data if data.startswith(b"TZif") and len(data) <= MAX_ZONE_BYTES else None
