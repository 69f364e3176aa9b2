"""Notes and lists: text files below `notes/` and `lists/`."""

from __future__ import annotations

import re
from pathlib import Path

from desk.errors import ToolError

NOTES = Path("notes")
LISTS = Path("lists")


def start(name: str, text: str) -> str:
    NOTES.mkdir(exist_ok=True)
    (NOTES / f"{name}.md").write_text(f"# {name}\n\n- {text}\n", encoding="utf-8")
    return f"I have started the note {name}."


def append(name: str, text: str) -> str:
    # DEFECT: it relies on `start` having made the folder.
    try:
        with (NOTES / f"{name}.md").open("a", encoding="utf-8") as note:
            note.write(f"- {text}\n")
    except FileNotFoundError:
        raise ToolError("there is no folder for notes") from None
    return f"Added to the note {name}: {text}"


def checklist(name: str, items: str) -> str:
    found = [item for item in re.split(r",| and ", items.strip(" .")) if item.strip()]
    LISTS.mkdir(exist_ok=True)
    lines = [f"- [ ] {item.strip()}\n" for item in found]
    (LISTS / f"{name}.md").write_text("".join(lines), encoding="utf-8")
    return f"The checklist {name} has {len(found)} items."
