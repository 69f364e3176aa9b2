"""Classic BPF programs (bpf(4)) that decide in the kernel which packets reach a socket."""

from __future__ import annotations

import ctypes
import socket
import struct

SO_ATTACH_FILTER, SO_DETACH_FILTER = 26, 27

BYTE, BYTE_AT_X, WORD, HEADER_TO_X = 0x30, 0x50, 0x20, 0xB1
RIGHT, AND, IF, IF_BIT, RETURN = 0x74, 0x54, 0x15, 0x45, 0x06
MARK = 0xFFFFF000 + 20
"""Where `WORD` finds the mark of the socket that sent the packet: no byte of it (SKF_AD_OFF + SKF_AD_MARK)."""

OURS = 0x1D0C
"""The mark of what the server itself sends in others' names."""

Step = tuple[str, int, int, str, str]
"""Label, code, value, label if true, label if false; without labels it goes on with the next step."""


def attach(sock: socket.socket, steps: tuple[Step, ...]) -> None:
    """From now on the socket gets only what the steps let through. Raises OSError."""
    buffer = ctypes.create_string_buffer(_assembled(steps))
    program = struct.pack("HP", len(steps), ctypes.addressof(buffer))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)


def detach(sock: socket.socket) -> None:
    """Raises OSError; a socket without a filter too."""
    sock.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)


def _assembled(steps: tuple[Step, ...]) -> bytes:
    places = {label: number for number, (label, *_) in enumerate(steps) if label}
    code = []
    for number, (_, operation, value, if_true, if_false) in enumerate(steps):
        jumps = [places[label] - number - 1 if label else 0 for label in (if_true, if_false)]
        code.append(struct.pack("HBBI", operation, *jumps, value))
    return b"".join(code)
