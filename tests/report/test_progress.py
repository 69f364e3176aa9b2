from __future__ import annotations

import io
import os
import pty
import re
import select
import subprocess
import sys
import threading
import time

import pytest

from aegis.report.bar import lines
from aegis.report.tally import Tally, duration, name
from aegis.report.terminal import Progress
from aegis.report.text import columns

DEADLINE_S = 60.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_last_line_of_a_log() -> None:
    clock, stream = Clock(), io.StringIO()
    with Progress(27, stream=stream, clock=clock) as progress:
        for number in range(1, 15):
            progress.started("refund", "baseline", number)
        for number in range(1, 12):
            progress.finished("refund", "baseline", number, "passed", "")
        progress.finished("refund", "baseline", 12, "failed", "wrong amount")
        clock.now += 14.9
    assert stream.getvalue().splitlines() == [
        "FAILED refund#12: wrong amount",
        "12/27 trials, 11 passed, 1 failed, 2 running, 14 s",
    ]


def test_heartbeat_comes_by_itself() -> None:
    stream = io.StringIO()
    with Progress(3, stream=stream, heartbeat_s=0.01):
        deadline = time.monotonic() + DEADLINE_S
        while stream.getvalue().count("\n") < 3:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert set(stream.getvalue().splitlines()) <= {f"0/3 trials, 0 passed, {s} s" for s in range(100)}


def test_retries_messages_and_every_outcome() -> None:
    stream = io.StringIO()
    with Progress(5, stream=stream) as progress:
        progress.message("building image debian")
        progress.started("a", "baseline", 1)
        progress.retrying("a", "baseline", 1, "the machine did not come up")
        progress.started("a", "baseline", 1)
        progress.finished("a", "baseline", 1, "error", "the machine did not come up")
        progress.finished("a", "deep", 1, "timeout", "no answer within 5 s")
        progress.finished("b", "baseline", 1, "cancelled", "")
    assert stream.getvalue().splitlines()[:-1] == [
        "building image debian",
        "retrying a#1: the machine did not come up",
        "ERROR a#1: the machine did not come up",
        "TIMEOUT a (deep)#1: no answer within 5 s",
    ]
    assert "3/5 trials, 0 passed, 1 timeout, 1 error, 1 cancelled, 0 s" in stream.getvalue()


def test_many_failures_do_not_flood_the_log() -> None:
    stream = io.StringIO()
    with Progress(1000, stream=stream) as progress:
        for number in range(1000):
            progress.finished("a", "baseline", number, "failed", "wrong")
    assert len(stream.getvalue().splitlines()) == 22
    assert "more trials did not pass" in stream.getvalue()


def test_agents_cannot_speak_through_it() -> None:
    stream = io.StringIO()
    with Progress(1, stream=stream) as progress:
        progress.finished("\x1b[2Jcase", "baseline", 1, "failed", "a\nb\x07\u202e" + "x" * 100_000)
    first = stream.getvalue().splitlines()[0]
    assert first.startswith("FAILED \\x1b[2Jcase#1: a b\\x07\\u202exxx")
    assert len(first) <= 160


def test_quiet_is_quiet() -> None:
    stream = io.StringIO()
    with Progress(1, stream=stream, quiet=True, heartbeat_s=0.001) as progress:
        progress.message("hello")
        progress.finished("a", "baseline", 1, "failed", "wrong")
        time.sleep(0.05)
    assert stream.getvalue() == ""


def test_reader_that_went_away_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    stream = os.fdopen(write, "w")
    with Progress(1, stream=stream, heartbeat_s=0.001) as progress:
        progress.message("hello")
        time.sleep(0.05)
        progress.finished("a", "baseline", 1, "failed", "wrong")
    with pytest.raises(BrokenPipeError):
        stream.close()


def test_encoding_without_the_characters() -> None:
    raw = io.BytesIO()
    with Progress(1, stream=io.TextIOWrapper(raw, encoding="ascii")) as progress:
        progress.finished("größe", "baseline", 1, "failed", "東京")
    assert raw.getvalue().startswith(b"FAILED gr\\xf6\\xdfe#1: \\u6771\\u4eac\n")


