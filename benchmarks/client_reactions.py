"""How the usual clients react to each fault, as the table of docs/client-reactions.md.

    python benchmarks/client_reactions.py [--write] [--only FAULT] [--twice]

The unmodified clients run against a gateway in this process, over TLS. `--write` puts the table into the page,
`--twice` measures everything two times and says where the two differ (exit code 1 when they do).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from support.reaction_clients import CLIENTS, TENACITY_ATTEMPTS, TIMEOUT_S  # noqa: E402
from support.reactions import ROWS, Reaction, Row, measure  # noqa: E402

PAGE = ROOT / "docs" / "client-reactions.md"
BEGIN = "<!-- table: benchmarks/client_reactions.py --write -->\n"
END = "<!-- end of the table -->\n"

Table = dict[tuple[str, str], Reaction]


def run(rows: list[Row]) -> Table:
    with tempfile.TemporaryDirectory() as folder:
        return measure(
            Path(folder), rows, CLIENTS, told=lambda text: print(text, file=sys.stderr, flush=True)
        )


def render(table: Table, rows: list[Row]) -> str:
    """The table as Markdown, and with which versions it was made."""
    versions = ", ".join(f"{package} {version}" for package, version in packages().items())
    lines = [
        f"Measured with {versions}; each with a time limit of {TIMEOUT_S:g} s, tenacity stopped after "
        f"{TENACITY_ATTEMPTS} attempts.",
        "",
        "| fault | " + " | ".join(client.name for client in CLIENTS) + " |",
        "|---|" + "---|" * len(CLIENTS),
    ]
    for row in rows:
        cells = [table.get((row.label, client.name), "") for client in CLIENTS]
        lines.append(f"| {row.label} | " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"


def packages() -> dict[str, str]:
    return {client.package: client.version for client in CLIENTS}


def write(text: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    PAGE.write_text(f"{head}{BEGIN}{text}{END}{tail}", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="put the table into docs/client-reactions.md")
    parser.add_argument("--only", metavar="FAULT", help="only this fault")
    parser.add_argument("--twice", action="store_true", help="measure two times and compare")
    options = parser.parse_args()
    rows = [row for row in ROWS if options.only in (None, row.inject)]
    table = run(rows)
    differ = 0
    if options.twice:
        again = run(rows)
        for key in table:
            if table[key] != again[key]:
                differ += 1
                print(f"differs: {key[0]} | {key[1]}: {table[key]} ≠ {again[key]}")
        print(f"{len(table) - differ} of {len(table)} reactions are the same twice")
    text = render(table, rows)
    if options.write and options.only is None:
        write(text)
    else:
        print(text)
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
