"""Python suites: `evals/NAME.py` runs and leaves `suite`, a mapping of the same shape as the YAML, or a
`Suite`."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from aegis.suite.problems import Path, Problem
from aegis.suite.textfile import Unreadable


@dataclass(frozen=True, slots=True)
class PythonSuite:
    value: Any
    """What the file left in `suite`."""
    source: ast.Module

    def line_of(self, path: Path) -> int:
        """The line of a value as far as the file spells it out as a literal; else of the nearest thing around
        it."""
        node, line = _assignment(self.source)
        for step in path:
            if isinstance(node, ast.Dict):
                node, line = _entry(node, step, line)
            elif isinstance(node, ast.List | ast.Tuple) and isinstance(step, int) and step < len(node.elts):
                node = node.elts[step]
                line = node.lineno
            else:
                break
        return line


def run_python_suite(path: FilePath, text: str, *, shown: str) -> PythonSuite:
    """Run the file and take `suite` from it.

    Modules that it imports from its own folder are forgotten afterwards, and what it prints goes to standard
    error. Raises `Unreadable`, with the file's line, for whatever goes wrong in it, `sys.exit()` included.
    """
    try:
        source = ast.parse(text, filename=str(path))
        code = compile(source, str(path), "exec", dont_inherit=True)
    except SyntaxError as error:
        raise Unreadable(Problem(shown, error.lineno or 1, f"not valid Python: {error.msg}")) from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise Unreadable(Problem(shown, 1, f"not valid Python: {error}")) from None
    module = types.ModuleType(
        "_suite_" + hashlib.sha256(str(path).encode("utf-8", "replace")).hexdigest()[:16]
    )
    module.__file__ = str(path)
    try:
        with _imports_from(path.parent, module), contextlib.redirect_stdout(sys.stderr):
            exec(code, module.__dict__)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit too: a suite doesn't end the command
        raise Unreadable(Problem(shown, _line_in(path, error), _describe(error))) from None
    if "suite" not in module.__dict__:
        raise Unreadable(
            Problem(shown, 1, "defines no 'suite': assign it a mapping of the shape of a YAML suite")
        )
    return PythonSuite(module.__dict__["suite"], source)


@contextlib.contextmanager
def _imports_from(folder: FilePath, module: types.ModuleType) -> Iterator[None]:
    """Let the suite import the files beside it, as a script does, without leaving them where another suite
    (or the program that called us) would find them under a clashing name."""
    siblings = {entry.stem for entry in folder.iterdir() if entry.suffix == ".py" or entry.is_dir()}
    hidden = {
        name: sys.modules[name] for name in _loaded(siblings) if not _is_below(sys.modules[name], folder)
    }
    before = set(sys.modules) - set(hidden)
    for name in hidden:
        del sys.modules[name]
    sys.path.insert(0, str(folder))
    bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    sys.modules[module.__name__] = module  # dataclasses look their module up by name
    try:
        yield
    finally:
        sys.dont_write_bytecode = bytecode
        with contextlib.suppress(ValueError):
            sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            if name == module.__name__ or _is_below(sys.modules[name], folder):
                del sys.modules[name]
        sys.modules.update(hidden)


def _loaded(siblings: set[str]) -> list[str]:
    """Modules already loaded whose top-level name a sibling file also has; the standard library's and our own
    stay."""
    names = siblings - sys.stdlib_module_names - {"aegis"}
    return [name for name in sys.modules if name.partition(".")[0] in names]


def _is_below(module: types.ModuleType | None, folder: FilePath) -> bool:
    file = getattr(module, "__file__", None)
    places = [file] if isinstance(file, str) else list(getattr(module, "__path__", ()))
    return any(FilePath(place).is_relative_to(folder) for place in places if isinstance(place, str))


def _line_in(path: FilePath, error: BaseException) -> int:
    """The last line of the suite file itself on the way to the error."""
    line = 1
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _describe(error: BaseException) -> str:
    try:
        text = " ".join(str(error).split())
    except Exception:
        text = ""
    name = type(error).__name__
    return f"the suite raised {name}: {text[:300]}" if text else f"the suite raised {name}"


def _assignment(source: ast.Module) -> tuple[ast.expr | None, int]:
    """The expression last assigned to `suite` at the top level, and its line."""
    for statement in reversed(source.body):
        targets: list[ast.expr] = []
        if isinstance(statement, ast.Assign):
            targets = statement.targets
        elif isinstance(statement, ast.AnnAssign):
            targets = [statement.target]
        if any(isinstance(target, ast.Name) and target.id == "suite" for target in targets):
            return getattr(statement, "value", None), statement.lineno
    return None, 1


def _entry(node: ast.Dict, step: str | int, line: int) -> tuple[ast.expr | None, int]:
    for key, value in zip(node.keys, node.values, strict=True):
        if isinstance(key, ast.Constant) and key.value == step:
            return value, key.lineno
    return None, line
