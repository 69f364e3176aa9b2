"""Images made from an image file: base, packages, files, pip, run, in this order."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from aegis.errors import ImageError, UsageError

from .apt import network_settings
from .cache import make_folder
from .chroot import PURPOSE, Chroot
from .debian import main_release
from .files import ProjectFile, digest_files, project_files, write_files
from .imagefile import ImageFile, read_image_file
from .model import Image
from .pins import load_pins
from .plan import Built, Plan, Request, Workshop
from .squashfs import FORMAT as SQUASHFS_FORMAT
from .tools import require_tools

FORMAT = 1
"""Raised when this file changes what it makes."""

CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
PIP_VARIABLES = (
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_TRUSTED_HOST",
    "PIP_DEFAULT_TIMEOUT",
    "PIP_RETRIES",
)
PIP_CONFIGURATIONS = (Path("~/.config/pip/pip.conf"), Path("~/.pip/pip.conf"), Path("/etc/pip.conf"))

_APT = """
set -u
if [ -e /usr/sbin/policy-rc.d ]; then made=; else
    made=yes
    printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
fi
mkdir -p /tmp/lists/partial /tmp/archives/partial
export APT_CONFIG=/tmp/apt.conf
apt-get -q update
apt-get -q install --yes --no-install-recommends -- @PACKAGES@
if [ -n "$made" ]; then rm -f /usr/sbin/policy-rc.d; fi
rm -rf /var/log/apt/* /var/log/dpkg.log /var/log/alternatives.log /var/cache/debconf/*-old /var/lib/dpkg/*-old
rm -rf /tmp/lists /tmp/archives /tmp/apt.conf /tmp/sources.list
"""

# Debian's Python has no pip of its own and marks itself as managed by apt; one borrowed from a virtual environment
# installs beside Debian's packages, in /usr/local.
_PIP = """
if python3 -m pip --version > /dev/null 2>&1; then
    pip() { python3 -m pip "$@"; }
else
    python3 -m venv /tmp/pip || { echo "the image has neither pip nor python3-venv"; exit 1; }
    pip() { /tmp/pip/bin/pip --python /usr/bin/python3 "$@"; }
fi
pip install --no-cache-dir --no-input --disable-pip-version-check @REQUIREMENTS@
rm -rf /tmp/pip /tmp/pip.conf
"""


def plan(ref: str, request: Request) -> Plan:
    """How to make the image of an image file; its base is made first when building is allowed.

    Raises `UsageError` for a wrong image file, and what making the base raises.
    """
    path = (request.base_dir / ref).resolve()
    if str(path) in request.above:
        raise UsageError(f"image file {ref} is built upon itself", fix="give it another base")
    recipe = read_image_file(path, ref, request.base_dir)
    base = request.resolve(recipe.base, replace(request, above=(*request.above, str(path))))
    files = project_files(request.base_dir, recipe.files)
    inputs: dict[str, Any] = {
        "base": {"ref": base.ref, "digest": base.digest},
        "packages": list(recipe.packages),
        "pip": list(recipe.pip),
        "files": dict(recipe.files),
        "files_digest": digest_files(files),
        "run": list(recipe.run),
        "env": dict(recipe.env),
    }
    # The base counts by its content: two names for one image give one result.
    meaning = {**inputs, "base": base.digest}
    key = hashlib.sha256(
        json.dumps(["recipe", FORMAT, SQUASHFS_FORMAT, meaning], sort_keys=True).encode()
    ).hexdigest()
    # The base is unpacked, and packed again with what is added to it.
    needed = 6 * base.size_bytes + (256 << 20)
    name = "".join(char if char.isalnum() else "-" for char in path.stem)
    return Plan(ref, name, key, needed, partial(build, recipe, base, files, inputs))


def build(
    recipe: ImageFile, base: Image, files: list[ProjectFile], inputs: dict[str, Any], shop: Workshop
) -> Built:
    """Make the image of a recipe upon its base. Raises `ImageError`, `HostNeedsError`."""
    require_tools("mksquashfs", "unsquashfs", purpose=PURPOSE)
    env = {**base.env, **recipe.env}
    chroot = Chroot(shop.work / "root", make_folder(shop.work / "scratch"), shop.log, env)
    chroot.unpack(base.rootfs)
    _lend_certificates(chroot)
    if recipe.packages:
        shop.say(f"installing {len(recipe.packages)} packages")
        _install_packages(chroot, recipe.packages, shop)
    if files:
        shop.say("copying files")
        chroot.place(partial(write_files, files=files), step="copy files")
    if recipe.pip:
        shop.say("installing Python packages")
        _install_pip(chroot, recipe.pip)
    for number, command in enumerate(recipe.run, 1):
        shop.say(f"running step {number} of {len(recipe.run)}: {_short(command)}")
        chroot.run(command, step=f"run step {number} ({_short(command)})")
    shop.say("writing the file system")
    chroot.squash(shop.rootfs)
    return Built(env, base.workdir, base.user, inputs)


def _install_packages(chroot: Chroot, packages: tuple[str, ...], shop: Workshop) -> None:
    if not chroot.has("apt-get"):
        raise ImageError(
            "`packages` needs a base with apt, and this one has none",
            fix="install them with the base's own package manager, in a command of `run`",
        )
    settings = [
        *network_settings(shop.log),
        'Dir::State::lists "/tmp/lists";',
        'Dir::Cache::archives "/tmp/archives";',
        'Dir::Cache::pkgcache "";',
        'Dir::Cache::srcpkgcache "";',
        'APT::Sandbox::User "root";',
        'Dpkg::Use-Pty "0";',
        'Acquire::Languages "none";',
    ]
    if (chroot.scratch / CERTIFICATES.name).exists():
        settings.append(f'Acquire::https::CaInfo "/tmp/{CERTIFICATES.name}";')
    pins = load_pins(shop.cache)
    if pins and chroot.release() == main_release(pins.repositories):
        # The host's own mirrors, which may be the only ones that it reaches.
        lines = [replace(repository, signed_by="").source_line() for repository in pins.repositories]
        (chroot.scratch / "sources.list").write_text("\n".join([*lines, ""]))
        settings += ['Dir::Etc::sourcelist "/tmp/sources.list";', 'Dir::Etc::sourceparts "/dev/null";']
    (chroot.scratch / "apt.conf").write_text("\n".join([*settings, ""]))
    chroot.run(_APT.replace("@PACKAGES@", shlex.join(packages)), step="install packages")


def _install_pip(chroot: Chroot, requirements: tuple[str, ...]) -> None:
    env = {name: value for name in PIP_VARIABLES if (value := os.environ.get(name))}
    env |= {"PIP_BREAK_SYSTEM_PACKAGES": "1", "PIP_ROOT_USER_ACTION": "ignore"}
    if (chroot.scratch / CERTIFICATES.name).exists():
        env["PIP_CERT"] = f"/tmp/{CERTIFICATES.name}"
    configuration = next((path for name in PIP_CONFIGURATIONS if (path := name.expanduser()).is_file()), None)
    if configuration:
        shutil.copyfile(configuration, chroot.scratch / "pip.conf")
        env["PIP_CONFIG_FILE"] = "/tmp/pip.conf"
    words = [
        word for item in requirements for word in (item.split(None, 1) if item.startswith("-r ") else [item])
    ]
    chroot.run(_PIP.replace("@REQUIREMENTS@", shlex.join(words)), step="install Python packages", env=env)


def _lend_certificates(chroot: Chroot) -> None:
    """A host whose network has a certificate authority of its own can build; the image doesn't keep it."""
    if CERTIFICATES.is_file():
        shutil.copyfile(CERTIFICATES, chroot.scratch / CERTIFICATES.name)


def _short(command: str) -> str:
    line = " ".join(command.split())
    return line if len(line) <= 60 else f"{line[:57]}…"
