"""The image file: reading it, with every problem at its line.

base = "debian"
packages = ["git"]
pip = ["requests==2.32.3"]
run = ["useradd --create-home agent"]

[files]
"tools/crm.py" = "/usr/local/bin/crm"

[env]
CRM_URL = "http://crm.example"
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from aegis.errors import UsageError

_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.\-]+(:[a-z0-9]+)?(=[A-Za-z0-9.+:~\-]+)?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class ImageFile:
    """What an image file says, checked."""

    base: str
    packages: tuple[str, ...]
    pip: tuple[str, ...]
    """Requirement specifiers, or `-r PATH` with a path in the image."""
    files: Mapping[str, str]
    """Path in the project → absolute path in the image."""
    run: tuple[str, ...]
    """Shell commands."""
    env: Mapping[str, str]


def read_image_file(path: Path, shown: str, base_dir: Path) -> ImageFile:
    """Read and check an image file. `shown` is how messages name it.

    Raises `UsageError` with every problem, one `FILE:LINE: text` a line.
    """
    try:
        text = path.read_text(encoding="utf-8")
        document = tomllib.loads(text)
    except FileNotFoundError:
        raise UsageError(
            f"image file {shown} does not exist in {base_dir}", fix="write it, or name another"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"image file {shown} cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        line = int(found[1]) if found else text.count("\n") + 1  # "at end of document"
        raise UsageError(
            f"{shown}:{line}: not TOML: {error}", fix="docs/images.md shows an image file"
        ) from error
    reader = _Reader(text, shown, base_dir)
    result = reader.read(document)
    if reader.problems:
        problems = [f"{shown}:{line}: {message}" for line, message in sorted(reader.problems)]
        raise UsageError("\n".join(problems), fix="docs/images.md lists the keys of an image file")
    return result


class _Reader:
    def __init__(self, text: str, shown: str, base_dir: Path) -> None:
        self.lines = text.splitlines()
        self.shown = shown
        self.base_dir = base_dir
        self.problems: list[tuple[int, str]] = []

    def read(self, document: Mapping[str, Any]) -> ImageFile:
        known = ImageFile.__dataclass_fields__
        for key in document:
            if key not in known:
                near = difflib.get_close_matches(key, known, 1)
                self.problem(key, f"unknown key {key!r}" + (f" (did you mean {near[0]!r}?)" if near else ""))
        return ImageFile(
            base=self.text(document, "base", "debian"),
            packages=self.strings(document, "packages", self.check_package),
            pip=self.strings(document, "pip", self.check_requirement),
            files=self.table(document, "files", self.check_file),
            run=self.strings(document, "run", lambda _: None),
            env=self.table(document, "env", self.check_variable),
        )

    def text(self, document: Mapping[str, Any], key: str, default: str) -> str:
        value = document.get(key, default)
        if not isinstance(value, str) or not value:
            self.problem(key, f"{key} must be a text")
            return default
        return value

    def strings(
        self, document: Mapping[str, Any], key: str, check: Callable[[str], str | None]
    ) -> tuple[str, ...]:
        value = document.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) and item.strip() for item in value):
            self.problem(key, f"{key} must be a list of texts")
            return ()
        for item in value:
            if message := check(item):
                self.problem(item, f"{key}: {message}")
        return tuple(value)

    def table(
        self, document: Mapping[str, Any], key: str, check: Callable[[str, str], str | None]
    ) -> dict[str, str]:
        value = document.get(key, {})
        if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
            self.problem(key, f"{key} must be a table of texts")
            return {}
        for name, item in value.items():
            if message := check(name, item):
                self.problem(name, f"{key}: {message}")
        return dict(value)

    def check_package(self, name: str) -> str | None:
        # Also keeps an entry from being read as an option of apt-get.
        return None if _PACKAGE.fullmatch(name) else f"{name!r} is not a package name"

    def check_requirement(self, text: str) -> str | None:
        if text.startswith("-r "):
            return None
        return f"{text!r}: no option but `-r PATH` is allowed" if text.startswith("-") else None

    def check_variable(self, name: str, _: str) -> str | None:
        return None if _VARIABLE.fullmatch(name) else f"{name!r} is not a variable name"

    def check_file(self, source: str, target: str) -> str | None:
        if ".." in PurePosixPath(source).parts or source.startswith(("/", "~")):
            return f"{source!r} must be a path inside the project"
        if not (self.base_dir / source).exists():
            return f"{source!r} does not exist in the project ({self.base_dir})"
        if not target.startswith("/") or ".." in PurePosixPath(target).parts:
            return f"{target!r} must be an absolute path in the image"
        return None

    def problem(self, near: str, message: str) -> None:
        self.problems.append((self.line_of(near), message))

    def line_of(self, text: str) -> int:
        """The line where a key or value stands: as a key or table first, anywhere quoted else."""
        quoted = re.escape(text)
        for pattern in (rf"^\s*\[?\s*[\"']?{quoted}[\"']?\s*[\]=]", rf"[\"']{quoted}[\"']", quoted):
            for number, line in enumerate(self.lines, 1):
                if re.search(pattern, line):
                    return number
        return 1
