"""Where a log that is too long is cut."""

from __future__ import annotations

from ostinato.jobstore.invocation_log_store import CUT_LOG_BYTES, LAST_LINES_KEPT, MAX_LOG_BYTES, LogRow, decide_cut


def log(*sizes: int, marker_at: int | None = None) -> list[LogRow]:
    return [LogRow(1, number, size, is_marker=number == marker_at) for number, size in enumerate(sizes)]


def test_a_log_within_the_limit_is_left_alone() -> None:
    assert decide_cut(log(*[1000] * (MAX_LOG_BYTES // 1000))) is None
    assert decide_cut([]) is None


def test_the_head_and_the_last_hundred_lines_stay() -> None:
    rows = log(*[100] * 2001)
    assert decide_cut(rows) == (CUT_LOG_BYTES // 100 - LAST_LINES_KEPT, 2001 - LAST_LINES_KEPT)


def test_long_last_lines_leave_half_of_the_room_to_the_head() -> None:
    rows = log(*[4000] * 60)
    assert decide_cut(rows) == (19, 60 - 18)


def test_what_is_kept_fits() -> None:
    for size in (1, 37, 999, 4097):
        rows = log(*[size] * (MAX_LOG_BYTES // size + 1))
        cut = decide_cut(rows)
        assert cut is not None
        first, last = cut
        assert sum(row.size for row in [*rows[:first], *rows[last:]]) <= CUT_LOG_BYTES
        assert 0 < first < last < len(rows)


def test_a_second_cut_swallows_the_marker_of_the_first() -> None:
    rows = log(*[1000] * 205, marker_at=30)
    cut = decide_cut(rows)
    assert cut is not None
    assert cut[0] == 30


def test_one_line_longer_than_everything_is_cut_away() -> None:
    assert decide_cut(log(10, MAX_LOG_BYTES + 1)) == (1, 2)
