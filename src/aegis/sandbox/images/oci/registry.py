"""Images of a registry: found and fetched by skopeo, which also knows the user's logins; pinned in `aegis.lock`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from aegis.errors import UsageError
from aegis.sandbox.images.lockfile import read_pin, write_pin
from aegis.sandbox.images.plan import Built, Plan, Request, Workshop, not_built
from aegis.sandbox.images.tools import Log, output_bytes, require_tools, run

from .layout import host_architecture, image_key, open_layout

NEEDED_BYTES = 1 << 30
"""Free space asked for before the size is known."""

_NAME = re.compile(r"[A-Za-z0-9][\w.\-:/\[\]]*(@sha256:[0-9a-f]{64})?")
_LOCAL = re.compile(r"(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?/")
POLICIES = (Path("~/.config/containers/policy.json"), Path("/etc/containers/policy.json"))


def plan(name: str, request: Request) -> Plan:
    """How to make the image `NAME[:TAG][@DIGEST]`.

    Its digest comes from the name, else from `aegis.lock`, else from the registry, and is then pinned.
    Raises `UsageError`, `HostNeedsError`, `ImageError`.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"oci:{name} is not the name of an image", fix="write it as oci:python:3.12-slim")
    ref = f"oci:{name}"
    repository, at, digest = name.partition("@")
    if not at:
        repository = _without_tag(name)
        pinned = None if request.upgrade else read_pin(request.base_dir, ref)
        if pinned is None:
            if not request.build:
                raise not_built(ref)
            pinned = _ask(name, request)
            write_pin(request.base_dir, ref, pinned, request.cache)
        digest = pinned
    elif ":" in repository.rpartition("/")[2]:
        # skopeo refuses a name with both; the digest says everything.
        repository = _without_tag(repository)
    return Plan(ref, "oci", image_key(digest), NEEDED_BYTES, partial(_build, repository, digest))


def _build(repository: str, digest: str, shop: Workshop) -> Built:
    require_tools("skopeo", "mksquashfs", "setpriv", purpose="fetching an image from a registry")
    shop.say(f"fetching {repository}")
    layout = shop.work / "layout"
    source = f"docker://{repository}@{digest}"
    platform = ["--override-os", "linux", "--override-arch", host_architecture()]
    argv = [
        "skopeo",
        *_policy(),
        *platform,
        "copy",
        *_tls(repository, "--src-tls-verify"),
        source,
        f"oci:{layout}:image",
    ]
    run(argv, step=f"fetch {repository}", log=shop.log)
    return open_layout(layout, "image").build(shop)


def _ask(name: str, request: Request) -> str:
    """The digest that the registry gives for a tag now: of the index, where there is one for several platforms."""
    require_tools("skopeo", "setpriv", purpose="finding an image in a registry")
    request.say(f"looking up {name}")
    log = Log.start(request.cache, "registry")
    argv = ["skopeo", *_policy(), "inspect", "--raw", *_tls(name, "--tls-verify"), f"docker://{name}"]
    manifest = output_bytes(argv, step=f"look up {name}", log=log)
    return f"sha256:{hashlib.sha256(manifest).hexdigest()}"


def _without_tag(name: str) -> str:
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.partition(":")[0]


def _tls(name: str, option: str) -> Sequence[str]:
    """Registries on this host itself may speak plain HTTP, as container tools have it."""
    return (f"{option}=false",) if _LOCAL.match(name) else ()


def _policy() -> Sequence[str]:
    """The host's signature policy; where it has none, skopeo refuses everything unless told otherwise."""
    return () if any(path.expanduser().exists() for path in POLICIES) else ("--insecure-policy",)
