from __future__ import annotations

import errno
import hashlib
import io
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from aegis.errors import LedgerError
from aegis.results.blobs import BlobStore


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


def blob_file(store: BlobStore, digest: str) -> Path:
    return store.folder / digest[:2] / f"{digest[2:]}.zst"


@pytest.mark.parametrize("data", [b"", b"a", b"trace " * 100_000, os.urandom(3 * 1024 * 1024 + 1)])
def test_bytes_come_back_under_their_sha256(store: BlobStore, data: bytes) -> None:
    digest = store.put(data)
    assert digest == hashlib.sha256(data).hexdigest()
    assert store.has(digest)
    assert store.get(digest) == data
    assert store.put_stream(io.BytesIO(data)) == digest


def test_blobs_are_compressed(store: BlobStore) -> None:
    digest = store.put(b"the same line again\n" * 10_000)
    assert blob_file(store, digest).stat().st_size < 2_000


def test_put_is_idempotent_and_leaves_no_temporary_file(store: BlobStore) -> None:
    assert store.put(b"x" * 1000) == store.put(b"x" * 1000) == store.put_stream(io.BytesIO(b"x" * 1000))
    files = [path for path in store.folder.rglob("*") if path.is_file()]
    assert len(files) == 1


def test_missing_blob_is_named(store: BlobStore) -> None:
    digest = "0" * 64
    assert not store.has(digest)
    with pytest.raises(LedgerError, match=f"{digest} is missing"):
        store.get(digest)


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 64 + "\n"])
def test_what_is_no_digest_is_refused(store: BlobStore, name: str) -> None:
    with pytest.raises(LedgerError, match="not the name of a blob"):
        store.get(name)


def damage_cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def damage_empty(path: Path) -> None:
    path.write_bytes(b"")


def damage_garbage(path: Path) -> None:
    path.write_bytes(b"not zstd at all")


def damage_swap(path: Path) -> None:
    other = BlobStore(path.parent.parent)
    path.write_bytes(blob_file(other, other.put(b"something else")).read_bytes())


@pytest.mark.parametrize("damage", [damage_cut, damage_empty, damage_garbage, damage_swap])
def test_corrupt_blob_is_named_and_repaired_by_the_next_put(
    store: BlobStore, damage: Callable[[Path], None]
) -> None:
    data = os.urandom(5000)
    digest = store.put(data)
    damage(blob_file(store, digest))
    with pytest.raises(LedgerError, match=f"blob {digest} is corrupt") as caught:
        store.get(digest)
    assert str(blob_file(store, digest)) in str(caught.value.fix)
    store.put(data)
    assert store.get(digest) == data


def test_large_stream_needs_little_memory(store: BlobStore) -> None:
    script = """
import sys, resource
from pathlib import Path
from aegis.results.blobs import BlobStore
class Zeros:
    left = 400 * 1024 * 1024
    def read(self, size):
        size = min(size, self.left); self.left -= size; return bytes(size)
store = BlobStore(Path(sys.argv[1]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
digest = store.put_stream(Zeros())
assert sum(map(len, store.chunks(digest))) == 400 * 1024 * 1024
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, store.folder], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 64  # MiB, for 400


def test_full_disk_is_a_ledger_error_and_leaves_nothing(store: BlobStore) -> None:
    # A limit on the size of files is the closest to a full disk that needs no privileges: writing fails
    # half-way.
    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    script = """
import os, sys
from pathlib import Path
from aegis.errors import LedgerError
from aegis.results.blobs import BlobStore
try:
    BlobStore(Path(sys.argv[1])).put(os.urandom(1_000_000))
except LedgerError as error:
    print(error, '|', error.fix)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, store.folder],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=limited,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert os.strerror(errno.EFBIG) in done.stdout
    assert "free some space" in done.stdout
    assert [path for path in store.folder.rglob("*") if path.is_file()] == []


def test_folder_in_the_way_is_a_ledger_error(tmp_path: Path) -> None:
    (tmp_path / "blobs").write_text("a file")
    with pytest.raises(LedgerError, match=str(tmp_path / "blobs")):
        BlobStore(tmp_path / "blobs").put(b"x")


def test_left_overs_of_killed_writers_are_removed_after_a_day(store: BlobStore) -> None:
    store.put(b"x")
    old, young = store.folder / "tmp" / "1-old", store.folder / "tmp" / "2-young"
    for path in (old, young):
        path.write_bytes(b"half")
    yesterday = time.time() - 25 * 3600
    os.utime(old, (yesterday, yesterday))
    BlobStore(store.folder)
    assert not old.exists()
    assert young.exists()


def test_many_threads_put_the_same_blob(store: BlobStore) -> None:
    data = os.urandom(200_000)
    digests: list[str] = []
    threads = [threading.Thread(target=lambda: digests.append(store.put(data))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert digests == [hashlib.sha256(data).hexdigest()] * 8
    assert store.get(digests[0]) == data


def test_threads_may_put_the_same_and_different_bytes(store: BlobStore) -> None:
    """The gateway stores long bodies from worker threads."""
    contents = [bytes([number % 7]) * 200_000 for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        digests = list(pool.map(store.put, contents))
    assert [store.get(digest) for digest in digests] == contents
    assert list((store.folder / "tmp").iterdir()) == []
