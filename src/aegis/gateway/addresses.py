"""Which addresses the gateway dials without being told to by name: the public internet and nothing else."""

from __future__ import annotations

import ipaddress

from aegis.gateway.names import IPAddress, plain

_REFUSED = {
    ipaddress.ip_network(text): what
    for text, what in {
        "168.63.129.16/32": "a metadata address",
        "169.254.169.254/32": "a metadata address",
        "100.100.100.200/32": "a metadata address",
        "fd00:ec2::254/128": "a metadata address",
        "0.0.0.0/8": "an unspecified address",
        "100.64.0.0/10": "a carrier-grade NAT address",
        "192.88.99.0/24": "a 6to4 relay address",
        "::/96": "an IPv4-compatible address",
        "64:ff9b::/96": "a NAT64 address",
        "64:ff9b:1::/48": "a NAT64 address",
        "2001::/32": "a Teredo address",
        "2002::/16": "a 6to4 address",
        "fec0::/10": "a site-local address",
    }.items()
}
"""Checked in this order. The ranges that embed an IPv4 address are refused whole, whatever they embed."""


def why_not_public(ip: IPAddress) -> str | None:
    """None for an address of the public internet, else what it is: `a loopback address`."""
    ip = plain(ip)
    if ip.is_unspecified:
        return "an unspecified address"
    if ip.is_loopback:
        return "a loopback address"
    for network, what in _REFUSED.items():
        if ip.version == network.version and ip in network:
            return what
    if ip.is_link_local:
        return "a link-local address"
    if ip.is_multicast:
        return "a multicast address"
    if not ip.is_global:
        return "a private or reserved address"
    return None
