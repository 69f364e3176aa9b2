"""Kernel modules: reading what each one depends on, and the order to load them in.

The kernel package ships no `modules.dep` (depmod makes it on installation), so the dependencies come from the
`.modinfo` section of each module.
"""

from __future__ import annotations

import lzma
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from aegis.errors import ImageError


@dataclass(frozen=True, slots=True)
class ModuleTree:
    """The modules of one unpacked kernel package; names are normalised (`virtio-rng` is `virtio_rng`)."""

    files: dict[str, Path]
    builtin: frozenset[str]

    @classmethod
    def scan(cls, folder: Path) -> ModuleTree:
        """Read `lib/modules/VERSION`."""
        files = {_name(path.name): path for path in sorted(folder.rglob("*.ko*"))}
        listing = folder / "modules.builtin"
        lines = listing.read_text().splitlines() if listing.exists() else []
        return cls(files, frozenset(_name(Path(line).name) for line in lines))

    def read(self, name: str) -> bytes:
        """The module's ELF image, decompressed."""
        path = self.files[name]
        data = path.read_bytes()
        if path.suffix == ".xz":
            return lzma.decompress(data)
        if path.suffix == ".zst":
            import zstandard

            return zstandard.ZstdDecompressor().decompressobj().decompress(data)
        return data

    def load_order(self, wanted: Iterable[str]) -> list[str]:
        """The wanted modules and all they depend on, each after its dependencies. Built-in ones are left out.

        Raises `ImageError` for a module that the kernel doesn't have, and for a cycle.
        """
        order: list[str] = []
        pending: set[str] = set()

        def visit(name: str) -> None:
            if name in order or name in self.builtin:
                return
            if name not in self.files:
                raise ImageError(f"the kernel has no module {name}", fix="aegis setup --upgrade")
            if name in pending:
                raise ImageError(f"kernel module {name} depends on itself")
            pending.add(name)
            for dependency in dependencies(self.read(name)):
                visit(dependency)
            order.append(name)

        for name in wanted:
            visit(_name(name))
        return order


def dependencies(module: bytes) -> list[str]:
    """The normalised names after `depends=` of a module's ELF image."""
    for entry in section(module, b".modinfo").split(b"\0"):
        key, _, value = entry.partition(b"=")
        if key == b"depends":
            return [_name(name) for name in value.decode().split(",") if name]
    return []


def section(elf: bytes, wanted: bytes) -> bytes:
    """One section of a 64-bit little-endian ELF file, empty when absent. Raises `ImageError` for anything else."""
    if elf[:6] != b"\x7fELF\x02\x01":
        raise ImageError("a kernel module is not a 64-bit ELF file", fix="aegis setup --upgrade")
    try:
        (table,) = struct.unpack_from("<Q", elf, 0x28)
        size, count, names_index = struct.unpack_from("<HHH", elf, 0x3A)
        headers = [struct.unpack_from("<IIQQQQ", elf, table + size * n) for n in range(count)]
        names = headers[names_index][4] if headers else 0
        for name, _kind, _flags, _address, offset, length in headers:
            start = names + name
            if elf[start : elf.index(b"\0", start)] == wanted:
                return elf[offset : offset + length]
    except (struct.error, IndexError, ValueError, OverflowError) as error:
        raise ImageError("a kernel module is damaged", fix="aegis setup --upgrade") from error
    return b""


def _name(file_name: str) -> str:
    return file_name.partition(".ko")[0].replace("-", "_")
