"""What the machine's own kernel refused, read from packets on loopback.

There every address is the machine's own, so a conversation with the outside for which nothing listens is answered by
the kernel itself: a reset to the first packet of TCP, "port unreachable" to UDP. ICMP is told by its question.
"""

from __future__ import annotations

import socket
import struct

from .filters import BYTE, BYTE_AT_X, HEADER_TO_X, IF, IF_BIT, MARK, OURS, RETURN, RIGHT, WORD, attach

SNAP_BYTES = 192
ETH_P_IP, ETH_P_IPV6 = 0x0800, 0x86DD
TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58
ECHO, UNREACHABLE, PORT_UNREACHABLE = 8, 3, 3
ECHO6, UNREACHABLE6, PORT_UNREACHABLE6 = 128, 1, 4
RST, RST_ACK = 0x04, 0x14
HEADER6_BYTES = 40

Attempt = tuple[str, int, str]
"""address, port, `tcp`|`udp`|`icmp`"""

# On packets that begin with the IP header. Only what may tell of a refusal wakes the server; the machine's other
# traffic on loopback may be large. What the server itself refuses for the host is no news.
_FILTER = (
    ("", WORD, MARK, "", ""),
    ("", IF, OURS, "drop", ""),
    ("", BYTE, 0, "", ""),
    ("", RIGHT, 4, "", ""),
    ("", IF, 6, "ipv6", ""),
    ("", BYTE, 12, "", ""),
    ("", IF, 127, "drop", ""),  # from 127.0.0.0/8
    ("", HEADER_TO_X, 0, "", ""),
    ("", BYTE, 9, "", ""),
    ("", IF, TCP, "tcp", ""),
    ("", IF, ICMP, "icmp", "drop"),
    ("tcp", BYTE_AT_X, 13, "", ""),
    ("", IF_BIT, RST, "keep", "drop"),
    ("icmp", BYTE_AT_X, 0, "", ""),
    ("", IF, ECHO, "keep", ""),
    ("", IF, UNREACHABLE, "keep", "drop"),
    ("ipv6", BYTE, 6, "", ""),
    ("", IF, TCP, "tcp6", ""),
    ("", IF, ICMP6, "icmp6", "drop"),
    ("tcp6", BYTE, HEADER6_BYTES + 13, "", ""),
    ("", IF_BIT, RST, "keep", "drop"),
    ("icmp6", BYTE, HEADER6_BYTES, "", ""),
    ("", IF, ECHO6, "keep", ""),
    ("", IF, UNREACHABLE6, "keep", "drop"),
    ("keep", RETURN, SNAP_BYTES, "", ""),
    ("drop", RETURN, 0, "", ""),
)


def watcher(protocol: int) -> socket.socket:
    """A socket that receives packets on loopback which may tell of a refusal; `ETH_P_IP` or `ETH_P_IPV6`."""
    packets = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, 0)
    packets.setblocking(False)
    attach(packets, _FILTER)
    packets.bind(("lo", protocol))  # not before: without the filter it would get everything
    return packets


def refused_attempt(packet: bytes) -> Attempt | None:
    """What a packet says was refused; None for any other."""
    try:
        if packet[0] >> 4 == 4:
            return _attempt4(packet, packet[(packet[0] & 15) * 4 :])
        if packet[0] >> 4 == 6:
            return _attempt6(packet, packet[HEADER6_BYTES:])
    except (IndexError, struct.error, ValueError, OSError):
        pass  # cut short
    return None


def _attempt4(packet: bytes, body: bytes) -> Attempt | None:
    protocol, attempt = packet[9], None
    if protocol == TCP and _refuses(body):
        attempt = packet[12:16], _port(body, 0), "tcp"
    elif protocol == ICMP and body[0] == ECHO:
        attempt = packet[16:20], 0, "icmp"
    elif protocol == ICMP and body[0] == UNREACHABLE and body[1] == PORT_UNREACHABLE:
        inner = body[8:]
        if inner[9] == UDP:
            attempt = inner[16:20], _port(inner[(inner[0] & 15) * 4 :], 2), "udp"
    if attempt is None or attempt[0][0] in (0, 127):
        return None
    return socket.inet_ntoa(attempt[0]), attempt[1], attempt[2]


def _attempt6(packet: bytes, body: bytes) -> Attempt | None:
    protocol, attempt = packet[6], None
    if protocol == TCP and _refuses(body):
        attempt = packet[8:24], _port(body, 0), "tcp"
    elif protocol == ICMP6 and body[0] == ECHO6:
        attempt = packet[24:40], 0, "icmp"
    elif protocol == ICMP6 and body[0] == UNREACHABLE6 and body[1] == PORT_UNREACHABLE6:
        inner = body[8:]
        if inner[6] == UDP:
            attempt = inner[24:40], _port(inner[HEADER6_BYTES:], 2), "udp"
    if attempt is None or attempt[0][:15] == bytes(15):
        return None
    return socket.inet_ntop(socket.AF_INET6, attempt[0]), attempt[1], attempt[2]


def _refuses(segment: bytes) -> bool:
    """Whether a TCP segment answers the first one of a connection by a reset (RFC 9293, 3.10.7.1): it has no number
    of its own. One that ends a connection has."""
    return segment[13] & RST_ACK == RST_ACK and segment[4:8] == bytes(4)


def _port(header: bytes, offset: int) -> int:
    port: int = struct.unpack_from(">H", header, offset)[0]
    return port
