"""A name server for one machine: every name gets an address of its own, from a range that leads nowhere else.

Pure: a datagram in, a datagram out (RFC 1035). Only A questions get an address; AAAA gets an empty answer, so that
clients go on with IPv4; anything else is answered by an empty answer too. Nothing is ever asked of anyone.
While the machine has no network, names are refused: a resolver then says at once that it cannot resolve.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

FIRST = (198 << 24) | (18 << 16)  # 198.18.0.0/15 is set aside for benchmarks (RFC 2544) and is routed nowhere
SIZE = 1 << 17
MAX_NAMES = 1024
TTL_S = 60

HEADER = struct.Struct(">HHHHHH")
TYPE_A, TYPE_AAAA, CLASS_IN = 1, 28, 1
REFUSED, FORMAT_ERROR, SERVER_FAILURE, NOT_IMPLEMENTED, NAME_ERROR = 5, 1, 2, 4, 3
REVERSE = (".in-addr.arpa", ".ip6.arpa")


class Question(NamedTuple):
    """A proper one about the addresses of a name."""

    name: str
    kind: int
    ident: int


class Names:
    """Names and their addresses, in both directions. Addresses stay for as long as the machine lives."""

    def __init__(self) -> None:
        self._addresses: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self.own = {"localhost": "127.0.0.1"}
        """The machine's own names, which are answered always."""
        self.shut = True
        """Whether every other name is refused: there is no network that it could lead to."""

    def address(self, name: str) -> str | None:
        """The name's address, given on first use; None when too many names were asked for, or none may be."""
        known = self.own.get(name)
        if known is not None:
            return known
        if self.shut:
            return None
        known = self._addresses.get(name)
        if known is not None:
            return known
        if len(self._addresses) >= MAX_NAMES:
            return None
        number = FIRST + 256 + len(self._addresses)
        address = ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))
        self._addresses[name] = address
        self._names[address] = name
        return address

    def name(self, address: str) -> str | None:
        return self._names.get(address)

    def question(self, query: bytes) -> Question | None:
        """What a query asks, when it asks for a name's addresses and the name is not one of the machine's own."""
        if len(query) < HEADER.size or self.shut:
            return None
        ident, flags, questions, *_ = HEADER.unpack_from(query)
        try:
            name, end = _read_name(query, HEADER.size)
            kind, family = struct.unpack_from(">HH", query, end)
        except (ValueError, struct.error, IndexError):
            return None
        usual = not flags & 0xF800 and questions == 1 and family == CLASS_IN and kind in (TYPE_A, TYPE_AAAA)
        if not usual or not name or name in self.own or name.endswith(REVERSE):
            return None
        return Question(name, kind, ident)

    def failure(self, query: bytes, code: int) -> bytes:
        """The response that a query (one with a `question`) failed."""
        ident, flags, *_ = HEADER.unpack_from(query)
        _, end = _read_name(query, HEADER.size)
        return _response(ident, flags, code, query[HEADER.size : end + 4])

    def answer(self, query: bytes) -> tuple[bytes | None, str | None]:
        """The response to a query, None for what deserves none; and the address in it, if there is one."""
        if len(query) < HEADER.size:
            return None, None
        ident, flags, questions, *_ = HEADER.unpack_from(query)
        if flags & 0x8000:
            return None, None
        if flags >> 11 & 15:
            return _response(ident, flags, NOT_IMPLEMENTED), None
        try:
            if questions != 1:
                raise ValueError("one question at a time")
            name, end = _read_name(query, HEADER.size)
            kind, family = struct.unpack_from(">HH", query, end)
        except (ValueError, struct.error, IndexError):
            return _response(ident, flags, FORMAT_ERROR), None
        question = query[HEADER.size : end + 4]
        if name.endswith(REVERSE):
            return _response(ident, flags, NAME_ERROR, question), None
        if self.shut and name not in self.own:
            return _response(ident, flags, REFUSED, question), None
        if family != CLASS_IN or kind != TYPE_A or not name:
            return _response(ident, flags, 0, question), None
        address = self.address(name)
        if address is None:
            return _response(ident, flags, REFUSED, question), None
        packed = bytes(map(int, address.split(".")))
        record = struct.pack(">HHHIH", 0xC00C, TYPE_A, CLASS_IN, TTL_S, 4) + packed
        return _response(ident, flags, 0, question, record), address


def _response(ident: int, flags: int, code: int, question: bytes = b"", record: bytes = b"") -> bytes:
    answer_flags = 0x8080 | (flags & 0x0100) | (flags & 0x7800) | code
    return HEADER.pack(ident, answer_flags, bool(question), bool(record), 0, 0) + question + record


def _read_name(query: bytes, position: int) -> tuple[str, int]:
    """A name without compression (none can stand in a first question), lower-cased; and where it ends."""
    labels = []
    while True:
        length = query[position]
        position += 1
        if not length:
            break
        if length > 63:
            raise ValueError("compressed or oversized label")
        label = query[position : position + length]
        if len(label) != length:
            raise ValueError("cut short")
        labels.append(label.decode("ascii", "strict").lower())
        position += length
    name = ".".join(labels)
    if len(name) > 253:
        raise ValueError("name too long")
    return name, position
