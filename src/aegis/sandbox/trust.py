"""The run's authority, as sandboxes are told of it."""

from __future__ import annotations

import hashlib
import os
import ssl
from functools import lru_cache
from pathlib import Path
from typing import Any

from aegis.sandbox.guest.trust import BUNDLES

MAX_BUNDLE_BYTES = 4 << 20
OBJECT_IDENTIFIER, UTF8_STRING, SEQUENCE, SET = 0x06, 0x0C, 0x30, 0x31


def trust_message(ca_pem: str) -> dict[str, Any]:
    """The part `trust` of an INIT message."""
    return {"pem": ca_pem, "hash": subject_hash(ca_pem)}


@lru_cache(maxsize=8)
def subject_hash(ca_pem: str) -> str:
    """What `openssl x509 -hash` prints, 8 hex digits: OpenSSL finds an authority in a folder as the file `HASH.0`.

    SHA-1 over the subject's names, each written as UTF-8 in lower case with single blanks (X509_NAME_hash_ex); the
    first four bytes, the last one first.
    """
    from cryptography import x509

    subject = x509.load_pem_x509_certificate(ca_pem.encode()).subject
    encoded = b"".join(
        _der(
            SET,
            b"".join(
                sorted(_der(SEQUENCE, _oid(each.oid.dotted_string) + _text(each.value)) for each in rdn)
            ),
        )
        for rdn in subject.rdns
    )
    return hashlib.sha1(encoded, usedforsecurity=False).digest()[3::-1].hex()


def _text(value: str | bytes) -> bytes:
    text = value if isinstance(value, str) else value.decode("utf-8", "replace")
    return _der(UTF8_STRING, " ".join(text.lower().split()).encode())


def _oid(dotted: str) -> bytes:
    """An object identifier in DER: its first two numbers in one, then seven bits in each byte."""
    first, second, *others = map(int, dotted.split("."))
    content = bytearray()
    for number in (40 * first + second, *others):
        digits = [number & 0x7F]
        while number := number >> 7:
            digits.append(number & 0x7F | 0x80)
        content += bytes(reversed(digits))
    return _der(OBJECT_IDENTIFIER, bytes(content))


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def host_bundle() -> bytes:
    """The authorities that this host trusts (PEM); empty when it has no list of them."""
    candidates = (os.environ.get("SSL_CERT_FILE"), ssl.get_default_verify_paths().cafile, *BUNDLES)
    for path in candidates:
        if path and Path(path).is_file():
            try:
                with open(path, "rb") as file:
                    return file.read(MAX_BUNDLE_BYTES)
            except OSError:
                continue
    return b""
