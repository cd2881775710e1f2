"""Which lines claims look at, from where, and how much they take of each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ostinato.taskqueue.embedded.claim_lines import ClaimLines, Moment, Window
from ostinato.taskqueue.embedded.fair_share import BEGINNING
from ostinato.taskqueue.embedded.strand import REDELIVERY, strand_of
from ostinato.taskqueue.priority import Priority

NOW = datetime(2026, 1, 1, tzinfo=UTC)
QUEUE = 1
SHARED = strand_of(QUEUE)
FLOOD_A, FLOOD_B = strand_of(QUEUE, subqueue=5), strand_of(QUEUE, subqueue=9)
URGENT = strand_of(QUEUE, priority=Priority.URGENT)
LOW = strand_of(QUEUE, priority=Priority.LOW)


def at(monotonic: float, *, db_now: datetime = NOW, idle: bool = False) -> Moment:
    return Moment(db_now, monotonic, idle)


def low(lines: ClaimLines, *, monotonic: float, idle: bool = False) -> datetime:
    """Where a claim looks from that finds nothing."""
    (window,) = lines.windows(QUEUE, 10, at(monotonic, idle=idle))
    drain(lines, moment=at(monotonic, idle=idle))
    return window.low


def drain(lines: ClaimLines, *, moment: Moment = at(0.0), room: int = 10) -> bool:  # noqa: B008 - immutable
    """A claim that finds nothing."""
    return lines.note(lines.windows(QUEUE, room, moment), [], room=room, moment=moment)


def strands(lines: ClaimLines, room: int = 10) -> list[int]:
    return [window.strand for window in lines.windows(QUEUE, room, at(0.0))]


def test_the_first_claim_looks_everywhere_and_so_does_one_each_15_seconds() -> None:
    lines = ClaimLines([QUEUE])
    first, *_ = [low(lines, monotonic=t) for t in (0.0, 14.9, 15.0)]
    assert first == BEGINNING
    drain(lines)
    assert low(lines, monotonic=15.1) == NOW - timedelta(milliseconds=50)
    assert low(lines, monotonic=30.1) == BEGINNING


def test_a_full_claim_goes_on_after_its_last_row() -> None:
    lines = ClaimLines([QUEUE])
    low(lines, monotonic=0.0)
    taken = [(SHARED, NOW - timedelta(seconds=n)) for n in range(10)]
    assert lines.note(lines.windows(QUEUE, 10, at(0.0)), taken, room=10, moment=at(0.0))
    assert low(lines, monotonic=0.1) == NOW


def test_a_claim_that_a_limit_cut_short_goes_on_after_its_last_row_too() -> None:
    lines = ClaimLines([QUEUE])
    low(lines, monotonic=0.0)
    taken = [(SHARED, NOW - timedelta(seconds=n)) for n in range(3)]
    assert lines.note(lines.windows(QUEUE, 10, at(0.0)), taken, room=3, moment=at(0.0))
    assert low(lines, monotonic=0.1) == NOW


def test_a_claim_that_was_allowed_nothing_moves_no_cursor() -> None:
    """What waits would lie behind it once it is allowed."""
    lines = ClaimLines([QUEUE])
    for _ in range(2):
        (window,) = lines.windows(QUEUE, 10, at(0.0))
        assert window.low == BEGINNING
        lines.note([window], [], room=0, moment=at(0.0))


def test_late_commits_are_looked_for_every_quarter_second_and_when_idle() -> None:
    lines = ClaimLines([QUEUE])
    low(lines, monotonic=0.0)
    drain(lines)
    assert low(lines, monotonic=0.2) == NOW - timedelta(milliseconds=50)
    assert low(lines, monotonic=0.3) == NOW - timedelta(seconds=5)
    assert low(lines, monotonic=0.31, idle=True) == NOW - timedelta(seconds=5)


def test_a_drained_line_never_moves_back() -> None:
    lines = ClaimLines([QUEUE])
    low(lines, monotonic=0.0)
    drain(lines)
    drain(lines, moment=at(0.0, db_now=NOW - timedelta(hours=1)))
    assert low(lines, monotonic=0.1) == NOW - timedelta(milliseconds=50)


def test_rewind_makes_the_next_claim_look_everywhere() -> None:
    lines = ClaimLines([QUEUE])
    low(lines, monotonic=0.0)
    drain(lines)
    lines.rewind()
    assert low(lines, monotonic=0.1) == BEGINNING
    assert low(lines, monotonic=0.2) != BEGINNING


def test_a_rewind_holds_although_a_look_at_everything_was_under_way() -> None:
    lines = ClaimLines([QUEUE])
    windows = lines.windows(QUEUE, 10, at(0.0))
    lines.rewind()
    lines.note(windows, [], room=10, moment=at(0.0))
    assert low(lines, monotonic=0.1) == BEGINNING


def test_only_the_usual_line_is_looked_at_until_others_are_known_and_no_longer_than_they_hold_work() -> None:
    lines = ClaimLines([QUEUE])
    assert strands(lines) == [SHARED]
    lines.mark([FLOOD_A, strand_of(7)])
    assert set(strands(lines)) == {SHARED, FLOOD_A}
    drain(lines)
    assert strands(lines) == [SHARED]


def test_what_is_not_looked_at_is_searched_without_a_gap() -> None:
    lines = ClaimLines([QUEUE])
    lines.mark([URGENT, FLOOD_A])
    unseen = {strand for first, last in lines.unseen() for strand in range(first, last + 1)}
    everything = {strand_of(QUEUE, priority=band, subqueue=sub) for band in Priority for sub in range(64)}
    assert unseen == everything - {SHARED, URGENT, FLOOD_A}


def test_a_line_at_an_end_of_its_queue_leaves_no_empty_range() -> None:
    lines = ClaimLines([QUEUE])
    lines.mark([strand_of(QUEUE, priority=0, subqueue=0), strand_of(QUEUE, priority=3, subqueue=REDELIVERY)])
    assert all(first <= last for first, last in lines.unseen())


def test_the_most_urgent_lane_is_first() -> None:
    lines = ClaimLines([QUEUE])
    lines.mark([LOW, URGENT])
    assert strands(lines) == [URGENT, SHARED, LOW]


def test_less_urgent_lanes_wait_while_several_lines_share_a_more_urgent_one() -> None:
    """Each line of the shared lane has a quota, so that what is left would go to the less urgent lanes."""
    lines = ClaimLines([QUEUE])
    lines.mark([LOW, FLOOD_A])
    assert set(strands(lines)) == {SHARED, FLOOD_A}
    assert drain(lines)  # the lane turned out empty: there may be more, in the next one
    assert strands(lines) == [SHARED, LOW]


def test_quotas_follow_the_weights() -> None:
    lines = ClaimLines([QUEUE])
    lines.mark([FLOOD_A, FLOOD_B])
    assert {window.strand: window.quota for window in lines.windows(QUEUE, 1000, at(0.0))} == {
        SHARED: 800,
        FLOOD_A: 100,
        FLOOD_B: 100,
    }


def test_with_room_for_one_the_lines_take_turns_by_weight() -> None:
    lines = ClaimLines([QUEUE])
    lines.mark([FLOOD_A])
    served = {SHARED: 0, FLOOD_A: 0}
    for _ in range(90):
        first: Window = lines.windows(QUEUE, 1, at(0.0))[0]
        served[first.strand] += 1
        lines.note(lines.windows(QUEUE, 1, at(0.0)), [(first.strand, NOW)], room=1, moment=at(0.0))
    assert served == {SHARED: 80, FLOOD_A: 10}


def test_an_empty_line_saves_no_turns_up() -> None:
    lines = ClaimLines([QUEUE])
    lines.mark([FLOOD_A, FLOOD_B])
    for _ in range(50):  # only one flood has tasks
        lines.mark([FLOOD_A])
        lines.note(lines.windows(QUEUE, 10, at(0.0)), [(FLOOD_B, NOW)] * 9, room=10, moment=at(0.0))
        lines.mark([FLOOD_B])
    lines.mark([FLOOD_A, FLOOD_B])
    turns = []
    for _ in range(18):
        windows = lines.windows(QUEUE, 1, at(0.0))
        first = next(window for window in windows if window.strand != SHARED)
        turns.append(first.strand)
        lines.note(windows, [(first.strand, NOW)], room=1, moment=at(0.0))
    assert abs(turns.count(FLOOD_A) - turns.count(FLOOD_B)) <= 2


def test_a_flood_that_is_alone_gets_all_the_room() -> None:
    """Room kept for a shared line that is empty made it one task per claim."""
    lines, flood = ClaimLines([QUEUE]), strand_of(QUEUE) + 7
    lines.mark([flood])
    lines.note(lines.windows(QUEUE, 9, at(0.0)), [(flood, NOW)], room=9, moment=at(0.0))
    assert {window.strand: window.quota for window in lines.windows(QUEUE, 9, at(0.0))} == {SHARED: 9, flood: 9}
    lines.mark([SHARED])
    assert {window.strand: window.quota for window in lines.windows(QUEUE, 9, at(0.0))} == {SHARED: 8, flood: 1}


OTHER = 2


def lows(lines: ClaimLines, queue: int, moment: Moment) -> dict[int, datetime]:
    return {window.strand: window.low for window in lines.windows(queue, 10, moment)}


def test_a_queue_that_was_not_claimed_from_is_looked_at_from_its_beginning_when_it_is() -> None:
    """After a resume another queue's claim used the look up: what was added meanwhile waited for a quarter minute."""
    lines = ClaimLines([QUEUE, OTHER])
    for queue in (QUEUE, OTHER):
        lines.note(lines.windows(queue, 10, at(0.0)), [], room=10, moment=at(0.0))
    lines.rewind()
    drain(lines, moment=at(0.1))
    assert lows(lines, QUEUE, at(0.2)) == {SHARED: NOW - timedelta(milliseconds=50)}
    assert lows(lines, OTHER, at(0.2)) == {strand_of(OTHER): BEGINNING}


def test_a_line_that_is_found_to_hold_work_is_looked_at_seconds_back_at_once() -> None:
    """Its task committed late. The shared line, which is looked at all the time, had just had such a look."""
    lines = ClaimLines([QUEUE])
    lines.mark([URGENT])
    drain(lines)
    for tenth in range(1, 20):
        drain(lines, moment=at(tenth / 10))
    lines.mark([URGENT])
    assert lows(lines, QUEUE, at(1.9))[URGENT] == NOW - timedelta(seconds=5)
    assert lows(lines, QUEUE, at(15.0))[URGENT] == BEGINNING


def test_lines_that_a_full_claim_did_not_reach_keep_their_look() -> None:
    lines = ClaimLines([QUEUE])
    lines.mark([URGENT, LOW])
    drain(lines)
    lines.mark([URGENT, LOW])
    moment = at(20.0)
    taken = [(SHARED, NOW)] * 10
    assert lines.note(lines.windows(QUEUE, 10, moment), taken, room=10, moment=moment)
    assert lows(lines, QUEUE, moment) == {URGENT: NOW - timedelta(milliseconds=50), SHARED: NOW, LOW: BEGINNING}
