"""Making everything that a first run would have to make: what `aegis setup` does."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .boot import BootFiles, boot_files, check_architecture
from .cache import Progress, cache_folder, quiet
from .model import Image
from .pins import load_pins, refresh_pins
from .store import ImageStore
from .tools import Log, require_tools

BUILT_IN = "debian"


@dataclass(frozen=True, slots=True)
class Prepared:
    cache: Path
    boot: BootFiles
    image: Image
    boot_made: bool
    """Whether the boot files had to be made now."""
    image_made: bool
    """Whether the image had to be built now."""
    upgraded: bool
    """Whether newer packages than before are pinned."""
    duration_s: float

    def as_json(self) -> dict[str, Any]:
        return {
            "cache": str(self.cache),
            "upgraded": self.upgraded,
            "duration_s": round(self.duration_s, 3),
            "boot": {
                "digest": self.boot.digest,
                "kernel_version": self.boot.kernel_version,
                "kernel": str(self.boot.kernel),
                "initrd": str(self.boot.initrd),
                "guest_root": str(self.boot.guest_root),
                "made": self.boot_made,
            },
            "image": {**self.image.as_json(), "made": self.image_made},
        }


def prepare(
    *, upgrade: bool = False, cache_dir: Path | None = None, progress: Progress | None = None
) -> Prepared:
    """Make the boot files and the built-in image unless they are there. `upgrade` pins the newest packages first.

    Raises `HostNeedsError` naming every missing program at once, `ImageError` when something can't be made.
    """
    begun = time.monotonic()
    say = progress or quiet
    cache = cache_folder(cache_dir)
    check_architecture()
    require_tools(
        *("qemu-system-x86_64", "apt-get", "dpkg-deb", "mksquashfs", "mmdebstrap", "setpriv", "unshare"),
        purpose="running machines",
    )
    upgraded = upgrade and _upgrade(cache, say)
    kept = _names(cache / "boot"), _names(cache / "images")
    boot = boot_files(say, cache)
    image = ImageStore(cache).resolve(BUILT_IN, base_dir=Path.cwd(), progress=say)
    return Prepared(
        cache=cache,
        boot=boot,
        image=image,
        boot_made=boot.digest not in kept[0],
        image_made=image.key not in kept[1],
        upgraded=upgraded,
        duration_s=time.monotonic() - begun,
    )


def _upgrade(cache: Path, say: Progress) -> bool:
    before = load_pins(cache)
    return refresh_pins(cache, Log.start(cache, "packages"), say) != before


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()
