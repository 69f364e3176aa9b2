"""What packets on loopback tell of refused conversations. The filter itself is tested in machines."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.sandbox.guest import refused
from aegis.sandbox.guest.refused import refused_attempt


def ipv4(protocol: int, source: str, target: str, body: bytes, options: bytes = b"") -> bytes:
    head = bytes([0x40 | (20 + len(options)) // 4, 0]) + struct.pack(">H", 20 + len(options) + len(body))
    head += bytes(5) + bytes([protocol]) + bytes(2)
    return head + socket.inet_aton(source) + socket.inet_aton(target) + options + body


def ipv6(protocol: int, source: str, target: str, body: bytes) -> bytes:
    head = b"\x60\0\0\0" + struct.pack(">H", len(body)) + bytes([protocol, 64])
    return head + socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, target) + body


def tcp(source: int, target: int, flags: int, sequence: int = 0) -> bytes:
    return struct.pack(">HHIIBBHHH", source, target, sequence, 77, 0x50, flags, 0, 0, 0)


def udp(source: int, target: int) -> bytes:
    return struct.pack(">HHHH", source, target, 9, 0) + b"x"


def icmp(kind: int, code: int, inner: bytes = b"") -> bytes:
    return struct.pack(">BBHI", kind, code, 0, 0) + inner


OUTSIDE, OUTSIDE6 = "203.0.113.7", "2001:db8::7"
RESET = tcp(443, 51000, refused.RST_ACK)


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (ipv4(6, OUTSIDE, OUTSIDE, RESET), (OUTSIDE, 443, "tcp")),
        (ipv4(6, OUTSIDE, "127.0.0.1", RESET, options=b"\1\1\1\0"), (OUTSIDE, 443, "tcp")),
        (ipv6(6, OUTSIDE6, OUTSIDE6, RESET), (OUTSIDE6, 443, "tcp")),
        (
            ipv4(1, OUTSIDE, OUTSIDE, icmp(3, 3, ipv4(17, OUTSIDE, OUTSIDE, udp(50000, 53)))),
            (OUTSIDE, 53, "udp"),
        ),
        (
            ipv6(58, OUTSIDE6, OUTSIDE6, icmp(1, 4, ipv6(17, OUTSIDE6, OUTSIDE6, udp(50000, 443)))),
            (OUTSIDE6, 443, "udp"),
        ),
        (ipv4(1, OUTSIDE, OUTSIDE, icmp(8, 0)), (OUTSIDE, 0, "icmp")),
        (ipv6(58, OUTSIDE6, OUTSIDE6, icmp(128, 0)), (OUTSIDE6, 0, "icmp")),
    ],
)
def test_what_was_refused(packet: bytes, expected: refused.Attempt) -> None:
    assert refused_attempt(packet) == expected


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        ipv4(6, OUTSIDE, OUTSIDE, tcp(51000, 443, 0x02)),  # the question itself: something may listen
        ipv4(6, OUTSIDE, OUTSIDE, tcp(443, 51000, 0x12)),
        ipv4(6, OUTSIDE, OUTSIDE, tcp(443, 51000, refused.RST_ACK, 12345)),  # ended later
        ipv4(6, "127.0.0.1", "127.0.0.1", RESET),
        ipv6(6, "::1", "::1", RESET),
        ipv4(17, OUTSIDE, OUTSIDE, udp(50000, 53)),
        ipv4(1, OUTSIDE, OUTSIDE, icmp(3, 3, ipv4(6, OUTSIDE, OUTSIDE, RESET))),
        ipv4(1, OUTSIDE, OUTSIDE, icmp(3, 1, ipv4(17, OUTSIDE, OUTSIDE, udp(1, 2)))),
        ipv4(1, "127.0.0.1", "127.0.0.1", icmp(8, 0)),
        ipv4(1, OUTSIDE, OUTSIDE, icmp(0, 0)),
        ipv4(47, OUTSIDE, OUTSIDE, b"x" * 40),
        ipv4(6, OUTSIDE, OUTSIDE, RESET)[:30],
        b"\x00" * 60,
    ],
)
def test_what_was_not(packet: bytes) -> None:
    assert refused_attempt(packet) is None


@given(st.binary(max_size=100), st.sampled_from([b"", b"\x45", b"\x4f", b"\x60"]))
def test_any_packet_is_one_or_none(data: bytes, start: bytes) -> None:
    attempt = refused_attempt(start + data)
    assert attempt is None or (attempt[2] in ("tcp", "udp", "icmp") and 0 <= attempt[1] <= 65535)
