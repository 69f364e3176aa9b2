"""Durations and sizes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.suite.units import (
    MAX_DURATION_S,
    MAX_SIZE_BYTES,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("2s", 2.0), ("5m", 300.0), ("1.5h", 5400.0), ("0.1ms", 0.0001), ("007s", 7.0)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"), [("1B", 1), ("64KiB", 65536), ("512MiB", 536870912), ("1.5GiB", 1610612736)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    [
        *(
            "fast",
            "",
            "-1s",
            "+1s",
            "1",
            " 1s",
            "1 s",
            "1s ",
            "1S",
            "1d",
            "1e3s",
            "nan",
            "nans",
            "infs",
            "1.s",
        ),
        *(".5s", "1_0s", "١s", "1s\n", "9" * 30 + "s", "999999999999s", "0s", "0.0ms"),
        *(None, True, [], {}, 5, 1.5, math.nan, math.inf),
    ],
)
def test_what_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match=r"^expected a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    "text",
    [
        "big",
        "",
        "-1MiB",
        "1",
        "512MB",
        "1mib",
        "0MiB",
        "0.3B",
        "2048TiB",
        "1e3B",
        "nanB",
        None,
        True,
        5,
        math.nan,
    ],
)
def test_what_is_no_size(text: object) -> None:
    with pytest.raises(ValueError, match=r"^expected a size"):
        parse_size(text)


def test_messages_say_what_to_write() -> None:
    with pytest.raises(ValueError, match=r"got 'fast'$"):
        parse_duration("fast")
    with pytest.raises(ValueError, match=r"got the number 120 \(write the unit: 120s\)"):
        parse_duration(120)
    with pytest.raises(ValueError, match=r"did you mean 512MiB\?"):
        parse_size("512MB")


def test_zero_where_it_makes_sense() -> None:
    assert parse_duration("0s", allow_zero=True) == 0.0
    assert parse_size("0B", allow_zero=True) == 0
    assert (format_duration(0), format_size(0)) == ("0s", "0B")


@given(st.floats(min_value=1e-9, max_value=MAX_DURATION_S))
def test_durations_round_trip(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


@given(st.integers(min_value=1, max_value=MAX_SIZE_BYTES))
def test_sizes_round_trip(size: int) -> None:
    assert parse_size(format_size(size)) == size


@given(st.text() | st.from_regex(r"[0-9.]{1,30}(ms|s|m|h|B|MiB)", fullmatch=True))
def test_any_text_is_a_value_in_bounds_or_a_value_error(text: str) -> None:
    for parse, most in ((parse_duration, MAX_DURATION_S), (parse_size, MAX_SIZE_BYTES)):
        try:
            value = parse(text)
        except ValueError:
            continue
        assert 0 < value <= most


@pytest.mark.parametrize("seconds", [-1.0, math.nan, math.inf])
def test_what_cannot_be_written_as_a_duration(seconds: float) -> None:
    with pytest.raises(ValueError):
        format_duration(seconds)
