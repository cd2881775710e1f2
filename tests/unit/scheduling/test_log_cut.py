"""Where a log that is too long is cut."""

from __future__ import annotations

from ostinato.scheduling.log_cut import (
    CUT_LOG_BYTES,
    CUT_MARKER,
    LAST_LINES_KEPT,
    MAX_LOG_BYTES,
    LogRow,
    decide_cut,
    lines_of,
)

MARKER_SIZE = len(CUT_MARKER) + 1


def log(*sizes: int, marker_at: int | None = None) -> list[LogRow]:
    return [LogRow(size, is_marker=number == marker_at) for number, size in enumerate(sizes)]


def test_a_log_within_the_limit_is_left_alone() -> None:
    assert decide_cut(log(*[1000] * (MAX_LOG_BYTES // 1000))) is None
    assert decide_cut([]) is None


def test_the_head_and_the_last_hundred_lines_stay() -> None:
    rows = log(*[100] * 2001)
    assert decide_cut(rows) == ((CUT_LOG_BYTES - MARKER_SIZE) // 100 - LAST_LINES_KEPT, 2001 - LAST_LINES_KEPT)


def test_long_last_lines_leave_half_of_the_room_to_the_head() -> None:
    rows = log(*[4000] * 60)
    assert decide_cut(rows) == (19, 60 - 18)


def test_a_second_cut_swallows_the_marker_of_the_first() -> None:
    cut = decide_cut(log(*[1000] * 205, marker_at=30))
    assert cut is not None
    assert cut[0] == 30


def test_the_last_lines_never_reach_behind_a_former_marker() -> None:
    rows = log(120_000, MARKER_SIZE, *[10] * 5, *[6_000] * 14, marker_at=1)
    assert decide_cut(rows) == (0, 7 + 2)
    assert decide_cut(log(60_000, MARKER_SIZE, 90_000, 60_000, marker_at=1)) == (1, 3)


def test_one_line_longer_than_everything_is_cut_away() -> None:
    assert decide_cut(log(10, MAX_LOG_BYTES + 1)) == (1, 2)


def test_a_text_longer_than_a_whole_log_is_cut_and_followed_by_the_marker() -> None:
    for text in ("x" * MAX_LOG_BYTES, "é" * MAX_LOG_BYTES, "𝄞" * MAX_LOG_BYTES):
        kept, marker = lines_of(text)
        assert marker == CUT_MARKER
        assert text.startswith(kept)
        assert CUT_LOG_BYTES // 2 - 100 < len(kept.encode()) < CUT_LOG_BYTES // 2
    for text in ("", "é" * (MAX_LOG_BYTES // 2 - 1), "x" * (MAX_LOG_BYTES - 1)):
        assert lines_of(text) == [text]


def test_what_was_left_of_such_a_text_outlives_later_cuts() -> None:
    kept, marker = (LogRow(len(line) + 1, line == CUT_MARKER) for line in lines_of("x" * 10**6))
    assert decide_cut([kept, marker, *log(*[4_000] * 40)]) == (1, 42 - 18)
