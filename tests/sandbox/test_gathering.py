"""What a machine answers to `gather` is hostile until proven dull."""

from __future__ import annotations

import fnmatch
import io
import json
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.errors import GuestProtocolError, HostileArchiveError
from aegis.sandbox.base import Gathered
from aegis.sandbox.gathering import read
from aegis.sandbox.guest import globs
from support.sandbox_bench import tar_of

NOTHING = b'{"left": [], "more": 0}'


def gnu(*members: tuple[str, bytes, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, kind, data in members:
            info = tarfile.TarInfo(name)
            info.type, info.size = kind, len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def asked(archive: bytes, report: bytes = NOTHING, *patterns: str, **bounds: int) -> Gathered:
    limits = {"max_bytes": 100, "max_files": 3, **bounds}
    return read(archive, report, patterns or ("/workspace/out",), **limits)


@pytest.mark.parametrize(
    "archive",
    [
        gnu(("etc/passwd", tarfile.REGTYPE, b"x")),
        gnu(("workspace/outside", tarfile.REGTYPE, b"x")),
        gnu(("/workspace/out/a", tarfile.REGTYPE, b"x")),
        gnu(("workspace/out/../../etc/passwd", tarfile.REGTYPE, b"x")),
        gnu(("workspace/out/a", tarfile.DIRTYPE, b"")),
        gnu(("workspace/out/a", tarfile.SYMTYPE, b"")),
        gnu(("workspace/out/a", tarfile.REGTYPE, b"x"), ("workspace/out/a", tarfile.REGTYPE, b"y")),
        gnu(("workspace/out/a", tarfile.REGTYPE, b"x" * 101)),
        gnu(*((f"workspace/out/{n}", tarfile.REGTYPE, b"x") for n in range(4))),
        gnu(*((f"workspace/out/\x1b{n}", tarfile.REGTYPE, b"x") for n in range(4))),
        b"x" * 1024,
        b"",
    ],
)
def test_answers_that_were_not_asked_for_are_refused(archive: bytes) -> None:
    with pytest.raises(HostileArchiveError):
        asked(archive)


@pytest.mark.parametrize(
    "report",
    [
        *(b"", b"[]", b"{}", b"[" * 100_000),
        *(b'{"left": 1, "more": 0}', b'{"left": [[1]], "more": 0}'),
        *(b'{"left": [], "more": -1}', b'{"left": [], "more": true}', b'{"left": [], "more": 1e400}'),
    ],
)
def test_a_report_that_is_none_breaks_the_protocol(report: bytes) -> None:
    with pytest.raises(GuestProtocolError):
        asked(tar_of({}), report)


def test_words_of_the_machine_are_made_safe_to_show() -> None:
    report = json.dumps(
        {"left": [["/a\x1b[2J\n" + "y" * 1000, "\u202ewhy"], ["", 5]] + [["/b", "x"]] * 200, "more": 7}
    )
    found = asked(tar_of({}), report.encode())
    (path, why), (empty, number) = found.left_out[:2]
    assert (path[:7], len(path), why) == ("/a?[2J?", 300, "?why")
    assert (empty, number) == ("?", "5")
    assert (len(found.left_out), found.more) == (100, 7 + 102)


@given(st.binary(max_size=2000), st.binary(max_size=200))
def test_any_bytes_end_in_an_answer_or_a_refusal(archive: bytes, report: bytes) -> None:
    try:
        asked(archive, report)
    except (HostileArchiveError, GuestProtocolError):
        pass


# -- patterns ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "path", "covered"),
    [
        ("/a/b", "/a/b", True),
        ("/a/b/", "/a/b/c/d", True),
        ("/a/b", "/a/bc", False),
        ("/a/*", "/a/.b", True),
        ("/a/*", "/a/b/c", True),
        ("/a/*.txt", "/a/b.txt", True),
        ("/a/*.txt", "/a/b.txt.gz", False),
        ("/a/*.txt", "/a/x/b.txt", False),
        ("/a/?.txt", "/a/b.txt", True),
        ("/a/?.txt", "/a/.txt", False),
        ("/a/[b]", "/a/b", False),
        ("/a/[b]", "/a/[b]", True),
        ("/a/**", "/a/b", True),
        ("/a/**", "/a", False),
        ("/a/**/x", "/a/x", True),
        ("/a/**/x", "/a/b/c/x", True),
        ("/a/**/**/x", "/a/b/x/y", True),
        ("/a/**/x/*.log", "/a/x/y/x/1.log", True),
        ("/a/**/x/*.log", "/a/x/y/1.log", False),
        ("/**", "/a", True),
        ("/a/b**c", "/a/bxc", True),
        ("/a/b**c", "/a/b/c", False),
    ],
)
def test_what_a_pattern_stands_for(pattern: str, path: str, covered: bool) -> None:
    assert globs.covers(pattern, path) is covered


PARTS = st.text("ab*?", min_size=1, max_size=8)


@given(PARTS, st.text("ab.*\n", max_size=10))
def test_a_name_fits_as_the_standard_library_says(part: str, name: str) -> None:
    assert globs.fits(part, name) is fnmatch.fnmatchcase(name, part)


def test_a_pattern_of_many_wildcards_is_decided_at_once() -> None:
    assert not globs.covers("/" + "**/a/" * 30 + "z", "/" + "a/" * 500 + "b")
    assert not globs.covers("/" + "*a" * 30 + "z", "/" + "a" * 250)
