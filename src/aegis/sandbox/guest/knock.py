"""The first packet of a connection: read, sent again, or answered by a reset in its target's name. Pure.

A listener whose socket has `CLOSED_DOOR` attached doesn't see such packets unless the server itself has sent them, so
that nothing is answered until it is known whether the connection is to come about.
"""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

from .filters import AND, BYTE, BYTE_AT_X, HEADER_TO_X, IF, IF_BIT, MARK, OURS, RETURN, RIGHT, WORD, Step

Place = tuple[str, int]
"""address, port"""

TCP = 6
SYN, SYN_ACK, RST_ACK = 0x02, 0x12, 0x14
FRAGMENT = 0x1FFF
ALL = 0xFFFF

CLOSED_DOOR: tuple[Step, ...] = (  # on segments, which begin with TCP's header
    ("", BYTE, 13, "", ""),
    ("", AND, SYN_ACK, "", ""),
    ("", IF, SYN, "", "keep"),
    ("", WORD, MARK, "", ""),
    ("", IF, OURS, "keep", ""),
    ("drop", RETURN, 0, "", ""),
    ("keep", RETURN, ALL, "", ""),
)
KNOCKS: tuple[Step, ...] = (  # on packets, which begin with IP's header: what such a listener doesn't see
    ("", WORD, MARK, "", ""),
    ("", IF, OURS, "drop", ""),
    ("", BYTE, 0, "", ""),
    ("", RIGHT, 4, "", ""),
    ("", IF, 4, "", "drop"),
    ("", BYTE, 9, "", ""),
    ("", IF, TCP, "", "drop"),
    ("", BYTE, 16, "", ""),
    ("", IF, 127, "drop", ""),  # to 127.0.0.0/8
    ("", HEADER_TO_X, 0, "", ""),
    ("", BYTE_AT_X, 13, "", ""),
    ("", IF_BIT, SYN, "", "drop"),
    ("", IF_BIT, SYN ^ SYN_ACK, "drop", ""),
    ("", RETURN, ALL, "", ""),
    ("drop", RETURN, 0, "", ""),
)


class Knock(NamedTuple):
    source: Place
    target: Place
    sequence: int
    header: bytes
    """IP's."""
    segment: bytes


def read(packet: bytes) -> Knock | None:
    """None when the packet is not the whole first one of a connection over IPv4."""
    try:
        size, total = (packet[0] & 15) * 4, struct.unpack_from(">H", packet, 2)[0]
        header, segment = packet[:size], packet[size:total]
        source_port, target_port, sequence = struct.unpack_from(">HHI", segment)
        whole = len(packet) >= total and size >= 20 and len(segment) >= 20
        fragment = struct.unpack_from(">H", packet, 6)[0] & FRAGMENT
        if packet[0] >> 4 != 4 or not whole or fragment or packet[9] != TCP:
            return None
        if segment[13] & SYN_ACK != SYN:
            return None
    except (IndexError, struct.error):
        return None  # cut short
    source, target = socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20])
    return Knock((source, source_port), (target, target_port), sequence, header, segment)


def again(knock: Knock) -> bytes:
    """The same packet. Its checksum is made anew: on loopback the kernel leaves that to a card that isn't there."""
    return knock.header + _with_checksum(knock.segment, knock.header[12:16], knock.header[16:20])


def refusal(knock: Knock) -> bytes:
    """What a kernel answers for a port where nothing listens (RFC 9293, 3.10.7.1)."""
    source, target = knock.header[12:16], knock.header[16:20]
    acknowledged = (knock.sequence + 1 + len(knock.segment) - (knock.segment[12] >> 4) * 4) & 0xFFFFFFFF
    ports = knock.target[1], knock.source[1]
    segment = struct.pack(">HHIIBBHHH", *ports, 0, acknowledged, 0x50, RST_ACK, 0, 0, 0)
    # Length, identification and checksum of the header are the kernel's to fill in.
    header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 0, 0, 0x4000, 64, TCP, 0, target, source)
    return header + _with_checksum(segment, target, source)


def _with_checksum(segment: bytes, source: bytes, target: bytes) -> bytes:
    cleared = segment[:16] + b"\0\0" + segment[18:]
    data = source + target + struct.pack(">BBH", 0, TCP, len(segment)) + cleared + bytes(len(segment) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return cleared[:16] + struct.pack(">H", ~total & 0xFFFF) + cleared[18:]
