"""What to say of a conversation that the sandbox's own kernel has refused. Pure."""

from __future__ import annotations

_WEB = (80, 443)


def why_unreachable(host: str, port: int, protocol: str, *, name: bool) -> str:
    """`name` says that the guest's name server had given out the address for this host."""
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if protocol == "icmp":
        return f"ICMP to {host}: only TCP is carried"
    if protocol == "udp":
        other = "; clients of HTTP/3 fall back to TCP" if port in _WEB else ""
        return f"UDP to {where}: only TCP is carried{other}"
    if name:
        return f"nothing listens at {where}: to open this port, add {where} to network.allow"
    return f"nothing listens at {where}, an address dialled without a name: to open it, add {where} to network.allow"
