"""The task that a distributed sweep consists of, and what is asked of the queue that carries it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from ostinato.errors import InvalidArgument, Violation
from ostinato.pb.taskqueue.v1.sweep_pb2 import SweepTask
from ostinato.taskqueue.sweeping.partition import KEY_SPACE_BYTES, Partition, parse_partition
from ostinato.taskqueue.sweeping.scan import LAST_LEVEL, ScanRange
from ostinato.taskqueue.sweeping.sweep_options import SweepOptions


class SweepTaskQueue(Protocol):
    async def add(self, tasks: Sequence[SweepTask]) -> None:
        """Adds all it can, each to be handled once and not retried; then raises if some could not be added."""
        ...


def first_tasks(options: SweepOptions) -> list[SweepTask]:
    """What a sweep begins with: together all ids."""
    shards = Partition.universe(KEY_SPACE_BYTES).split(options.shards)
    return [
        SweepTask(
            partition=str(shard),
            lessor=options.lessor,
            lease_section=f"reminders_{index}_{len(shards)}",
            shard_index=index,
            shard_count=len(shards),
            key_space_bytes=KEY_SPACE_BYTES,
            tasks_per_scan=options.tasks_per_scan,
            secondary_scan_shards=options.secondary_scan_shards,
        )
        for index, shard in enumerate(shards)
    ]


def follow_up_tasks(task: SweepTask, partitions: Iterable[Partition]) -> list[SweepTask]:
    """Like `task`, one level deeper."""
    return [_follow_up(task, partition) for partition in partitions]


def _follow_up(task: SweepTask, partition: Partition) -> SweepTask:
    follow_up = SweepTask()
    follow_up.CopyFrom(task)
    follow_up.partition = str(partition)
    follow_up.level = task.level + 1
    return follow_up


def title_of(task: SweepTask) -> str:
    """For logs and URLs."""
    return f"l{task.level}_{task.shard_index}_{task.shard_count}"


def parse_range(task: SweepTask) -> ScanRange:
    """Raises InvalidArgument with all that is wrong."""
    violations = [
        Violation(name, rule)
        for name, rule, holds in (
            ("key_space_bytes", f"must be {KEY_SPACE_BYTES}", task.key_space_bytes == KEY_SPACE_BYTES),
            ("level", f"must be from 0 to {LAST_LEVEL}", 0 <= task.level <= LAST_LEVEL),
            ("tasks_per_scan", "must be at least 1", task.tasks_per_scan >= 1),
            ("secondary_scan_shards", "must be at least 1", task.secondary_scan_shards >= 1),
            ("lease_section", "must not be empty", bool(task.lease_section)),
        )
        if not holds
    ]
    try:
        partition = parse_partition(task.partition)
    except InvalidArgument as error:
        raise InvalidArgument([*error.violations, *violations]) from error
    if partition.high > Partition.universe(KEY_SPACE_BYTES).high:
        violations.append(Violation("partition", f"must lie within numbers of {KEY_SPACE_BYTES} bytes"))
    if violations:
        raise InvalidArgument(violations)
    return ScanRange(partition, task.level, task.tasks_per_scan, task.secondary_scan_shards)