def test_threads_report_at_the_same_time() -> None:
    tally = Tally(4000)

    def work(start: int) -> None:
        for number in range(start, start + 1000):
            tally.started(("a", "baseline", number), 0.0)
            tally.finished(("a", "baseline", number), "passed")

    threads = [threading.Thread(target=work, args=(start,)) for start in range(0, 4000, 1000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    snapshot = tally.snapshot()
    assert (snapshot.done, snapshot.counts["passed"], snapshot.running) == (4000, 4000, {})


@pytest.mark.parametrize("width", [1, 2, 5, 10, 20, 40, 80, 200])
def test_live_lines_fit_every_terminal(width: int) -> None:
    tally = Tally(27)
    for number in range(12):
        tally.started((f"case-{number}-" + "東" * 30, "bloated-tools", 1), 900.0)
    tally.finished(("x", "baseline", 1), "failed")
    drawn = lines(tally.snapshot(), 100.0, 1000.0, width)
    assert all(columns(text) <= max(width - 1, 1) for text, _ in drawn)
    assert len(drawn) == 1 + 8 + 1


def test_live_lines_say_what_runs_and_how_long_it_takes() -> None:
    tally = Tally(4)
    tally.started(("refund", "baseline", 2), 990.0)
    tally.finished(("refund", "baseline", 1), "passed")
    drawn = [text for text, _ in lines(tally.snapshot(), 20.0, 1000.0, 100)]
    assert drawn == [
        "█" * 9 + "░" * 29 + " 1/4 trials, 1 passed, 1 running, 20 s, about 1 min 00 s left",
        "  refund#2 10 s",
    ]
    ascii_bar = lines(tally.snapshot(), 20.0, 1000.0, 100, "ascii")[0][0]
    assert ascii_bar.startswith("#########....")
    assert len(lines(Tally(0).snapshot(), 0.0, 0.0, 80)) == 1


def test_durations_and_names() -> None:
    assert [duration(s) for s in (0, 14.9, 60, 134, 3720, -1)] == [
        "0 s", "14 s", "1 min 00 s", "2 min 14 s", "1 h 02 min", "0 s"
    ]  # fmt: skip
    assert name("a", "baseline", 2) == "a#2"
    assert name("a", "deep", 2) == "a (deep)#2"


SCRIPT = """
import sys, time
from aegis.report.terminal import Progress
with Progress(3) as progress:
    progress.message("building image debian")
    progress.started("refund", "baseline", 1)
    progress.finished("evil\\x1b[2J", "baseline", 1, "failed", "wrong [bold]amount[/]")
    time.sleep(0.6)
print("after", file=sys.stderr)
"""


def on_a_terminal(**env: str) -> str:
    """What a real terminal gets from the script."""
    main, other = pty.openpty()
    environment = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stderr=other, env={**environment, "COLUMNS": "60", **env}
    )
    os.close(other)
    got = b""
    while select.select([main], [], [], DEADLINE_S)[0]:
        try:
            chunk = os.read(main, 65536)
        except OSError:  # how Linux tells that the other end is closed
            break
        got += chunk
    os.close(main)
    assert process.wait(DEADLINE_S) == 0
    return got.decode()


def test_live_display_on_a_real_terminal() -> None:
    got = on_a_terminal(TERM="xterm-256color")
    assert "building image debian" in got
    assert "FAILED evil\\x1b[2J#1: wrong [bold]amount[/]" in got
    assert "1/3 trials, 0 passed, 1 failed, 1 running" in got
    assert "\x1b[2J" not in got
    assert "\x1b[31m" in got  # the bar turned red
    assert got.count("\x1b[?25l") == got.count("\x1b[?25h") == 1  # the cursor comes back
    assert got.replace("\r", "").endswith("after\n")


def test_no_color_and_dumb_terminals() -> None:
    got = on_a_terminal(TERM="xterm-256color", NO_COLOR="1")
    assert "1/3 trials" in got
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", got)
    got = on_a_terminal(TERM="dumb")
    assert "\x1b" not in got
    assert "1/3 trials, 0 passed, 1 failed, 1 running" in got


def test_importing_the_report_does_not_import_rich() -> None:
    script = "import sys, aegis.report.terminal, aegis.report.junit; print('rich' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
