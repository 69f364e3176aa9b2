"""The live display's lines, as values: what stands at the bottom of the terminal at one moment."""

from __future__ import annotations

from aegis.report.tally import Snapshot, duration, name
from aegis.report.text import columns, one_line

MAX_RUNNING_SHOWN = 8
MIN_BAR_COLUMNS = 10
MAX_BAR_COLUMNS = 40


def lines(
    snapshot: Snapshot, elapsed_s: float, now: float, width: int, encoding: str = "utf-8"
) -> list[tuple[str, str]]:
    """(text, rich style) of each line; none is wider than `width` columns. `now` is on the clock of
    `Snapshot.running`; `encoding` is the terminal's, which may lack the bar's blocks."""
    width = max(width - 1, 1)  # the last column: some terminals wrap when it is written
    style = "red" if snapshot.counts["failed"] or snapshot.counts["timeout"] else "green"
    drawn = [(_status(snapshot, elapsed_s, width, encoding), style)]
    shown = list(snapshot.running.items())[:MAX_RUNNING_SHOWN]
    drawn += [(_running(trial, now - since, width), "") for trial, since in shown]
    if len(snapshot.running) > len(shown):
        drawn.append((one_line(f"+{len(snapshot.running) - len(shown)} more running", width), "dim"))
    return drawn


def _status(snapshot: Snapshot, elapsed_s: float, width: int, encoding: str) -> str:
    text = f"{snapshot.describe()}, {duration(elapsed_s)}"
    eta_s = snapshot.eta_s(elapsed_s)
    with_eta = f"{text}, about {duration(eta_s)} left" if eta_s is not None else text
    if columns(with_eta) <= width:
        text = with_eta
    room = min(width - columns(text) - 1, MAX_BAR_COLUMNS)
    if room < MIN_BAR_COLUMNS:
        return one_line(text, width)
    return f"{_bar(snapshot, room, encoding)} {text}"


def _bar(snapshot: Snapshot, room: int, encoding: str) -> str:
    full, empty = ("█", "░") if encoding.lower().startswith("utf") else ("#", ".")
    filled = room * snapshot.done // snapshot.total if snapshot.total else room
    return full * filled + empty * (room - filled)


def _running(trial: tuple[str, str, int], age_s: float, width: int) -> str:
    age = duration(age_s)
    room = width - columns(age) - 3
    if room < 4:
        return one_line(f"  {name(*trial)}", width)
    return f"  {one_line(name(*trial), room)} {age}"
