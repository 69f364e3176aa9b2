"""Kernel modules: dependencies come out of the ELF file, and the load order keeps them."""

from __future__ import annotations

import lzma
import struct
from pathlib import Path

import pytest

from aegis.errors import ImageError
from aegis.sandbox.images.modules import ModuleTree, dependencies, section


def elf(sections: dict[bytes, bytes]) -> bytes:
    """A 64-bit little-endian ELF file with just these sections."""
    names = b"\0" + b"".join(name + b"\0" for name in (*sections, b".shstrtab"))
    everything = [*sections.items(), (b".shstrtab", names)]
    body, headers, offset = b"", [bytes(64)], 64
    for name, content in everything:
        headers.append(
            struct.pack("<IIQQQQIIQQ", names.index(name), 1, 0, 0, offset, len(content), 0, 0, 1, 0)
        )
        body += content
        offset += len(content)
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack(
        "<HHIQQQIHHHHHH", 1, 62, 1, 0, 0, offset, 0, 64, 0, 0, 64, len(headers), len(headers) - 1
    )
    return header + body + b"".join(headers)


def module(depends: str) -> bytes:
    return elf({b".text": b"code", b".modinfo": b"license=GPL\0depends=" + depends.encode() + b"\0name=x\0"})


def tree(folder: Path, builtin: str = "", **modules: str) -> ModuleTree:
    for name, depends in modules.items():
        (folder / f"{name.replace('__', '-')}.ko").write_bytes(module(depends))
    (folder / "modules.builtin").write_text(builtin)
    return ModuleTree.scan(folder)


def test_dependencies_are_read_and_normalised() -> None:
    assert dependencies(module("virtio,virtio-ring")) == ["virtio", "virtio_ring"]
    assert dependencies(module("")) == []
    assert dependencies(elf({b".text": b""})) == []


@pytest.mark.parametrize("damaged", [b"", b"MZ", module("a")[:80], b"\x7fELF\x02\x01" + b"\xff" * 100])
def test_what_is_no_module_is_refused(damaged: bytes) -> None:
    with pytest.raises(ImageError):
        section(damaged, b".modinfo")


def test_order_puts_dependencies_first(tmp_path: Path) -> None:
    modules = tree(
        tmp_path, virtio="virtio_ring", virtio_ring="", virtio__rng="virtio", blk="virtio_ring,virtio"
    )
    assert modules.load_order(["virtio-rng", "blk"]) == ["virtio_ring", "virtio", "virtio_rng", "blk"]


def test_built_in_modules_are_left_out(tmp_path: Path) -> None:
    modules = tree(tmp_path, builtin="kernel/lib/crc32c.ko\n", fs="crc32c")
    assert modules.load_order(["fs"]) == ["fs"]


def test_a_missing_module_and_a_circle_are_errors(tmp_path: Path) -> None:
    modules = tree(tmp_path, a="b", b="a", c="nowhere")
    with pytest.raises(ImageError, match="nowhere"):
        modules.load_order(["c"])
    with pytest.raises(ImageError, match="depends on itself"):
        modules.load_order(["a"])


def test_compressed_modules_are_read(tmp_path: Path) -> None:
    import zstandard

    (tmp_path / "a.ko.xz").write_bytes(lzma.compress(module("b")))
    (tmp_path / "b.ko.zst").write_bytes(zstandard.ZstdCompressor().compress(module("")))
    assert ModuleTree.scan(tmp_path).load_order(["a"]) == ["b", "a"]
