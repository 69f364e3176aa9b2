"""Building an image file for real, upon a tiny base: what changes it, and what a failure leaves."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from image_tools import leftovers, needs_builds, squashfs_file, squashfs_paths, tiny_base

from aegis.errors import ImageError
from aegis.sandbox.images import ImageStore

pytestmark = needs_builds


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    tiny_base(folder)
    return folder


def write(project: Path, text: str, name: str = "image.toml") -> None:
    (project / name).write_text(f'base = "oci-layout:tiny"\n{text}')


def test_steps_files_and_environment(project: Path, tmp_path: Path) -> None:
    (project / "tools").mkdir()
    (project / "tools/crm").write_text("#!/bin/sh\necho crm\n")
    (project / "tools/crm").chmod(0o755)
    write(
        project,
        'run = ["echo $A $B > /etc/said; id -u >> /etc/said", "/bin/crm >> /etc/said", "touch /tmp/gone /run/gone"]\n'
        '[files]\n"tools" = "/opt/tools"\n"tools/crm" = "/bin/"\n[env]\nB = "two words"\n',
    )
    image = ImageStore(tmp_path / "cache").resolve("image.toml", base_dir=project)
    assert squashfs_file(image.rootfs, "etc/said") == b"1 two words\n0\ncrm\n"
    assert squashfs_file(image.rootfs, "etc/motd") == b"tiny\n"
    paths = squashfs_paths(image.rootfs)
    # /opt is a link to /srv in the base: the image's own, not the host's.
    assert paths["srv/tools/crm"] == "-rwxr-xr-x"
    assert paths["opt"].startswith("l")
    assert not [path for path in paths if path.startswith(("tmp/", "run/", "dev/", "proc/"))]
    assert image.env == {"PATH": "/bin", "A": "1", "B": "two words"}
    assert image.workdir == "/srv"
    assert leftovers(tmp_path / "cache") == []


def test_only_a_changed_input_builds_again(project: Path, tmp_path: Path) -> None:
    (project / "data").write_text("1")
    write(project, 'run = ["echo hi > /hi"]\n[files]\ndata = "/data"\n')
    store = ImageStore(tmp_path / "cache")
    said: list[str] = []

    def key() -> str:
        return store.resolve("image.toml", base_dir=project, progress=said.append).key

    first = key()
    said.clear()
    write(project, '# a comment\n[files]\n"data" = "/data"\n')
    text = (project / "image.toml").read_text()
    (project / "image.toml").write_text(text.replace("[files]", 'run = ["echo hi > /hi"]\n[files]'))
    assert key() == first
    assert said == []
    (project / "data").write_text("2")
    second = key()
    assert second != first
    assert said
    write(project, 'run = ["echo ho > /hi"]\n[files]\ndata = "/data"\n')
    assert key() not in (first, second)


def test_a_base_may_be_an_image_file(project: Path, tmp_path: Path) -> None:
    write(project, 'run = ["echo lower > /lower"]\n', "lower.toml")
    (project / "upper.toml").write_text('base = "lower.toml"\nrun = ["cat /lower > /upper"]\n')
    store = ImageStore(tmp_path / "cache")
    image = store.resolve("upper.toml", base_dir=project)
    assert squashfs_file(image.rootfs, "upper") == b"lower\n"
    assert image.inputs["base"]["ref"] == "lower.toml"


def test_a_failing_step_leaves_nothing_half_made(project: Path, tmp_path: Path) -> None:
    lines = "; ".join(f"echo line {number}" for number in range(40))
    write(project, f'run = ["echo fine", "{lines}; echo no such luck >&2; false", "touch /never"]\n')
    store = ImageStore(tmp_path / "cache")
    with pytest.raises(ImageError) as caught:
        store.resolve("image.toml", base_dir=project)
    message = str(caught.value)
    assert message.startswith("run step 2 (")
    assert "failed (exit code 1):" in message
    assert message.endswith("no such luck")
    assert len(message.splitlines()) == 21
    assert "line 21" in message
    assert "line 20\n" not in message
    log = tmp_path / "cache/logs/image-image.log"
    assert str(log) in str(caught.value.fix)
    assert "line 0\n" in log.read_text()
    assert [image.ref for image in store.list()] == ["oci-layout:tiny"]
    assert leftovers(tmp_path / "cache") == []

    write(project, 'run = ["touch /repaired"]\n')
    assert "repaired" in squashfs_paths(store.resolve("image.toml", base_dir=project).rootfs)


def test_nothing_that_a_step_started_outlives_it(project: Path, tmp_path: Path) -> None:
    write(project, 'run = ["sleep 987654 & touch /ok"]\n')
    ImageStore(tmp_path / "cache").resolve("image.toml", base_dir=project)
    commands = [
        path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if os.access(path, os.R_OK)
    ]
    assert not [command for command in commands if b"987654" in command]


def test_packages_need_apt_and_the_message_says_so(project: Path, tmp_path: Path) -> None:
    write(project, 'packages = ["git"]\n')
    with pytest.raises(ImageError, match="needs a base with apt"):
        ImageStore(tmp_path / "cache").resolve("image.toml", base_dir=project)
    assert leftovers(tmp_path / "cache") == []


def test_a_full_disk_is_told_as_that(project: Path, tmp_path: Path) -> None:
    write(project, "run = [\"echo 'cp: writing: No space left on device' >&2; false\"]\n")
    with pytest.raises(
        ImageError, match=r"the disk of .* is full \(\d+ MiB free, about \d+ MiB needed\)"
    ) as caught:
        ImageStore(tmp_path / "cache").resolve("image.toml", base_dir=project)
    assert "aegis image prune" in str(caught.value.fix)
    assert leftovers(tmp_path / "cache") == []


def _resolve(project: Path, cache: Path, results: multiprocessing.Queue[tuple[str, list[str]]]) -> None:
    said: list[str] = []
    image = ImageStore(cache).resolve("image.toml", base_dir=project, progress=said.append)
    results.put((image.digest, said))


def test_two_processes_build_it_once(project: Path, tmp_path: Path) -> None:
    write(project, 'run = ["sleep 1", "dd if=/dev/urandom of=/unique bs=16 count=1"]\n')
    ImageStore(tmp_path / "cache").resolve("oci-layout:tiny", base_dir=project)
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[tuple[str, list[str]]] = context.Queue()
    both = [context.Process(target=_resolve, args=(project, tmp_path / "cache", results)) for _ in range(2)]
    for process in both:
        process.start()
    found = [results.get(timeout=120) for _ in both]
    for process in both:
        process.join()
    assert found[0][0] == found[1][0]
    built = [said for _, said in found if "building image image.toml" in said]
    assert len(built) == 1


def test_what_a_killed_build_left_is_cleaned_by_the_next(project: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    write(project, 'run = ["touch /begun; sleep 876543"]\n')
    program = (
        "from pathlib import Path; from aegis.sandbox.images import ImageStore; import sys;"
        "ImageStore(Path(sys.argv[1])).resolve('image.toml', base_dir=Path(sys.argv[2]))"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(cache), str(project)]) as process:
        deadline = time.monotonic() + 60
        while not list(cache.glob("tmp/*/root/begun")):
            assert time.monotonic() < deadline, "the build never came to its step"
            time.sleep(0.05)
        process.kill()
    assert len(leftovers(cache)) == 1

    deadline = time.monotonic() + 30
    while [path for path in Path("/proc").glob("[0-9]*/cmdline") if _holds(path, b"876543")]:
        assert time.monotonic() < deadline, "the killed build's step is still running"
        time.sleep(0.05)

    write(project, 'run = ["touch /done"]\n')
    image = ImageStore(cache).resolve("image.toml", base_dir=project)
    assert "done" in squashfs_paths(image.rootfs)
    assert leftovers(cache) == []


def _holds(path: Path, text: bytes) -> bool:
    try:
        return text in path.read_bytes()
    except OSError:
        return False
