"""The command line: one file per command group, which parses and prints and decides nothing.

Importing this package imports nothing heavy: `aegis --version` is answered before click is loaded, and each
command group is loaded when it is used. Public name: `main`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from aegis._version import __version__

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code (docs/exit-codes.md)."""
    args = sys.argv[1:] if argv is None else list(argv)
    if args in (["--version"], ["-V"]):
        print(f"aegis {__version__}")
        return 0
    from aegis.cli.root import invoke

    return invoke(args)
