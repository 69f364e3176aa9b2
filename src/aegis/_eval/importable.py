"""Where users' scoring functions may import from."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def importable(*folders: Path) -> Iterator[None]:
    """Modules in these folders can be imported meanwhile. The folders come last: a file of a project's never stands in
    for a module of the standard library or of a package."""
    added = [
        text for text in dict.fromkeys(str(folder.absolute()) for folder in folders) if text not in sys.path
    ]
    sys.path += added
    try:
        yield
    finally:
        for text in added:
            with contextlib.suppress(ValueError):
                sys.path.remove(text)
