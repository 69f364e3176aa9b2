"""What of a project goes into a sandbox, and what never does."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from aegis.engine import files
from aegis.engine.files import pack_project, pack_world
from aegis.errors import UsageError


def write(root: Path, *names: str, text: str = "x") -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def git(root: Path, *args: str) -> None:
    subprocess.run(["git", "-C", str(root), *args], check=True, capture_output=True)


def names(archive: bytes | None) -> list[str]:
    assert archive is not None
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return tar.getnames()


def member(archive: bytes | None, name: str) -> tarfile.TarInfo:
    assert archive is not None
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return tar.getmember(name)


def content(archive: bytes | None, name: str) -> bytes:
    assert archive is not None
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        file = tar.extractfile(name)
        assert file is not None
        return file.read()


def pack(root: Path, mapping: dict[str, str]) -> bytes | None:
    return pack_project(root, mapping, secret=[root / "evals"])


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write(
        tmp_path,
        "agent.py",
        "lib/tool.py",
        "evals/production.yaml",
        "evals/fixtures/orders.json",
        "aegis.toml",
        "aegis.lock",
        ".aegis/ledger.db",
        "lib/__pycache__/tool.pyc",
        "node_modules/m/index.js",
        ".venv/bin/python",
    )
    return tmp_path


def test_the_expected_answers_never_go_in(project: Path) -> None:
    assert names(pack(project, {".": "/workspace"})) == ["workspace/agent.py", "workspace/lib/tool.py"]


def test_in_a_git_work_tree_ignored_files_stay_out(project: Path) -> None:
    git(project, "init", "-q")
    write(project, ".gitignore", text="*.log\nbuild/\n.venv/\nnode_modules/\n")
    write(project, "debug.log", "build/out.bin", "new.py")
    git(project, "add", "agent.py")
    packed = names(pack(project, {".": "/workspace"}))
    assert packed == [
        "workspace/.gitignore",
        "workspace/agent.py",
        "workspace/lib/tool.py",
        "workspace/new.py",
    ]


def test_a_tracked_file_that_was_deleted_is_no_error(project: Path) -> None:
    git(project, "init", "-q")
    git(project, "add", "agent.py", "lib/tool.py")
    (project / "agent.py").unlink()
    assert names(pack(project, {"lib": "lib", ".": "/workspace"})) == [
        "workspace/.venv/bin/python",
        "workspace/lib/tool.py",
        "workspace/node_modules/m/index.js",
    ]


def test_what_is_named_itself_goes_in(project: Path) -> None:
    git(project, "init", "-q")
    write(project, ".gitignore", text="build/\n")
    write(project, "build/model.bin", "build/deep/more.bin")
    mapping = {"build": "/opt/build", "evals/fixtures": "data", "aegis.toml": "/workspace/settings.toml"}
    assert names(pack(project, mapping)) == [
        "opt/build/deep/more.bin",
        "opt/build/model.bin",
        "workspace/data/orders.json",
        "workspace/settings.toml",
    ]


def test_a_git_hook_does_not_change_what_is_packed(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(project, "init", "-q")
    git(project, "add", "agent.py")
    before = names(pack(project, {"lib": "lib"}))
    monkeypatch.setenv("GIT_DIR", str(project / "nowhere"))
    assert names(pack(project, {"lib": "lib"})) == before == ["workspace/lib/tool.py"]


def test_a_checkout_inside_the_checkout_is_packed(project: Path) -> None:
    git(project, "init", "-q")
    write(project, "vendor/dep/dep.py")
    git(project / "vendor/dep", "init", "-q")
    assert names(pack(project, {"vendor": "vendor"})) == ["workspace/vendor/dep/dep.py"]


def test_single_files(project: Path) -> None:
    mapping = {"agent.py": "/workspace", "lib/tool.py": "/opt/tools/", "lib": "renamed"}
    assert names(pack(project, mapping)) == [
        "opt/tools/tool.py",
        "workspace/agent.py",
        "workspace/renamed/tool.py",
    ]


def test_equal_contents_give_equal_archives(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    first = pack(project, {".": "/workspace"})
    copy = tmp_path_factory.mktemp("copy")
    write(copy, "lib/tool.py", "agent.py")
    os.utime(copy / "agent.py", (1, 1))
    assert pack(copy, {".": "/workspace"}) == first
    write(copy, "agent.py", text="y")
    assert pack(copy, {".": "/workspace"}) != first


def test_owner_time_and_mode_tell_nothing_of_the_host(project: Path) -> None:
    (project / "agent.py").chmod(0o700)
    (project / "lib/tool.py").chmod(0o600)
    archive = pack(project, {".": "/workspace"})
    agent, tool = member(archive, "workspace/agent.py"), member(archive, "workspace/lib/tool.py")
    assert (agent.mode, tool.mode) == (0o755, 0o644)
    assert (agent.uid, agent.gid, agent.uname, agent.gname) == (0, 0, "", "")
    assert agent.mtime == tool.mtime > 1_700_000_000


def test_links_inside_the_project_stay_links(project: Path) -> None:
    (project / "lib/link.py").symlink_to("../agent.py")
    (project / "lib/absolute.py").symlink_to(project / "agent.py")
    (project / "all").symlink_to("lib", target_is_directory=True)
    (project / "loop").symlink_to("loop")
    archive = pack(project, {".": "/workspace"})
    assert member(archive, "workspace/lib/link.py").linkname == "../agent.py"
    assert member(archive, "workspace/lib/absolute.py").linkname == "../agent.py"
    assert member(archive, "workspace/all").linkname == "lib"
    assert member(archive, "workspace/loop").linkname == "loop"


@pytest.mark.parametrize("target", ["/etc/passwd", "../../outside"])
def test_links_that_leave_the_project_are_refused(project: Path, target: str) -> None:
    (project / "out").symlink_to(target)
    with pytest.raises(UsageError, match="symbolic link"):
        pack(project, {".": "/workspace"})


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"missing": "/workspace"}, "no such file"),
        ({"../": "/workspace"}, "outside"),
        ({"/etc": "/workspace"}, "outside"),
        ({"agent.py": "../up"}, "not a usable guest path"),
    ],
)
def test_paths_that_cannot_be_used(project: Path, mapping: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        pack(project, mapping)


def test_too_much_data_is_refused_with_advice(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_ARCHIVE_BYTES", 1)
    with pytest.raises(UsageError) as caught:
        pack(project, {".": "/workspace"})
    assert "git-ignore" in (caught.value.fix or "")


def test_nothing_mapped_is_no_archive(project: Path) -> None:
    assert pack(project, {}) is None


def test_our_settings_are_taken_out_of_pyproject(project: Path) -> None:
    write(
        project,
        "pyproject.toml",
        text='[project]\nname = "a"\n\n[tool.aegis]\nevals = "evals"\n[tool.aegis.more]\nx = 1\n[tool.b]\ny = 2\n',
    )
    packed = content(pack(project, {".": "/workspace"}), "workspace/pyproject.toml")
    assert packed == b'[project]\nname = "a"\n\n[tool.b]\ny = 2\n'


@pytest.mark.parametrize(
    "text", ['[project]\nname = "aegis"\n', "not toml [", 'x = """\n[tool.aegis]\n"""\n']
)
def test_other_pyprojects_are_left_alone(project: Path, text: str) -> None:
    write(project, "pyproject.toml", text=text)
    assert content(pack(project, {".": "/workspace"}), "workspace/pyproject.toml") == text.encode()


def test_world_files_come_from_the_suite_folder(project: Path) -> None:
    evals = project / "evals"
    archive = pack_world(
        evals,
        project,
        {"orders.json": "fixtures/orders.json", "/srv/all": "fixtures", "lib.py": "../lib/tool.py"},
        case_id="a",
    )
    assert names(archive) == ["srv/all/orders.json", "workspace/lib.py", "workspace/orders.json"]


@pytest.mark.parametrize("source", ["missing.json", "../../outside", "/etc/passwd", "fixtures/leak"])
def test_world_files_outside_of_the_project_are_refused(project: Path, source: str) -> None:
    (project / "evals/fixtures/leak").symlink_to("/etc/passwd")
    with pytest.raises(UsageError, match=r"case 'a': world\.files"):
        pack_world(project / "evals", project, {"f": source}, case_id="a")
    with pytest.raises(UsageError, match=r"case 'a': world\.files"):
        pack_world(project / "evals", project, {"f": "fixtures"}, case_id="a")
