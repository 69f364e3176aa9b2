"""Progress of a run: a live display on a terminal, a heartbeat line elsewhere."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol, TextIO

from aegis.report.tally import Snapshot, Tally, duration, name
from aegis.report.text import one_line

HEARTBEAT_S = 10.0
REFRESH_HZ = 4
MAX_FAILURES_SHOWN = 20
LINE_COLUMNS = 160
"""Lines that go to a log are cut to this."""


class _Display(Protocol):
    def __enter__(self) -> Any: ...

    def __exit__(self, *exc: Any) -> Any: ...

    def line(self, text: str) -> None: ...


class Progress:
    """What `aegis eval run` shows while it works, all of it on `stream` (default: standard error).

    On a terminal: a bar, counts, the trials that run with their ages, and the estimated time left. Elsewhere,
    and on a dumb terminal: one line every `heartbeat_s` seconds. Trials that don't pass and messages get
    lines of their own; after 20 trials the rest is left to the table. `quiet` shows nothing. A stream that
    breaks (its reader is gone) is no error: the display stops. Methods may be called from any thread, inside
    the `with` block.
    """

    def __init__(
        self,
        total: int,
        *,
        stream: TextIO | None = None,
        quiet: bool = False,
        heartbeat_s: float = HEARTBEAT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tally = Tally(total)
        self._stream = stream if stream is not None else sys.stderr
        self._quiet = quiet
        self._heartbeat_s = heartbeat_s
        self._clock = clock
        self._begun = clock()
        self._failures = 0
        self._display: _Display | None = None

    def __enter__(self) -> Progress:
        self._begun = self._clock()
        if not self._quiet:
            self._display = _Live(self) if is_live(self._stream) else _Heartbeat(self)
            self._display.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        display, self._display = self._display, None
        if display is not None:
            with contextlib.suppress(OSError, ValueError):
                display.__exit__(*exc)

    def message(self, text: str) -> None:
        """Show one line: slow work (`building image debian`) or a warning."""
        self._line(text)

    def expect_more(self, trials: int) -> None:
        """So many trials have come on top."""
        self._tally.expect_more(trials)

    def started(self, case: str, variant: str, number: int) -> None:
        self._tally.started((case, variant, number), self._clock())

    def finished(self, case: str, variant: str, number: int, outcome: str, reason: str) -> None:
        """Count a trial once, with its final outcome."""
        self._tally.finished((case, variant, number), outcome)
        if outcome in ("passed", "cancelled"):
            return
        self._failures += 1
        if self._failures <= MAX_FAILURES_SHOWN:
            self._line(f"{outcome.upper()} {name(case, variant, number)}: {reason}")
        elif self._failures == MAX_FAILURES_SHOWN + 1:
            self._line("more trials did not pass; the table at the end names them")

    def retrying(self, case: str, variant: str, number: int, reason: str) -> None:
        """An attempt ended in an infrastructure error and the trial will be begun again."""
        self._tally.retrying((case, variant, number))
        self._line(f"retrying {name(case, variant, number)}: {reason}")

    def snapshot(self) -> tuple[Snapshot, float]:
        """The state now and the seconds since the start."""
        return self._tally.snapshot(), self._clock() - self._begun

    def _line(self, text: str) -> None:
        if self._display is not None:
            with contextlib.suppress(OSError, ValueError):
                self._display.line(one_line(text, LINE_COLUMNS))


def is_live(stream: TextIO) -> bool:
    """Whether the stream is a terminal that can redraw lines."""
    with contextlib.suppress(ValueError, AttributeError):
        return stream.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown", "")
    return False


def write_line(stream: TextIO, text: str) -> None:
    """Write a line; characters that the stream's encoding lacks become escapes."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    stream.flush()


class _Heartbeat:
    """One line now and then, and a last one at the end."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        self._thread.join()
        self._show()

    def line(self, text: str) -> None:
        with self._lock:
            write_line(self._progress._stream, text)

    def _beat(self) -> None:
        while not self._ended.wait(self._progress._heartbeat_s):
            try:
                self._show()
            except (OSError, ValueError):
                return

    def _show(self) -> None:
        snapshot, elapsed_s = self._progress.snapshot()
        self.line(f"{snapshot.describe()}, {duration(elapsed_s)}")


class _Live:
    """A few lines at the bottom of the terminal, redrawn by a thread of rich's."""

    def __init__(self, progress: Progress) -> None:
        from rich.console import Console
        from rich.live import Live

        self._progress = progress
        self._console = Console(file=progress._stream, force_terminal=True, highlight=False, markup=False)
        self._live = Live(
            console=self._console,
            get_renderable=self._draw,
            refresh_per_second=REFRESH_HZ,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=progress._stream is sys.stderr,
            vertical_overflow="crop",
        )

    def __enter__(self) -> None:
        self._live.__enter__()

    def __exit__(self, *exc: Any) -> None:
        self._live.__exit__(*exc)

    def line(self, text: str) -> None:
        self._console.print(text, soft_wrap=True)

    def _draw(self) -> Any:
        from rich.text import Text

        from aegis.report.bar import lines

        snapshot, elapsed_s = self._progress.snapshot()
        now = self._progress._clock()
        drawn = lines(snapshot, elapsed_s, now, self._console.width, self._console.encoding)
        return Text("\n").join([Text(text, style=style) for text, style in drawn])
