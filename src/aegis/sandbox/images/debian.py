"""The built-in image `debian`: the host's Debian release, small, with what agents are most often written in.

mmdebstrap makes it; without root in a user namespace. What is in it, and why, stands in docs/images.md.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from .apt import Repository, network_settings
from .model import DEFAULT_PATH
from .namespaces import isolated
from .pins import Pins, current_pins, load_pins
from .plan import Built, Plan, Request, Workshop, not_built
from .squashfs import FORMAT as SQUASHFS_FORMAT
from .squashfs import squash_tar_file
from .tools import Log, require_tools, run

FORMAT = 2
"""Raised when this file changes what it makes."""

INCLUDED = ("ca-certificates", "curl", "procps", "python3", "python3-venv", "sqlite3")
# Merges the folders by symbolic links; the package `usrmerge` would do it too, but brings the whole of Perl (50 MB).
MERGE_HOOKS = Path("/usr/share/mmdebstrap/hooks/maybe-merged-usr")
EXCLUDED_PATHS = (
    *(
        "/usr/share/doc/*",
        "/usr/share/man/*",
        "/usr/share/info/*",
        "/usr/share/locale/*",
        "/usr/share/lintian/*",
    ),
    *("/usr/share/groff/*", "/usr/share/bash-completion/*", "/usr/share/zsh/*"),
)
# The licence texts must go wherever the programs go.
KEPT_PATHS = ("/usr/share/doc/*/copyright", "/usr/share/locale/locale.alias")

PURPOSE = "building the debian image"
ENV = {"PATH": DEFAULT_PATH, "LANG": "C.UTF-8", "HOME": "/root"}
WORKDIR = "/"
NEEDED_BYTES = 768 << 20
"""Free space that building takes at its peak."""


def plan(request: Request) -> Plan:
    """How to make the image that the pinned state of the mirrors gives. Raises `HostNeedsError`, `ImageError`."""
    pins = current_pins(request.cache, request.say) if request.build else load_pins(request.cache)
    if pins is None:
        raise not_built("debian")
    recipe = [FORMAT, SQUASHFS_FORMAT, INCLUDED, EXCLUDED_PATHS, KEPT_PATHS, ENV, pins.releases]
    key = hashlib.sha256(json.dumps(["debian", recipe], sort_keys=True).encode()).hexdigest()
    return Plan("debian", "debian", key, NEEDED_BYTES, partial(_build, pins))


def _build(pins: Pins, shop: Workshop) -> Built:
    require_tools("mmdebstrap", "mksquashfs", "setpriv", "unshare", purpose=PURPOSE)
    archive = shop.work / "root.tar"
    _make_tar(archive, shop, pins)
    squash_tar_file(archive, shop.rootfs, log=shop.log)
    release = main_release(pins.repositories)
    return Built(
        ENV, WORKDIR, inputs={"release": release, "packages": list(INCLUDED), "releases": pins.releases}
    )


def _make_tar(target: Path, shop: Workshop, pins: Pins) -> None:
    lines = [repository.source_line() for repository in pins.repositories]
    options = _options(shop.work, pins, shop.log)
    argv = ["mmdebstrap", *options, main_release(pins.repositories), str(target), *lines]
    # A namespace of its own: when the build is killed, its mounts and processes end with it. mmdebstrap's own
    # (`--mode=unshare`) maps the user away, who then can't enter a cache below a private home.
    env = {
        **os.environ,
        "LC_ALL": "C.UTF-8",
        "TMPDIR": str(shop.work),
        "SOURCE_DATE_EPOCH": str(pins.epoch),
    }
    run([*isolated(PURPOSE), *argv], step="mmdebstrap", log=shop.log, env=env)


def main_release(repositories: Sequence[Repository]) -> str:
    """The release that the others (`-updates`, `-security`) belong to."""
    return min((repository.release for repository in repositories), key=len)


def public_source(repository: Repository) -> str:
    """A line of sources.list(5) without the name and password that the host's may hold."""
    parts = urlsplit(repository.uri)
    host = parts.netloc.rpartition("@")[2]
    uri = urlunsplit((parts.scheme, host, parts.path, "", ""))
    return f"deb {uri} {repository.release} {repository.component}"


def _options(work: Path, pins: Pins, log: Log) -> list[str]:
    options = [
        "--mode=root",
        "--variant=minbase",
        "--format=tar",
        # The machine's own /dev has the nodes, and without root nobody could unpack them.
        "--skip=output/dev",
        f"--include={','.join(INCLUDED)}",
        *(f"--dpkgopt=path-exclude={path}" for path in EXCLUDED_PATHS),
        *(f"--dpkgopt=path-include={path}" for path in KEPT_PATHS),
    ]
    network = work / "network.conf"
    network.write_text("\n".join([*network_settings(log), 'Acquire::Languages "none";', ""]))
    script = work / "finish.sh"
    sources = "\n".join(dict.fromkeys(public_source(item) for item in pins.repositories))
    script.write_text(_FINISH.replace("@SOURCES@", sources))
    script.chmod(0o755)
    if MERGE_HOOKS.is_dir():
        options.append(f"--hook-dir={MERGE_HOOKS}")
    return [*options, f"--aptopt={network}", f"--customize-hook={script}"]


# Nothing of the host (its name, name servers, proxies) may stay; and no caches, which every first use makes stale.
_FINISH = """#!/bin/sh
set -eu
cd "$1"
echo debian > etc/hostname
printf '127.0.0.1 localhost\\n127.0.1.1 debian\\n' > etc/hosts
rm -f etc/resolv.conf
echo 'nameserver 127.0.0.1' > etc/resolv.conf
rm -f etc/apt/apt.conf.d/99mmdebstrap
mkdir -p etc/dpkg/dpkg.cfg.d
rm -rf etc/apt/sources.list.d/*
cat > etc/apt/sources.list <<'END'
@SOURCES@
END
rm -rf var/cache/debconf/*-old var/lib/dpkg/*-old var/log/* var/cache/ldconfig run/*
mkdir -p var/log/apt
"""
