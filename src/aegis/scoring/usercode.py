"""Loading a user's scoring function, and telling where in the user's code it went wrong."""

from __future__ import annotations

import hashlib
import importlib
import re
import sys
import traceback
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import ModuleType
from typing import Any

from aegis.errors import InfrastructureError
from aegis.scoring.words import plain

_NAME = r"[^\W\d]\w*"
_IMPORTED = re.compile(rf"{_NAME}(\.{_NAME})*:{_NAME}(\.{_NAME})*")
_FROM_FILE = re.compile(rf"[^\0:]+\.py:{_NAME}(\.{_NAME})*")


def is_reference(text: str) -> bool:
    """Whether a text reads `package.module:function` or `checks.py:function`."""
    return bool(_FROM_FILE.fullmatch(text) or _IMPORTED.fullmatch(text))


def file_of(reference: str) -> str | None:
    """The file of the suite's folder that a reference names, or None for an importable module."""
    return reference.rpartition(":")[0] if _FROM_FILE.fullmatch(reference) else None


def load(reference: str, files: Mapping[str, bytes]) -> Callable[..., Any]:
    """The function. Runs the module's top level, once for each content. Raises `InfrastructureError`."""
    source, _, name = reference.rpartition(":")
    path = file_of(reference)
    try:
        if path is None:
            found: Any = importlib.import_module(source)
        elif path in files:
            found = _module(path, files[path])
        else:
            raise InfrastructureError(f"the scoring file {path!r} was not loaded with the suite")
        for part in name.split("."):
            found = getattr(found, part)
    except InfrastructureError:
        raise
    except (Exception, SystemExit) as error:
        raise InfrastructureError(
            f"the scorer {reference} cannot be loaded: {describe(error)}",
            fix="Mend the scorer; the agent was not judged.",
        ) from error
    if not callable(found):
        raise InfrastructureError(f"the scorer {reference} is not a function but a {type(found).__name__}")
    return found  # type: ignore[no-any-return]


@lru_cache(maxsize=64)
def _module(path: str, content: bytes) -> ModuleType:
    digest = hashlib.sha256(path.encode() + b"\0" + content).hexdigest()
    name = f"_user_scorer_{digest[:16]}"
    module = ModuleType(name)
    module.__file__ = path
    # Dataclasses and pickling look their module up by name.
    sys.modules[name] = module
    try:
        exec(compile(content, path, "exec"), module.__dict__)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def describe(error: BaseException) -> str:
    """`ValueError: no total (checks.py line 12)`: the error and the last line of the user's own code in
    it."""
    words = plain(str(error))
    text = f"{type(error).__name__}: {words}" if words else type(error).__name__
    place = _place(error)
    return f"{text} ({place})" if place else text


def _place(error: BaseException) -> str | None:
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename} line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not _is_ours(frame.filename)]
    return f"{own[-1].filename} line {own[-1].lineno}" if own else None


def _is_ours(filename: str) -> bool:
    here = __file__.rpartition("/")[0]
    library = importlib.__file__.rpartition("/importlib/")[0]
    return filename.startswith((here, library, "<frozen")) and "site-packages" not in filename
