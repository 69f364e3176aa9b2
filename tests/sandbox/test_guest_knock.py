"""First packets of connections, held and answered. That kernels take what is sent is tested in machines."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.sandbox.guest import knock
from aegis.sandbox.guest.refused import refused_attempt

CLIENT, SERVER = "198.18.1.0", "198.18.1.0"
OPTIONS = bytes.fromhex("0204ffd70402080a3b2ea8a10000000001030307")


def first_packet(
    flags: int = knock.SYN,
    *,
    options: bytes = OPTIONS,
    data: bytes = b"",
    ip_options: bytes = b"",
    fragment: int = 0,
) -> bytes:
    segment = struct.pack(
        ">HHIIBBHHH", 51000, 443, 0xFFFFFFFF, 0, (20 + len(options)) // 4 << 4, flags, 65495, 0x1234, 0
    )
    body = segment + options + data
    size = 20 + len(ip_options)
    head = struct.pack(">BBHHHBBH", 0x40 | size // 4, 0, size + len(body), 7, fragment, 64, 6, 0)
    return head + socket.inet_aton(CLIENT) + socket.inet_aton(SERVER) + ip_options + body


def checks(packet: bytes) -> bool:
    """Whether the segment's checksum is right (RFC 9293, 3.1): with it, the sum is all ones."""
    size = (packet[0] & 15) * 4
    segment = packet[size:]
    data = packet[12:20] + struct.pack(">HH", 6, len(segment)) + segment + bytes(len(segment) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total == 0xFFFF


def test_what_a_first_packet_says() -> None:
    found = knock.read(first_packet())
    assert found is not None
    assert (found.source, found.target, found.sequence) == ((CLIENT, 51000), (SERVER, 443), 0xFFFFFFFF)


@pytest.mark.parametrize("ip_options", [b"", b"\1\1\1\0"])
@pytest.mark.parametrize("data", [b"", b"odd"])
def test_it_is_sent_again_as_it_was_but_for_the_checksum(ip_options: bytes, data: bytes) -> None:
    packet = first_packet(ip_options=ip_options, data=data)
    found = knock.read(packet + b"padding")
    assert found is not None
    sent = knock.again(found)
    assert checks(sent)
    assert not checks(packet)
    at = 20 + len(ip_options) + 16
    assert (sent[:at], sent[at + 2 :]) == (packet[:at], packet[at + 2 :])


@pytest.mark.parametrize(("data", "acknowledged"), [(b"", 0), (b"fast open", 9)])
def test_a_refusal_is_what_a_kernel_sends_where_nothing_listens(data: bytes, acknowledged: int) -> None:
    found = knock.read(first_packet(data=data))
    assert found is not None
    packet = knock.refusal(found)
    assert checks(packet)
    source_port, target_port, sequence, acknowledgement, size, flags = struct.unpack_from(
        ">HHIIBB", packet, 20
    )
    assert (source_port, target_port) == (443, 51000)
    assert (sequence, acknowledgement) == (0, acknowledged), "numbers go round"
    assert (size, flags) == (0x50, knock.RST_ACK)
    # Were it not for its mark, the server would take it for one of the kernel's own.
    assert refused_attempt(packet) == (SERVER, 443, "tcp")


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        first_packet(knock.SYN_ACK),
        first_packet(0x10),
        first_packet(knock.RST_ACK),
        first_packet()[:-1],
        first_packet()[:30],
        first_packet(fragment=185),
        b"\x60" + first_packet()[1:],
        first_packet()[:9] + b"\x11" + first_packet()[10:],
        b"\x41" + first_packet()[1:],
    ],
)
def test_what_is_no_first_packet(packet: bytes) -> None:
    assert knock.read(packet) is None


@given(st.binary(max_size=100), st.integers(0, 60))
def test_any_packet_is_one_or_none(noise: bytes, at: int) -> None:
    packet = first_packet()
    for data in (
        noise,
        b"\x45" + noise,
        packet[:at] + noise,
        packet[:at] + noise + packet[at + len(noise) :],
    ):
        if (found := knock.read(data)) is not None:
            assert checks(knock.again(found))
            assert checks(knock.refusal(found))
