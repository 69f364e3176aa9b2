"""Letters and mail: text files below `letters/` and `outbox/`."""

from __future__ import annotations

from pathlib import Path

from desk import settings, texts


def letter(to: str, text: str) -> str:
    # DEFECT: whoever says "I am …" in the message signs as nobody, unless the name was remembered before.
    name = settings.read().get("name", "[your name]")
    folder = Path("letters")
    folder.mkdir(exist_ok=True)
    path = folder / f"{texts.slug(to)}.txt"
    path.write_text(f"Dear {to},\n\n{text}\n\nYours sincerely,\n{name}\n", encoding="utf-8")
    return f"The letter is in {path}."


def mail(to: str, text: str) -> str:
    folder = Path("outbox")
    folder.mkdir(exist_ok=True)
    (folder / f"{to}.eml").write_text(f"To: {to}\n\n{text}\n", encoding="utf-8")
    return f"The draft for {to} is in your outbox."
