"""Ranges of ids: whatever is split, cut or left over, each id stays in exactly one part."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from hypothesis import example, given
from hypothesis import strategies as st

from ostinato.taskqueue.sweeping.partition import Partition, parse_partition
from ostinato.taskqueue.sweeping.scan import LAST_LEVEL, ScanRange, ScanStatus, conclude_scan
from ostinato.taskqueue.sweeping.sorted_partitions import exclude_all, runs_only_in

MOST = 256  # so that sets of ids can be looked at one by one


def partitions(most: int = MOST) -> st.SearchStrategy[Partition]:
    bounds = st.tuples(st.integers(0, most), st.integers(0, most))
    return bounds.map(lambda pair: Partition(min(pair), max(pair)))


def ids(*parts: Partition) -> list[int]:
    return [number for part in parts for number in range(part.low, part.high)]


@given(partitions(1 << 130))
def test_text_of_a_partition_is_read_back(partition: Partition) -> None:
    assert parse_partition(str(partition)) == partition
    assert parse_partition(str(partition).upper()) == partition


@given(partitions(), st.integers(1, 40))
def test_a_split_keeps_each_id_once_and_in_order(partition: Partition, count: int) -> None:
    parts = partition.split(count)
    assert ids(*parts) == ids(partition)
    assert len(parts) <= count
    assert all(part.size for part in parts)
    assert len({part.size for part in parts[:-1]}) <= 1


@given(partitions(1 << 128), st.integers(1, 1000))
def test_parts_of_large_ranges_touch_each_other(partition: Partition, count: int) -> None:
    parts = partition.split(count)
    assert [part.high for part in parts[:-1]] == [part.low for part in parts[1:]]
    assert not parts or (parts[0].low, parts[-1].high) == (partition.low, partition.high)
    assert len(parts) <= count


@given(st.data(), st.integers(1, 300), st.integers(1, 300), st.integers(1, 40))
def test_what_follows_a_key_is_split_by_the_density_before_it(
    data: st.DataObject, seen: int, wanted: int, most: int
) -> None:
    partition = data.draw(partitions().filter(lambda drawn: drawn.size > 0))
    key = data.draw(st.integers(partition.low, partition.high - 1))
    parts = partition.split_after(key, seen=seen, wanted=wanted, most=most)
    assert ids(*parts) == list(range(key + 1, partition.high))
    if parts:
        rest, before = partition.high - key - 1, key + 1 - partition.low
        expected = -(-seen * rest // (wanted * before))
        assert parts == Partition(key + 1, partition.high).split(min(most, expected))


@given(st.lists(partitions(), max_size=6), partitions())
def test_excluding_is_the_difference_of_sets(holes: list[Partition], desired: Partition) -> None:
    left = exclude_all([desired], holes)
    assert ids(*left) == sorted(set(ids(desired)) - set(ids(*holes)))
    assert all(part.size for part in left)


@given(st.lists(partitions(), max_size=6), st.sets(st.integers(0, MOST)))
def test_runs_are_what_lies_in_each_part(holes: list[Partition], keys: set[int]) -> None:
    parts = exclude_all([Partition(0, MOST)], holes)
    items = sorted(keys)
    runs = list(runs_only_in(parts, items, lambda key: key))
    assert [list(run) for run in runs] == [
        inside for part in parts if (inside := [key for key in items if part.low <= key < part.high])
    ]


@dataclass(frozen=True)
class Found:
    id: UUID
    is_due: bool


@given(
    partitions(),
    st.dictionaries(st.integers(0, MOST - 1), st.booleans()),
    st.integers(1, 20),
    st.integers(1, 20),
    st.integers(0, LAST_LEVEL),
    st.sampled_from([None, ScanStatus.TIMEOUT]),
    st.integers(0, 20),
)
@example(Partition(0, 3), {2: True}, 1, 16, 0, None, 0)  # the last id of all is the last that was read
def test_each_id_is_in_the_result_or_in_one_follow_up(
    partition: Partition,
    reminders: dict[int, bool],
    most: int,
    shards: int,
    level: int,
    failure: ScanStatus | None,
    read: int,
) -> None:
    inside = [number for number in sorted(reminders) if partition.low <= number < partition.high]
    found = inside[: most if failure is None else min(most, read)]
    scanned = ScanRange(partition, level, most, shards)
    result = conclude_scan(scanned, [Found(UUID(int=number), reminders[number]) for number in found], failure)

    assert [reminder.int for reminder in result.due] == [number for number in found if reminders[number]]
    left = ids(*result.follow_ups, *result.given_up)
    assert len(left) == len(set(left))
    assert not set(left) & set(found)
    assert set(inside) <= set(found) | set(left)
    assert not (result.follow_ups and result.given_up)
    assert level < LAST_LEVEL or not result.follow_ups
    assert max(len(result.follow_ups), len(result.given_up)) <= shards
    if result.status is ScanStatus.OK:
        assert not left
    assert result.is_complete == (result.status in {ScanStatus.OK, ScanStatus.LIMIT} and not result.given_up)


@given(st.lists(st.integers(0, MOST - 1), unique=True), st.integers(1, 30), st.integers(1, 16))
def test_a_sweep_of_all_levels_reads_each_reminder_at_most_once(keys: list[int], most: int, shards: int) -> None:
    """What is left over in the end is told, and lies behind what was read."""
    waiting = [ScanRange(part, 0, most, shards) for part in Partition(0, MOST).split(shards)]
    read: list[int] = []
    given_up: list[int] = []
    while waiting:
        scanned = waiting.pop()
        part = scanned.partition
        found = [Found(UUID(int=key), is_due=True) for key in sorted(keys) if part.low <= key < part.high][:most]
        result = conclude_scan(scanned, found)
        read += [reminder.int for reminder in result.due]
        given_up += ids(*result.given_up)
        waiting += [ScanRange(rest, scanned.level + 1, most, shards) for rest in result.follow_ups]
    assert len(read) == len(set(read))
    assert set(keys) == set(read) | (set(given_up) & set(keys))
    assert not set(read) & set(given_up)
