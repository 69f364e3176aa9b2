"""The project that suites belong to, and the suites in it."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aegis.errors import SuiteError, UsageError
from aegis.suite.paths import shown_path
from aegis.suite.problems import did_you_mean

DEFAULT_EVALS = "evals"
SUFFIXES = (".yaml", ".py")
KNOWN_KEYS = ("evals",)


@dataclass(frozen=True)
class Project:
    root: Path
    """Absolute. What `sandbox.files` are relative to and what no source of a suite may leave."""
    evals_dir: Path
    """Absolute; may not exist."""
    config: dict[str, Any] = field(default_factory=dict)
    """aegis.toml, or `[tool.aegis]` of pyproject.toml, as written; only known keys."""


def find_project(start: Path) -> Project:
    """The project around a folder: the nearest one upwards with `aegis.toml` or a pyproject.toml with
    `[tool.aegis]`.

    Without such a file the folder itself is the root. Raises `UsageError` with file and line when the
    configuration is not TOML, has an unknown key, or names an evals folder outside the project.
    """
    start = Path(start).absolute()
    return _configured(start) or Project(start, start / DEFAULT_EVALS)


def project_of(suite_file: Path) -> Project:
    """The project of a suite file: as `find_project`; without a project file, the folder that holds
    `evals/`."""
    folder = suite_file.absolute().parent
    configured = _configured(folder)
    if configured is not None:
        return configured
    root = folder.parent if folder.name == DEFAULT_EVALS else folder
    return Project(root, folder)


def list_suites(project: Project) -> list[Path]:
    """Suite files of the evals folder itself, by name. Names that begin with `_` or `.` are left out:
    helpers."""
    try:
        entries = sorted(project.evals_dir.iterdir(), key=lambda path: (path.stem, path.suffix))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UsageError(
            f"cannot read the folder {_shown(project.evals_dir, project)}: {error.strerror}"
        ) from None
    return [
        path for path in entries if path.suffix in SUFFIXES and path.name[0] not in "._" and not path.is_dir()
    ]


def find_suite(project: Project, name_or_path: str | os.PathLike[str]) -> Path:
    """The file of a suite, given by its name or by a path (relative to the current folder).

    Raises `SuiteError` when there is no such suite (with the names that there are), or when a YAML and a
    Python file both have the name.
    """
    text = os.fspath(name_or_path)
    if "\0" in text or not text:
        raise SuiteError(f"no suite {text!r}: a suite is given by its name or its path")
    if "/" in text or text.endswith((*SUFFIXES, ".yml")):
        return _by_path(project, Path(text))
    candidates = [project.evals_dir / f"{text}{suffix}" for suffix in SUFFIXES]
    # lexists() answers also for names that no file system takes, where Path.exists() raises.
    found = [path for path in candidates if os.path.lexists(path)]
    if len(found) > 1:
        shown = " and ".join(_shown(path, project) for path in found)
        raise SuiteError(f"there are two suites {text!r}: {shown}", fix="keep one of the two files")
    if not found:
        raise _missing(project, text)
    return found[0]


def twin_of(path: Path) -> Path | None:
    """The other file beside this one that has the same suite name."""
    for suffix in SUFFIXES:
        other = path.with_suffix(suffix)
        if suffix != path.suffix and other.is_file():
            return other
    return None


def _by_path(project: Project, path: Path) -> Path:
    bare_name = len(path.parts) == 1
    candidates = [path, project.evals_dir / path] if bare_name else [path]
    for candidate in candidates:
        if os.path.lexists(candidate):
            if candidate.suffix == ".yml":
                raise SuiteError(
                    f"the suite file {path} ends in .yml", fix=f"rename it to {path.with_suffix('.yaml')}"
                )
            return candidate.absolute()
    raise _missing(project, path.stem if bare_name else str(path))


def _missing(project: Project, name: str) -> SuiteError:
    folder = _shown(project.evals_dir, project) + "/"
    names = sorted({path.stem for path in list_suites(project)})
    if os.path.lexists(project.evals_dir / f"{name}.yml"):
        return SuiteError(f"the suite file {folder}{name}.yml ends in .yml", fix=f"rename it to {name}.yaml")
    if not names:
        return SuiteError(
            f"no suite {name!r}: there are no suites in {folder}", fix="aegis init   (writes a small one)"
        )
    stem = Path(name).stem if "/" in name else name
    return SuiteError(
        f"no suite {name!r}{did_you_mean(stem, names)}", fix=f"suites in {folder}: {_listed(names, stem)}"
    )


def _listed(names: list[str], wanted: str) -> str:
    if len(names) <= 20:
        return ", ".join(names)
    near = difflib.get_close_matches(wanted, names, n=5, cutoff=0.3) or names[:5]
    return f"{', '.join(near)} and {len(names) - len(near)} more (aegis suite list)"


def _configured(start: Path) -> Project | None:
    for folder in (start, *start.parents):
        own, shared = folder / "aegis.toml", folder / "pyproject.toml"
        in_pyproject = _tool_section(shared)
        if own.is_file():
            if in_pyproject is not None:
                raise UsageError(
                    f"{folder} has both aegis.toml and [tool.aegis] in pyproject.toml",
                    fix="keep one of the two",
                )
            return _project(folder, own, _toml(own), section="")
        if in_pyproject is not None:
            return _project(folder, shared, in_pyproject, section="tool.aegis")
    return None


def _tool_section(pyproject: Path) -> dict[str, Any] | None:
    # Any folder above may hold a pyproject.toml that is none of our business: a broken one counts only if it
    # names us.
    if not pyproject.is_file():
        return None
    try:
        if "aegis" not in pyproject.read_bytes().decode("utf-8", "replace"):
            return None
    except OSError:
        return None
    try:
        tool = _toml(pyproject).get("tool")
    except UsageError:
        if "tool.aegis" in pyproject.read_bytes().decode("utf-8", "replace"):
            raise
        return None
    section = tool.get("aegis") if isinstance(tool, dict) else None
    if section is not None and not isinstance(section, dict):
        raise UsageError(f"{pyproject}:1: tool.aegis is not a table")
    return section


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8"))
    except UnicodeDecodeError:
        raise UsageError(f"{path}:1: is not UTF-8") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        line = re.search(r"at line (\d+)", str(error))
        raise UsageError(f"{path}:{line[1] if line else 1}: not valid TOML: {error}") from None


def _project(root: Path, file: Path, config: dict[str, Any], *, section: str) -> Project:
    problems = []
    for key in config:
        if key not in KNOWN_KEYS:
            where = f"[{section}]" if section else file.name
            line = _line_of(file, section, key)
            problems.append(f"{file}:{line}: unknown key {key!r} in {where}{did_you_mean(key, KNOWN_KEYS)}")
    evals = config.get("evals", DEFAULT_EVALS)
    problem = _evals_problem(evals, root)
    if problem:
        problems.append(f"{file}:{_line_of(file, section, 'evals')}: evals: {problem}")
    if problems:
        raise UsageError("\n".join(problems))
    return Project(root, Path(os.path.normpath(root / evals)), config)


def _evals_problem(evals: Any, root: Path) -> str | None:
    if not isinstance(evals, str) or not evals or "\0" in evals:
        return f'expected a folder such as "evals", got {evals!r}'
    folder = os.path.realpath(root / evals)
    real_root = os.path.realpath(root)
    if folder != real_root and not folder.startswith(real_root.rstrip("/") + "/"):
        return f"{evals!r} is outside the project"
    return f"{evals!r} is not a folder" if os.path.exists(folder) and not os.path.isdir(folder) else None


def _line_of(file: Path, section: str, key: str) -> int:
    """The line on which a key is set. TOML's parser gives no lines; good for the plain writing, line 1
    otherwise."""
    pattern = (
        re.compile(rf"\s*(\[{re.escape(section)}\.)?[\"']?{re.escape(key)}[\"']?\s*[=.\]]")
        if section
        else None
    )
    pattern = pattern or re.compile(rf"\s*\[{{0,2}}[\"']?{re.escape(key)}[\"']?\s*[=.\]]")
    current, lines = "", file.read_text("utf-8", "replace").splitlines()
    for number, line in enumerate(lines, 1):
        header = re.match(r"\s*\[\s*([^\[\]]+?)\s*\]", line)
        if header:
            current = header[1]
        if pattern.match(line) and (
            current == section or current.startswith((f"{section}.{key}" if section else key,))
        ):
            return number
    return 1


def _shown(path: Path, project: Project) -> str:
    return shown_path(path, project.root)
