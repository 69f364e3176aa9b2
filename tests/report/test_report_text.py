from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.report.text import columns, one_line, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text", "plain text"),
        ("Größe 東京 🙂", "Größe 東京 🙂"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x1b]52;c;cm0gLXJm\x07", "\\x1b]52;c;cm0gLXJm\\x07"),
        ("\x9b2J", "\\x9b2J"),
        ("bell\x07 back\x08 nul\x00 del\x7f", "bell\\x07 back\\x08 nul\\x00 del\\x7f"),
        ("abc\u202egnp.exe", "abc\\u202egnp.exe"),
        ("\u2066\u2069\u200f\u061c", "\\u2066\\u2069\\u200f\\u061c"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        ("tag\U000e0041", "tag\\U000e0041"),
        ("lone \ud800", "lone \\ud800"),
        ("", ""),
    ],
)
def test_visible(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_one_line_joins_lines_and_shortens() -> None:
    assert one_line("a\r\n\tb \u2028 c\x0b") == "a b c"
    assert one_line("abcdef", 6) == "abcdef"
    assert one_line("abcdefg", 6) == "abcde…"
    assert one_line("東京東京", 5) == "東京…"
    assert one_line("ab", 1) == "…"
    assert one_line("x" * 10_000_000, 10) == "xxxxxxxxx…"


def test_combining_marks_take_no_column() -> None:
    assert columns("e\u0301") == 1
    assert columns("🙂") == 2


@given(st.text(st.characters(categories=None), max_size=200), st.integers(1, 80))
def test_nothing_that_a_terminal_obeys_gets_through(text: str, width: int) -> None:
    line = one_line(text, width)
    assert not {unicodedata.category(c) for c in line} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert columns(line) <= width
