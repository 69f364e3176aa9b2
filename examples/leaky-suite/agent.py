"""A small office's assistant: one message on standard input, the answer on standard output.

It keeps notes, letters, invoices and hours in the folder in which it runs, and remembers things in $HOME, as an
assistant on somebody's own computer does.
"""

from __future__ import annotations

import sys

from desk.planner import answer


def main() -> int:
    message = sys.stdin.read().strip()
    if not message:
        print("there is no message", file=sys.stderr)
        return 2
    print(answer(message))
    return 0


if __name__ == "__main__":
    sys.exit(main())
