"""Where claims look: near, for late commits, everywhere."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ostinato.taskqueue.embedded.claim_cursor import BEGINNING, ClaimCursors

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def low(cursors: ClaimCursors, *, monotonic: float, idle: bool = False) -> datetime:
    ((_, at),) = cursors.windows(db_now=NOW, monotonic=monotonic, idle=idle)
    return at


def test_the_first_claim_looks_everywhere_and_so_does_one_each_15_seconds() -> None:
    cursors = ClaimCursors([512])
    cursors_lows = [low(cursors, monotonic=t) for t in (0.0, 14.9, 15.0)]
    assert cursors_lows[0] == BEGINNING
    cursors.drained(512, sent_at=NOW)
    assert low(cursors, monotonic=15.1) == NOW - timedelta(milliseconds=50)
    assert low(cursors, monotonic=30.1) == BEGINNING


def test_a_full_claim_goes_on_after_its_last_row() -> None:
    cursors = ClaimCursors([512])
    low(cursors, monotonic=0.0)
    cursors.claimed(512, count=10, quota=10, last_ready_at=NOW)
    assert low(cursors, monotonic=0.1) == NOW


def test_a_short_claim_does_not_move_the_cursor_by_itself() -> None:
    cursors = ClaimCursors([512])
    low(cursors, monotonic=0.0)
    cursors.claimed(512, count=3, quota=10, last_ready_at=NOW)
    assert low(cursors, monotonic=0.1) == BEGINNING


def test_late_commits_are_looked_for_every_quarter_second_and_when_idle() -> None:
    cursors = ClaimCursors([512])
    low(cursors, monotonic=0.0)
    cursors.drained(512, sent_at=NOW)
    assert low(cursors, monotonic=0.2) == NOW - timedelta(milliseconds=50)
    assert low(cursors, monotonic=0.3) == NOW - timedelta(seconds=5)
    assert low(cursors, monotonic=0.31, idle=True) == NOW - timedelta(seconds=5)


def test_drained_never_moves_a_cursor_back() -> None:
    cursors = ClaimCursors([512])
    low(cursors, monotonic=0.0)
    cursors.drained(512, sent_at=NOW)
    cursors.drained(512, sent_at=NOW - timedelta(hours=1))
    assert low(cursors, monotonic=0.1) == NOW - timedelta(milliseconds=50)


def test_rewind_makes_the_next_claim_look_everywhere() -> None:
    cursors = ClaimCursors([512])
    low(cursors, monotonic=0.0)
    cursors.drained(512, sent_at=NOW)
    cursors.rewind()
    assert low(cursors, monotonic=0.1) == BEGINNING
