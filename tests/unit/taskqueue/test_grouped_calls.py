"""Concurrent single calls share set-based ones."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from ostinato.taskqueue.grouped_calls import GroupedCalls


async def test_what_arrives_during_a_call_goes_with_the_next() -> None:
    groups: list[list[int]] = []
    gate = asyncio.Event()

    async def run_many(items: Sequence[int]) -> Sequence[int]:
        groups.append(list(items))
        await gate.wait()
        return [item * 10 for item in items]

    grouped = GroupedCalls(run_many)
    first = asyncio.ensure_future(grouped(1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    rest = [asyncio.ensure_future(grouped(n)) for n in (2, 3, 4)]
    await asyncio.sleep(0)
    gate.set()
    assert await asyncio.gather(first, *rest) == [10, 20, 30, 40]
    assert groups == [[1], [2, 3, 4]]


async def test_an_item_gets_its_own_error_and_never_a_neighbours() -> None:
    async def run_many(items: Sequence[int]) -> Sequence[int]:
        if 13 in items:
            raise ValueError("unlucky")
        return list(items)

    grouped = GroupedCalls(run_many)
    results = await asyncio.gather(*(grouped(n) for n in (12, 13, 14)), return_exceptions=True)
    assert results[0] == 12
    assert results[2] == 14
    assert isinstance(results[1], ValueError)


async def test_groups_are_bounded() -> None:
    sizes: list[int] = []

    async def run_many(items: Sequence[int]) -> Sequence[int]:
        sizes.append(len(items))
        await asyncio.sleep(0)
        return list(items)

    grouped = GroupedCalls(run_many, max_group=4)
    assert await asyncio.gather(*(grouped(n) for n in range(10))) == list(range(10))
    assert max(sizes) == 4


async def test_a_cancelled_caller_that_still_waits_leaves_the_others_alone() -> None:
    gate = asyncio.Event()

    async def run_many(items: Sequence[int]) -> Sequence[int]:
        await gate.wait()
        return list(items)

    grouped = GroupedCalls(run_many)
    first = asyncio.ensure_future(grouped(1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    second, third = asyncio.ensure_future(grouped(2)), asyncio.ensure_future(grouped(3))
    await asyncio.sleep(0)
    second.cancel()
    gate.set()
    assert await first == 1
    assert await third == 3
    with pytest.raises(asyncio.CancelledError):
        await second


async def test_a_caller_that_calls_again_at_once_is_not_forgotten() -> None:
    async def run_many(items: Sequence[int]) -> Sequence[int]:
        await asyncio.sleep(0)
        return list(items)

    grouped = GroupedCalls(run_many)
    async with asyncio.timeout(5):
        assert [await grouped(n) for n in range(20)] == list(range(20))


async def test_a_failed_group_is_not_repeated_for_callers_that_left() -> None:
    """After a lost lease hundreds of them held up those who still waited, one statement after the other."""
    calls: list[Sequence[int]] = []
    failed = asyncio.Event()

    async def run_many(items: Sequence[int]) -> Sequence[int]:
        calls.append(items)
        if len(items) > 1:
            raise ValueError("one of them is bad")
        failed.set()
        await asyncio.sleep(0)
        return list(items)

    grouped = GroupedCalls(run_many)
    first, second, third = (asyncio.ensure_future(grouped(n)) for n in (1, 2, 3))
    await failed.wait()
    second.cancel()
    assert await asyncio.gather(first, third) == [1, 3]
    assert [list(call) for call in calls] == [[1, 2, 3], [1], [3]]
