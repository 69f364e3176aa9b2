"""Archives out of a sandbox: nothing is written outside the folder, and nothing at all after a refusal."""

from __future__ import annotations

import io
import os
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.errors import HostileArchiveError, SandboxError
from aegis.sandbox.archive import MAX_DEPTH, MAX_NAME_BYTES, unpack
from aegis.sandbox.base import MIB
from support.fuzzing import examples

LIMITS = {"max_bytes": MIB, "max_files": 100}
END = bytes(1024)


def member(name: str, content: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def archive(*given_members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.GNU_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for info, content in given_members:
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def header(name: bytes = b"f", size: bytes = b"0", kind: bytes = b"0", **fields: bytes) -> bytes:
    """One header block with exactly these bytes in its fields, and the right sum."""
    block = bytearray(512)
    places = {"mode": 100, "uid": 108, "gid": 116, "mtime": 136, "link": 157, "magic": 257, "prefix": 345}
    for place, value in [
        (0, name),
        (124, size),
        (156, kind),
        *((places[key], fields[key]) for key in fields),
    ]:
        block[place : place + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 512)


def pax(content: bytes, kind: bytes = b"x") -> bytes:
    return header(b"pax", b"%o" % len(content), kind) + padded(content)


def refused(data: bytes, folder: Path, **limits: int) -> HostileArchiveError:
    """The archive is refused, in bounded time, and leaves nothing."""
    begun = time.process_time()
    with pytest.raises(HostileArchiveError) as error:
        unpack(data, folder / "inner" / "dest", **{**LIMITS, **limits})
    assert time.process_time() - begun < 60
    assert list((folder / "inner").iterdir()) == []
    assert [path.name for path in folder.iterdir()] == ["inner"]
    assert str(error.value).isprintable()
    return error.value


LINKS: list[Callable[[], bytes]] = [
    lambda: archive(member("l", type=tarfile.SYMTYPE, linkname="/etc/passwd")),
    lambda: archive(member("l", type=tarfile.SYMTYPE, linkname="..")),
    lambda: archive(member("l", type=tarfile.LNKTYPE, linkname="/etc/passwd")),
    lambda: archive(member("l", type=tarfile.LNKTYPE, linkname="f"), member("f", b"x")),
    lambda: archive(member("d", type=tarfile.SYMTYPE, linkname="/tmp"), member("d/f", b"x")),
    lambda: archive(member("fifo", type=tarfile.FIFOTYPE)),
    lambda: archive(member("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3)),
    lambda: archive(member("sda", type=tarfile.BLKTYPE, devmajor=8)),
    lambda: archive(member("contiguous", type=tarfile.CONTTYPE)),
    lambda: header(kind=b"S") + END,
    lambda: header(kind=b"Z") + END,
    lambda: header(kind=b"\xff") + END,
    lambda: header(kind=b"K", size=b"10") + padded(b"/etc/pas") + header() + END,
]


@pytest.mark.parametrize("make", LINKS)
def test_links_devices_and_unknown_kinds_are_refused(make: Callable[[], bytes], tmp_path: Path) -> None:
    refused(make(), tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "../f",
        "..",
        "a/../../f",
        "a/..",
        "/f",
        "//f",
        "/",
        "a/../f",
        "./../f",
        "x" * 256,
        "a/" * (MAX_DEPTH + 1) + "f",
        "ab/" * (MAX_NAME_BYTES // 3) + "f",
        "é" * 128,
    ],
    ids=lambda name: name[:12],
)
def test_names_that_lead_elsewhere_or_are_too_long_are_refused(name: str, tmp_path: Path) -> None:
    refused(archive(member("before", b"1"), member(name, b"x")), tmp_path)
    refused(archive(member(name, type=tarfile.DIRTYPE)), tmp_path)


def test_an_empty_name_is_refused(tmp_path: Path) -> None:
    refused(header(b"") + END, tmp_path)
    refused(header(b"", kind=b"5") + END, tmp_path)
    refused(header(b".") + END, tmp_path)
    refused(header(b"./.") + END, tmp_path)
    refused(header(b"L", b"0", b"L") + header(b"ignored") + END, tmp_path)


def test_a_zero_byte_ends_a_name(tmp_path: Path) -> None:
    unpack(header(b"f\0../../g") + END, tmp_path / "dest", **LIMITS)
    assert os.listdir(tmp_path / "dest") == ["f"]


@pytest.mark.parametrize(
    "members",
    [
        [member("f", b"1"), member("f", b"2")],
        [member("f", b"1"), member("./f", b"2")],
        [member("f", b"1"), member("f/g", b"2")],
        [member("f", b"1"), member("f", type=tarfile.DIRTYPE)],
        [member("d", type=tarfile.DIRTYPE), member("d", b"1")],
        [member("d/f", b"1"), member("d", b"1")],
    ],
)
def test_a_name_that_comes_twice_is_refused(
    members: list[tuple[tarfile.TarInfo, bytes]], tmp_path: Path
) -> None:
    refused(archive(*members), tmp_path)


def test_a_folder_may_come_twice(tmp_path: Path) -> None:
    folder = member("d", type=tarfile.DIRTYPE)
    assert unpack(archive(folder, folder, member("d/f", b"1")), tmp_path / "dest", **LIMITS) == 1


def test_special_bits_and_owners_are_not_taken_over(tmp_path: Path) -> None:
    data = archive(
        member("s", b"x", mode=0o6777, uid=12345, gid=12345),
        member("plain", b"x", mode=0o000),
        member("d", type=tarfile.DIRTYPE, mode=0o0),
        member("d/f", b"1"),
    )
    unpack(data, tmp_path / "dest", **LIMITS)
    assert (tmp_path / "dest/s").stat().st_mode & 0o7022 == 0
    assert (tmp_path / "dest/s").stat().st_uid == os.geteuid()
    assert (tmp_path / "dest/plain").read_bytes() == b"x"
    assert (tmp_path / "dest/d/f").read_bytes() == b"1"


def test_too_many_members_and_too_many_bytes_are_refused(tmp_path: Path) -> None:
    many = archive(*(member(f"f{n}") for n in range(101)))
    assert "100 files" in str(refused(many, tmp_path))
    assert unpack(many, tmp_path / "dest", max_bytes=0, max_files=101) == 101
    folders = archive(*(member(f"d{n}", type=tarfile.DIRTYPE) for n in range(101)))
    refused(folders, tmp_path / "more")


def test_too_many_bytes_are_refused(tmp_path: Path) -> None:
    data = archive(member("a", b"x" * 600), member("b", b"x" * 600))
    assert "1199 bytes" in str(refused(data, tmp_path, max_bytes=1199))
    assert unpack(data, tmp_path / "dest", max_bytes=1200, max_files=2) == 2


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a tar at all",
        b"x" * 512,
        header(),
        header(size=b"5000") + END,
        header(size=b"\x80" + b"\xff" * 11) + END,
        header(size=b"\xff" * 12) + END,
        header(size=b"\x80" + bytes(9) + b"\x7f\xff") + END,
        header(size=b"-1") + END,
        header(size=b"9") + END,
        header(size=b"1 2") + END,
        header(mode=b"junk") + END,
        header()[:-1] + b"\x01" + END,
        header(kind=b"5", size=b"10") + padded(b"12345678") + END,
        archive(member("f", b"x" * 5000))[:2000],
        archive(member("x" * 150, b"1"))[:512],
        header(b"L", b"5", b"L") + padded(b"name") + END,
    ],
)
def test_broken_archives_are_refused(data: bytes, tmp_path: Path) -> None:
    refused(data, tmp_path)


BOMBS: list[Callable[[], bytes]] = [
    lambda: pax(b"1" * (8 * MIB)) + header() + END,
    lambda: pax(b"1" * (8 * MIB), b"g") + header() + END,
    lambda: pax(b"20 path=../../escape\n") + header() + END,
    lambda: pax(b"29 linkpath=../../../../../etc\n") + header() + END,
    lambda: pax(b"16 size=1000000\n") + header() + END,
    lambda: (
        pax(b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n30 GNU.sparse.realsize=999999\n") + header() + END
    ),
    lambda: b"".join(pax(b"11 a=bcdef\n") for _ in range(20_000)) + END,
    lambda: header(b"L", b"40000000", b"L") + padded(b"x" * (8 * MIB)) + header() + END,
    lambda: (header(b"L", b"5", b"L") + padded(b"name")) * 20_000 + header() + END,
    lambda: (
        archive(member("f", b"x"), form=tarfile.PAX_FORMAT)
        + archive(member("é" * 90, b"x"), form=tarfile.PAX_FORMAT)
    ),
]


@pytest.mark.parametrize("make", BOMBS[:-1])
def test_extended_headers_and_chains_of_them_are_refused_at_once(
    make: Callable[[], bytes], tmp_path: Path
) -> None:
    refused(make(), tmp_path)


def test_what_follows_the_end_is_not_read(tmp_path: Path) -> None:
    assert unpack(BOMBS[-1](), tmp_path / "dest", **LIMITS) == 1


def test_the_target_folder_must_be_new(tmp_path: Path) -> None:
    (tmp_path / "dest").mkdir()
    (tmp_path / "dest/kept").touch()
    with pytest.raises(SandboxError):
        unpack(archive(member("f", b"x")), tmp_path / "dest", **LIMITS)
    assert [path.name for path in tmp_path.iterdir()] == ["dest"]
    assert [path.name for path in (tmp_path / "dest").iterdir()] == ["kept"]


parts = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=40
).filter(lambda part: part not in (".", "..") and len(part.encode()) <= 255)


@settings(max_examples=examples(100))
@given(st.dictionaries(parts, st.binary(max_size=2000), max_size=8), st.sampled_from([tarfile.GNU_FORMAT]))
def test_what_the_guest_writes_is_read_back(files: dict[str, bytes], form: int) -> None:
    data = archive(*(member(f"d/{name}", content) for name, content in files.items()), form=form)
    with TemporaryDirectory() as folder:
        dest = Path(folder) / "dest"
        assert unpack(data, dest, **LIMITS) == len(files)
        assert {p.name: p.read_bytes() for p in dest.glob("d/*")} == files


names = st.lists(st.sampled_from(["a", "b", "..", ".", "", "x" * 60]) | parts, max_size=6).map("/".join)
kinds = st.sampled_from([*map(bytes, tarfile.SUPPORTED_TYPES), b"Z", b"\0"])
hostile = st.lists(
    st.builds(
        lambda name, content, kind, link: member(name, content, type=kind, linkname=link[:90]),
        names,
        st.binary(max_size=600),
        kinds,
        names,
    ),
    max_size=8,
)


@settings(max_examples=examples(300))
@given(
    hostile,
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=4),
)
def test_whatever_is_in_it_nothing_leaves_the_folder(
    members: list[tuple[tarfile.TarInfo, bytes]], form: int, damage: list[tuple[int, int]]
) -> None:
    data = bytearray(archive(*members, form=form))
    for place, value in damage:
        data[place % len(data)] = value
    with TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "canary").write_text("untouched")
        try:
            unpack(bytes(data), root / "inner" / "dest", **LIMITS)
        except HostileArchiveError:
            assert list((root / "inner").iterdir()) == []
        for path in root.rglob("*"):
            assert not path.is_symlink()
            assert path.is_file() or path.is_dir()
        assert sorted(path.name for path in root.iterdir()) == ["canary", "inner"]
        assert (root / "canary").read_text() == "untouched"
        assert {path.name for path in (root / "inner").iterdir()} <= {"dest"}
