"""Golden values and edges of ranges of ids."""

from __future__ import annotations

from uuid import UUID

import pytest

from ostinato.errors import InvalidArgument
from ostinato.taskqueue.sweeping.partition import Partition, parse_partition
from ostinato.taskqueue.sweeping.sorted_partitions import exclude, exclude_all, runs_only_in


def test_bounds_are_written_in_hex_without_padding() -> None:
    assert str(Partition.universe(1)) == "0_100"
    assert str(Partition.universe(16)) == "0_1" + "0" * 32
    assert str(Partition(0x0A, 0xFF)) == "a_ff"


@pytest.mark.parametrize(
    "text", ["_", "10_", "_1", "10_-1", "10_badhighvalue", "", "10", "+1_2", "1_2_3", "0x1_2", "1_2\n", " 1_2"]
)
def test_what_is_no_partition_is_refused_by_its_name(text: str) -> None:
    with pytest.raises(InvalidArgument, match="partition: must be two numbers"):
        parse_partition(text)


def test_reversed_bounds_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="partition: must not end before it begins"):
        parse_partition("11_10")
    with pytest.raises(ValueError, match="in order"):
        Partition(2, 1)
    with pytest.raises(ValueError, match="not negative"):
        Partition(-1, 1)


def test_upper_case_is_accepted() -> None:
    assert parse_partition("A_FF") == Partition(10, 255)


def test_a_span_includes_both_ends() -> None:
    assert Partition.span(0x05, 0x10) == Partition(5, 0x11)
    assert Partition.span(7, 7).size == 1


@pytest.mark.parametrize(
    ("partition", "count", "parts"),
    [
        (Partition(0, 256), 2, [(0, 128), (128, 256)]),
        (Partition(0, 10), 3, [(0, 4), (4, 8), (8, 10)]),
        (Partition(0, 10), 7, [(0, 2), (2, 4), (4, 6), (6, 8), (8, 10)]),  # fewer than asked for
        (Partition(3, 5), 16, [(3, 4), (4, 5)]),
        (Partition(5, 5), 4, []),
    ],
)
def test_splits(partition: Partition, count: int, parts: list[tuple[int, int]]) -> None:
    assert [(part.low, part.high) for part in partition.split(count)] == parts


def test_a_split_into_nothing_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="0 parts"):
        Partition(0, 1).split(0)


def test_the_rest_is_split_into_as_many_parts_as_its_ids_would_fill() -> None:
    # 8 ids in the first 64 of 256: 24 more are expected, 8 in each of 3 parts.
    parts = Partition(0, 256).split_after(63, seen=8, wanted=8, most=16)
    assert parts == (Partition(64, 128), Partition(128, 192), Partition(192, 256))
    assert len(Partition(0, 256).split_after(63, seen=8, wanted=8, most=2)) == 2


def test_nothing_follows_the_last_id() -> None:
    assert Partition(0, 256).split_after(255, seen=1, wanted=1, most=16) == ()


@pytest.mark.parametrize("key", [9, 20])
def test_a_key_outside_is_a_mistake(key: int) -> None:
    with pytest.raises(ValueError, match="is not in"):
        Partition(10, 20).split_after(key, seen=1, wanted=1, most=1)


def test_an_end_beyond_all_ids_is_open() -> None:
    assert Partition.universe(16).query_bounds() == (UUID(int=0), None)
    assert Partition(1, (1 << 128) - 1).query_bounds() == (UUID(int=1), UUID("f" * 32))
    assert Partition(0, 1 << 130).query_bounds() == (UUID(int=0), None)


def test_a_beginning_beyond_all_ids_has_no_bounds() -> None:
    with pytest.raises(ValueError, match="128"):
        Partition(1 << 128, 1 << 128).query_bounds()


@pytest.mark.parametrize(
    ("hole", "left"),
    [
        ((0, 10), [(10, 20)]),  # beside it
        ((20, 30), [(10, 20)]),
        ((0, 30), []),  # covers it
        ((10, 20), []),
        ((5, 15), [(15, 20)]),  # cuts the front
        ((15, 25), [(10, 15)]),  # cuts the back
        ((12, 14), [(10, 12), (14, 20)]),  # inside
        ((15, 15), [(10, 20)]),  # nothing
    ],
)
def test_exclusions(hole: tuple[int, int], left: list[tuple[int, int]]) -> None:
    assert [(part.low, part.high) for part in exclude([Partition(10, 20)], Partition(*hole))] == left


def test_excluding_from_nothing_leaves_nothing() -> None:
    assert exclude_all([Partition(3, 3)], []) == ()


def test_runs_skip_what_is_between_the_parts() -> None:
    parts = [Partition(0, 2), Partition(5, 7), Partition(7, 9), Partition(20, 30)]
    runs = list(runs_only_in(parts, [1, 2, 4, 5, 6, 7, 10], lambda key: key))
    assert runs == [[1], [5, 6], [7]]
