"""A flood of some keys does not hold up another, however they come; nothing is passed over while there is room."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from ostinato.taskqueue.embedded.claim_lines import ClaimLines, Moment
from ostinato.taskqueue.embedded.fair_share import FloodGate, flood_subqueue
from ostinato.taskqueue.embedded.strand import FLOODS, SHARED, lane_of, strand_of
from ostinato.taskqueue.priority import Priority

QUEUE = 3
LANE = lane_of(strand_of(QUEUE))
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
BURST = 64


class Table:
    """What tq_ready does for one queue: rows by strand in the order of their time."""

    def __init__(self) -> None:
        self.rows: dict[int, deque[tuple[int, int]]] = {}  # (added as the n-th, key)
        self.added = 0
        self.gate = FloodGate()

    def add(self, key: int, count: int, *, now: float, priority: Priority = Priority.NORMAL) -> None:
        strand = strand_of(QUEUE, priority=priority)
        shared = self.gate.admit(lane_of(strand), key, count, now=now)
        for n in range(count):
            subqueue = SHARED if n < shared else flood_subqueue(key)
            self.rows.setdefault(strand | subqueue, deque()).append((self.added, key))
            self.added += 1

    def claim(self, lines: ClaimLines, room: int, *, at: datetime) -> list[int]:
        """Keys as the statement claims them: each window its quota, all at most `room`."""
        windows = lines.windows(QUEUE, room, Moment(at, 0.0))
        taken: list[tuple[int, int]] = []
        for window in windows:
            row = self.rows.get(window.strand, deque())
            count = min(window.quota, room - len(taken), len(row))
            taken += [(window.strand, row.popleft()[1]) for _ in range(count)]
        lines.note(windows, [(strand, at) for strand, _ in taken], room=room, moment=Moment(at, 0.0))
        return [key for _, key in taken]

    def find(self, lines: ClaimLines) -> None:
        lines.mark([strand for strand, rows in self.rows.items() if rows])

    @property
    def left(self) -> int:
        return sum(map(len, self.rows.values()))


keys = st.integers(1, 40)
floods = st.lists(st.tuples(keys, st.integers(1, 800)), min_size=1, max_size=8)


@given(floods=floods, rooms=st.lists(st.integers(1, 1000), min_size=1, max_size=10))
def test_a_quiet_keys_task_starts_after_bursts_and_one_round_of_the_others(
    floods: list[tuple[int, int]], rooms: list[int]
) -> None:
    quiet = 77
    table, lines = Table(), ClaimLines([QUEUE])
    for n, (key, count) in enumerate(floods):
        table.add(key, count, now=n * 0.01)
    table.add(quiet, 1, now=1.0)
    table.find(lines)
    flooding = len({key for key, _ in floods})
    started = 0
    for n in range(10_000):
        room = rooms[n % len(rooms)]
        got = table.claim(lines, room, at=EPOCH + timedelta(seconds=n))
        if quiet in got:
            break
        started += len(got)
        table.find(lines)
    # Before it in the shared line: a burst of each other key and what came back to it meanwhile. Beside it, each
    # flood gets a share that is smaller than the shared line's, in every claim at least one task.
    bursts = flooding * (BURST + 8)
    assert quiet in got
    assert started <= bursts + (bursts // 8 + 1) * flooding + max(rooms)


@given(floods=floods, room=st.integers(1, 1000))
def test_everything_is_claimed_and_no_room_stays_empty_while_there_is_work(
    floods: list[tuple[int, int]], room: int
) -> None:
    table, lines = Table(), ClaimLines([QUEUE])
    for key, count in floods:
        table.add(key, count, now=0.0)
    for n in range(20_000):
        table.find(lines)
        left = table.left
        if not left:
            break
        # Quotas cut a claim short; the next one goes on at once with what is left.
        got = table.claim(lines, room, at=EPOCH + timedelta(seconds=n))
        assert len(got) >= min(left, max(1, room // 80))
    assert not table.left


@given(floods=floods, room=st.integers(1, 500), band=st.sampled_from([Priority.LOW, Priority.IDLE]))
def test_a_less_urgent_task_waits_for_every_more_urgent_one(
    floods: list[tuple[int, int]], room: int, band: Priority
) -> None:
    table, lines = Table(), ClaimLines([QUEUE])
    for key, count in floods:
        table.add(key, count, now=0.0)
    table.add(900, 3, now=0.0, priority=band)
    urgent = sum(count for _, count in floods)
    for n in range(20_000):
        table.find(lines)
        for key in table.claim(lines, room, at=EPOCH + timedelta(seconds=n)):
            if key == 900:
                assert urgent == 0
            else:
                urgent -= 1
        if not table.left:
            break
    assert not table.left


@given(adds=st.lists(st.tuples(keys, st.integers(1, 500), st.floats(0, 3)), max_size=60))
def test_the_gate_lets_no_more_than_burst_and_rate_into_the_shared_line(adds: list[tuple[int, int, float]]) -> None:
    gate, now = FloodGate(), 0.0
    admitted: dict[int, int] = {}
    for key, count, pause in adds:
        now += pause
        got = gate.admit(LANE, key, count, now=now)
        assert 0 <= got <= count
        admitted[key] = admitted.get(key, 0) + got
    assert all(total <= BURST + 64 * now for total in admitted.values())


@given(count=st.integers(1, BURST), others=st.lists(st.tuples(keys, st.integers(1, 5000)), max_size=50))
def test_a_key_within_its_burst_is_never_diverted_whatever_others_do(count: int, others: list[tuple[int, int]]) -> None:
    gate = FloodGate()
    for n, (key, flood) in enumerate(others):
        gate.admit(LANE, key, flood, now=n * 0.1)
    assert gate.admit(LANE, 77, count, now=10.0) == count


def test_a_key_that_goes_on_flooding_stays_diverted_and_is_back_soon_after() -> None:
    gate = FloodGate()
    assert gate.admit(LANE, 1, 1000, now=0.0) == BURST
    assert sum(gate.admit(LANE, 1, 10, now=n * 0.01) for n in range(1, 1000)) == 0
    assert gate.admit(LANE, 1, BURST, now=10.0 + 2.0) == BURST


def test_tasks_without_a_key_and_other_lanes_are_left_alone() -> None:
    gate = FloodGate()
    assert gate.admit(LANE, 0, 100_000, now=0.0) == 100_000
    gate.admit(LANE, 1, 100_000, now=0.0)
    assert gate.admit(LANE + 1, 1, 10, now=0.0) == 10


@given(st.integers(-(2**31), 2**31 - 1))
def test_a_floods_sub_queue_is_one_of_the_62(key: int) -> None:
    assert 1 <= flood_subqueue(key) <= FLOODS


def test_the_gate_forgets_keys_that_are_quiet() -> None:
    gate = FloodGate()
    for n in range(10_000):
        gate.admit(LANE, n + 1, 1, now=n * 0.01)
    assert len(gate._fresh) + len(gate._older) < 1000
