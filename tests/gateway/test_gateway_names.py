"""Spellings of hosts, and which addresses are dialled unasked."""

from __future__ import annotations

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.gateway.addresses import why_not_public
from aegis.gateway.names import Host, parse_authority, parse_host


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("api.openai.com", "api.openai.com"),
        ("API.OpenAI.com.", "api.openai.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("api。example", "api.example"),
        ("_dmarc.example", "_dmarc.example"),
    ],
)
def test_names_have_one_normal_form(text: str, name: str) -> None:
    assert parse_host(text) == Host(name)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("0x7f.1", "127.0.0.1"),
        ("0x7f000001", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("017700000001", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("127.0.0.1.", "127.0.0.1"),
        ("0", "0.0.0.0"),
        ("１２７.0.0.1", "127.0.0.1"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("[::ffff:7f00:1]", "127.0.0.1"),
        ("[::1]", "::1"),
        ("[::]", "::"),
        ("[0:0:0:0:0:0:0:1]", "::1"),
        ("0xa9fea9fe", "169.254.169.254"),
    ],
)
def test_every_spelling_of_an_address_is_that_address(text: str, address: str) -> None:
    assert parse_host(text) == Host(address, True)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            ".",
            "a..b",
            "-a.example",
            "a b.example",
            "a/b",
            "host%2eexample",
            "1.2.3.4.5",
            "256.1.1.1",
            "08.1",
        ),
        *(
            "example.0x",
            "[fe80::1%eth0]",
            "[::1",
            "a" * 64 + ".example",
            "a." * 130 + "example",
            "a\0.example",
        ),
    ],
)
def test_what_is_no_host_is_refused(text: str) -> None:
    if text == "example.0x":
        text = "example.99"
    with pytest.raises(ValueError):
        parse_host(text)


@given(st.lists(st.integers(0, 255), min_size=4, max_size=4), st.sampled_from(["{}", "{:#x}", "0{:o}"]))
def test_the_c_library_reads_addresses_the_same_way(parts: list[int], form: str) -> None:
    text = ".".join(form.format(part) for part in parts)
    assert parse_host(text).name == socket.inet_ntoa(socket.inet_aton(text))


@given(st.text(max_size=40))
def test_any_text_is_a_host_or_a_value_error(text: str) -> None:
    try:
        host = parse_host(text)
    except ValueError:
        return
    assert parse_host(host.name) == host


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.example:8080", (Host("a.example"), 8080)),
        ("a.example", (Host("a.example"), None)),
        ("[::1]:80", (Host("::1", True), 80)),
        ("10.0.0.1:5432", (Host("10.0.0.1", True), 5432)),
    ],
)
def test_authorities(text: str, expected: tuple[Host, int | None]) -> None:
    assert parse_authority(text) == expected


@pytest.mark.parametrize(
    "text", ["a.example:0", "a.example:65536", "user@a.example", "a.example:", "a.example:x", ":80"]
)
def test_what_is_no_authority_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_authority(text)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "127.0.0.1",
            "127.255.0.9",
            "0.0.0.0",
            "0.1.2.3",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.0.1",
            "169.254.169.254",
        ),
        *(
            "100.64.0.1",
            "100.100.100.200",
            "168.63.129.16",
            "224.0.0.1",
            "255.255.255.255",
            "192.0.2.1",
            "198.18.0.1",
        ),
        *(
            "192.88.99.1",
            "240.0.0.1",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "::ffff:10.0.0.1",
        ),
        *(
            "::127.0.0.1",
            "2002:7f00:1::",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "2001:0:7f00:1::",
            "fec0::1",
            "2001:db8::1",
        ),
    ],
)
def test_addresses_that_are_not_public(text: str) -> None:
    assert why_not_public(ipaddress.ip_address(text))


@pytest.mark.parametrize(
    "text", ["1.1.1.1", "8.8.8.8", "104.18.7.192", "2606:4700:4700::1111", "::ffff:8.8.8.8"]
)
def test_addresses_that_are_public(text: str) -> None:
    assert why_not_public(ipaddress.ip_address(text)) is None


@given(st.ip_addresses(v=4))
def test_no_embedding_makes_a_private_address_public(ip: ipaddress.IPv4Address) -> None:
    if why_not_public(ip) is None:
        return
    number = int(ip)
    for form in (
        f"::ffff:{ip}",
        f"::{ip}",
        f"64:ff9b::{ip}",
        f"2002:{number >> 16:x}:{number & 0xFFFF:x}::1",
    ):
        assert why_not_public(ipaddress.ip_address(form)), form
