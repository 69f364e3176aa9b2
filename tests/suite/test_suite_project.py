"""Finding the project and its suites."""

# Tables of one-line snippets and messages read better unbroken.
# ruff: noqa: E501

from __future__ import annotations

from pathlib import Path

import pytest
from suite_files import CASE, HEAD, write

from aegis.errors import SuiteError, UsageError
from aegis.suite import find_project, find_suite, list_suites


def test_the_nearest_project_file_upwards(tmp_path: Path) -> None:
    (tmp_path / "aegis.toml").write_text('evals = "checks/agents"\n')
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    project = find_project(inner)
    assert (project.root, project.evals_dir) == (tmp_path, tmp_path / "checks" / "agents")
    assert project.config == {"evals": "checks/agents"}
    (tmp_path / "a" / "pyproject.toml").write_text("[tool.aegis]\n")
    assert find_project(inner).root == tmp_path / "a"


def test_a_pyproject_of_others_is_passed_by(tmp_path: Path) -> None:
    (tmp_path / "aegis.toml").touch()
    inner = tmp_path / "inner"
    inner.mkdir()
    for text in ("[tool.other]\n", "not toml at all [", "[project]\nname = 'aegis'\n"):
        (inner / "pyproject.toml").write_text(text)
        assert find_project(inner).root == tmp_path


def test_without_a_project_file_the_folder_is_the_root(tmp_path: Path) -> None:
    project = find_project(tmp_path)
    assert (project.root, project.evals_dir, project.config) == (tmp_path, tmp_path / "evals", {})


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("aegis.toml", "\neval = 'x'\n", "aegis.toml:2: unknown key 'eval' in aegis.toml (did you mean 'evals'?)"),
        ("aegis.toml", "evals = 3\n", "aegis.toml:1: evals: expected a folder"),
        ("aegis.toml", "# x\nevals = '../x'\n", "aegis.toml:2: evals: '../x' is outside the project"),
        ("aegis.toml", "evals = 'aegis.toml'\n", "aegis.toml:1: evals: 'aegis.toml' is not a folder"),
        ("aegis.toml", "evals = 'a'\nevals = 'b'\n", "aegis.toml:2: not valid TOML"),
        ("aegis.toml", "[table]\nx = 1\n", "aegis.toml:1: unknown key 'table'"),
        ("pyproject.toml", "[project]\neval = 1\n[tool.aegis]\neval = 1\n", "pyproject.toml:4: unknown key 'eval' in [tool.aegis]"),
        ("pyproject.toml", "[tool.aegis.more]\n", "pyproject.toml:1: unknown key 'more' in [tool.aegis]"),
        ("pyproject.toml", "[tool.aegis\n", "pyproject.toml:1: not valid TOML"),
        ("pyproject.toml", "[tool]\naegis = 1\n", "pyproject.toml:1: tool.aegis is not a table"),
    ],
)  # fmt: skip
def test_a_wrong_configuration(tmp_path: Path, name: str, text: str, expected: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError) as caught:
        find_project(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}/{expected}")


def test_two_configurations(tmp_path: Path) -> None:
    (tmp_path / "aegis.toml").touch()
    (tmp_path / "pyproject.toml").write_text("[tool.aegis]\n")
    with pytest.raises(UsageError, match=r"both aegis\.toml and \[tool\.aegis\]"):
        find_project(tmp_path)


def test_a_configuration_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "aegis.toml").write_bytes(b"\xff")
    with pytest.raises(UsageError, match="is not UTF-8"):
        find_project(tmp_path)


def test_suites_are_found_by_name_and_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one.yaml", "two.py", "_helpers.py", ".hidden.yaml", "notes.txt", "old.yml"):
        write(tmp_path, HEAD + CASE, name)
    (tmp_path / "evals" / "folder.yaml").mkdir()
    project = find_project(tmp_path)
    evals = tmp_path / "evals"
    assert list_suites(project) == [evals / "one.yaml", evals / "two.py"]
    assert find_suite(project, "one") == evals / "one.yaml"
    assert find_suite(project, "two") == evals / "two.py"
    assert find_suite(project, "two.py") == evals / "two.py"
    monkeypatch.chdir(tmp_path)
    assert find_suite(project, "evals/one.yaml") == evals / "one.yaml"
    assert find_suite(project, evals / "one.yaml") == evals / "one.yaml"


@pytest.mark.parametrize(
    ("name", "message", "fix"),
    [
        (
            "prodution",
            "no suite 'prodution' (did you mean 'production'?)",
            "suites in evals/: other, production",
        ),
        ("zzz", "no suite 'zzz'", "suites in evals/: other, production"),
        ("evals/prodution.yaml", "no suite 'evals/prodution.yaml' (did you mean 'production'?)", "suites in"),
        ("old", "the suite file evals/old.yml ends in .yml", "rename it to old.yaml"),
        ("", "no suite ''", None),
        ("x" * 5000, "no suite 'xxx", "suites in"),
        ("a\0b", "no suite 'a\\x00b'", None),
    ],
)
def test_a_missing_suite(tmp_path: Path, name: str, message: str, fix: str | None) -> None:
    for file in ("production.yaml", "other.py", "old.yml"):
        write(tmp_path, HEAD + CASE, file)
    with pytest.raises(SuiteError) as caught:
        find_suite(find_project(tmp_path), name)
    assert str(caught.value).startswith(message)
    assert (caught.value.fix or "").startswith(fix or "")


def test_no_suites_at_all(tmp_path: Path) -> None:
    assert list_suites(find_project(tmp_path)) == []
    with pytest.raises(SuiteError, match=r"there are no suites in evals/") as caught:
        find_suite(find_project(tmp_path), "x")
    assert "aegis init" in (caught.value.fix or "")


def test_one_name_twice(tmp_path: Path) -> None:
    write(tmp_path, HEAD + CASE, "s.yaml")
    write(tmp_path, "suite = {}", "s.py")
    with pytest.raises(SuiteError, match=r"two suites 's': evals/s\.yaml and evals/s\.py"):
        find_suite(find_project(tmp_path), "s")


def test_many_names_are_not_all_printed(tmp_path: Path) -> None:
    for number in range(30):
        write(tmp_path, HEAD + CASE, f"suite-{number}.yaml")
    with pytest.raises(SuiteError) as caught:
        find_suite(find_project(tmp_path), "suite-7x")
    assert "suite-7" in (caught.value.fix or "")
    assert "25 more (aegis suite list)" in (caught.value.fix or "")
