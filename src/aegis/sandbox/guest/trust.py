"""The run's authority in the places where an image's clients look for the authorities that they trust.

Nothing of the image is run for it. Existing lists are added to; a Java store of the old kind (JKS) too, one of another
kind is replaced by a JKS store, which every Java reads, of the authority alone.
"""

from __future__ import annotations

import base64
import os
import struct
from collections.abc import Iterable
from typing import Any

from .rootfs import Root

AUTHORITY = "/usr/local/share/ca-certificates/internal-root-ca.crt"
"""The authority alone. Debian's tools for certificates take what an administrator puts there."""
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
"""All authorities; there in every machine that has a network."""
BUNDLES = (
    BUNDLE,  # Debian, Alpine, Arch, Gentoo
    "/etc/pki/tls/certs/ca-bundle.crt",  # Red Hat
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/var/lib/ca-certificates/ca-bundle.pem",
    "/etc/ssl/certs/ca-bundle.crt",  # NixOS
    "/etc/ssl/cert.pem",  # Alpine
    "/etc/pki/tls/cert.pem",
)
HASHED = ("/etc/ssl/certs", "/etc/pki/tls/certs")
"""Folders in which OpenSSL finds an authority by the hash of its name."""
JAVA_STORES = ("/etc/ssl/certs/java/cacerts", "/etc/pki/java/cacerts")
JAVA_FOLDERS = ("/usr/lib/jvm", "/usr/java", "/opt", "/opt/java")
JAVA_INSIDE = ("lib/security/cacerts", "jre/lib/security/cacerts")

PASSING = ".new"
MAX_NAMESAKES = 8
MAX_STORE_BYTES = 4 << 20
JKS_MAGIC, JKS_VERSION, JKS_CERTIFICATE = 0xFEEDFEED, 2, 2
JKS_HEADER = struct.Struct(">III")
JKS_DIGEST_BYTES = 20
JAVA_PASSWORD = "changeit"  # Java's own, which everyone uses: the store holds nothing secret


class Places:
    """Where a machine's lists are: looked for once, before the machine is saved, since each clone would be slow to."""

    def __init__(self) -> None:
        self._bundles: list[str] | None = None
        self._java: list[str] = []

    def ready(self, root: Root) -> None:
        """Do all that `install` does, to nothing's effect: what it writes to is then in memory, and in a processor that
        is emulated its code is translated. Raises OSError."""
        self._find(root)
        for path in (*(self._bundles or ()), *self._java):
            root.append(path, b"")
        for folder in (os.path.dirname(AUTHORITY), *HASHED):
            if root.has_folder(folder):
                root.write(f"{folder}/{PASSING}", b"")
                root.remove(f"{folder}/{PASSING}")
                root.link(f"{folder}/{PASSING}", AUTHORITY)
                root.remove(f"{folder}/{PASSING}")

    def install(self, root: Root, trust: dict[str, Any]) -> None:
        """`pem`: the authority's certificate; `hash`: what OpenSSL calls it. Raises OSError."""
        if self._bundles is None:
            self._find(root)
        pem = str(trust["pem"]).encode()
        root.write(AUTHORITY, pem)
        lists = [path for path in self._bundles or () if _appended(root, path, b"\n" + pem)]
        if not lists:
            root.write(BUNDLE, pem)
        elif root.resolved(BUNDLE) is None:
            root.link(BUNDLE, lists[0])
        for folder in HASHED:
            _link_by_hash(root, folder, str(trust["hash"]))
        for path in self._java:
            store = root.read(path, MAX_STORE_BYTES)
            if store:
                root.rewrite(path, java_store(store, _der(pem)))

    def _find(self, root: Root) -> None:
        self._bundles = _real_files(root, BUNDLES)
        self._java = _real_files(root, _java_names(root))


def _real_files(root: Root, paths: Iterable[str]) -> list[str]:
    """Where those that are there really lie, each once: most names are links to another one."""
    return list(dict.fromkeys(path for path in map(root.resolved, paths) if path is not None))


def _appended(root: Root, path: str, data: bytes) -> bool:
    try:
        root.append(path, data)
    except FileNotFoundError:  # a program of the template has removed it since
        return False
    return True


def _link_by_hash(root: Root, folder: str, name_hash: str) -> None:
    if not root.has_folder(folder):
        return
    for number in range(MAX_NAMESAKES):
        try:
            root.link(f"{folder}/{name_hash}.{number}", AUTHORITY)
            return
        except FileExistsError:
            pass


# -- Java --------------------------------------------------------------------------------------------------------


def _java_names(root: Root) -> list[str]:
    homes = [f"{folder}/{name}" for folder in JAVA_FOLDERS for name in root.names(folder)]
    return [*JAVA_STORES, *(f"{home}/{inside}" for home in homes for inside in JAVA_INSIDE)]


def java_store(old: bytes, certificate: bytes) -> bytes:
    """A JKS store of an old one's entries, if that is one, and a certificate (DER).

    Layout: magic, version, number of entries; each a tag, a name, a time, and what it holds; at the end SHA-1 of the
    password, two words, and all before.
    """
    import hashlib  # late: few images have Java

    entries, count = b"", 0
    if len(old) >= JKS_HEADER.size + JKS_DIGEST_BYTES:
        magic, version, number = JKS_HEADER.unpack_from(old)
        if (magic, version) == (JKS_MAGIC, JKS_VERSION):
            entries, count = old[JKS_HEADER.size : -JKS_DIGEST_BYTES], number
    entry = struct.pack(">I", JKS_CERTIFICATE) + _java_text("internal-root-ca") + bytes(8)
    entry += _java_text("X.509") + struct.pack(">I", len(certificate)) + certificate
    body = JKS_HEADER.pack(JKS_MAGIC, JKS_VERSION, count + 1) + entries + entry
    whole = JAVA_PASSWORD.encode("utf-16-be") + b"Mighty Aphrodite" + body
    return body + hashlib.sha1(whole, usedforsecurity=False).digest()


def _java_text(text: str) -> bytes:
    return struct.pack(">H", len(text)) + text.encode()


def _der(pem: bytes) -> bytes:
    lines = pem.strip().splitlines()
    return base64.b64decode(b"".join(lines[1:-1]))
