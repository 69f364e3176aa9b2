"""Host names and addresses as clients spell them, made comparable.

A host has one normal form: a name in lower case as A-labels without the final dot, or the canonical text of an IP
address. Every spelling that some resolver would take for an address (`0x7f.1`, `2130706433`, `127.1`, `0`,
`::ffff:127.0.0.1`, full-width digits) is that address here, so that policy never sees it as a name.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_SHORT = 300
"""Longer texts are not worth remembering: a guest chooses them."""

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\Z")
_NUMBER = re.compile(r"(0x[0-9a-f]*|[0-9]+)\Z")


@dataclass(frozen=True, slots=True)
class Host:
    """A host in its normal form; `name` holds the address text (IPv6 without brackets) when `is_address`."""

    name: str
    is_address: bool = False

    @property
    def in_url(self) -> str:
        return f"[{self.name}]" if self.is_address and ":" in self.name else self.name


def parse_host(text: str) -> Host:
    """Normal form of a host as it stands in a URL, a Host header, CONNECT, SNI or the suite. Raises `ValueError`."""
    if text.startswith("[") and text.endswith("]"):
        return Host(str(_ipv6(text[1:-1])), True)
    if ":" in text:
        return Host(str(_ipv6(text)), True)
    ascii_name = text.lower() if text.isascii() else _to_ascii(text)
    name = ascii_name.removesuffix(".")
    if not name or len(name) > 253:
        raise ValueError(f"not a host name: {text[:80]!r}")
    labels = name.split(".")
    if _NUMBER.match(labels[-1]):
        return Host(str(_legacy_ipv4(labels, text)), True)
    if not all(_LABEL.match(label) for label in labels):
        raise ValueError(f"not a host name: {text[:80]!r}")
    return Host(name)


def parse_authority(text: str) -> tuple[Host, int | None]:
    """`host`, `host:port`, `[v6]:port`. Raises `ValueError`."""
    return _remembered(text) if len(text) <= _SHORT else _parse_authority(text)


def _parse_authority(text: str) -> tuple[Host, int | None]:
    if "@" in text or "/" in text:
        raise ValueError(f"not host:port: {text[:80]!r}")
    host, port = text, None
    if match := re.fullmatch(r"(\[[^\]]*\]|[^:\[\]]*):([0-9]{1,5})", text):
        host, port = match.group(1), int(match.group(2))
        if not 0 < port < 65536:
            raise ValueError(f"not a port: {text[:80]!r}")
    return parse_host(host), port


_remembered = lru_cache(maxsize=1024)(_parse_authority)


def address(host: Host) -> IPAddress:
    return ipaddress.ip_address(host.name)


def plain(ip: IPAddress) -> IPAddress:
    """The IPv4 address inside an IPv4-mapped one; every other address as it is."""
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return mapped or ip


def _ipv6(text: str) -> IPAddress:
    if "%" in text:
        raise ValueError("addresses with a zone are not reachable")
    return plain(ipaddress.IPv6Address(text))


def _to_ascii(text: str) -> str:
    # IDNA 2003 of the standard library also maps full-width digits and the ideographic full stop, as browsers do.
    try:
        return text.encode("idna").decode("ascii").lower()
    except UnicodeError as error:
        raise ValueError(f"not a host name: {text[:80]!r}") from error


def _legacy_ipv4(labels: list[str], text: str) -> ipaddress.IPv4Address:
    """`inet_aton`: one to four parts, each decimal, octal or hexadecimal; the last fills the rest."""
    if len(labels) > 4 or not all(_NUMBER.match(label) for label in labels):
        raise ValueError(f"neither a name nor an address: {text[:80]!r}")
    parts = [_legacy_number(label) for label in labels]
    *first, last = parts
    if any(part > 255 for part in first) or last >= 256 ** (4 - len(first)):
        raise ValueError(f"not an address: {text[:80]!r}")
    value = last
    for position, part in enumerate(first):
        value |= part << (24 - 8 * position)
    return ipaddress.IPv4Address(value)


def _legacy_number(label: str) -> int:
    if label.startswith("0x"):
        return int(label[2:] or "0", 16)
    if label.startswith("0") and label != "0":
        return int(label, 8)
    return int(label)
