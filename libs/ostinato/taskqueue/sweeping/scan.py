"""What a scan of one range of reminders means: which of them are to be submitted, and where to look on. Pure.

Every id of the range is in what was read, in exactly one range to follow up, or in one that is given up until the next
sweep.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from ostinato.taskqueue.sweeping.partition import Partition

LAST_LEVEL = 2  # what is left over there waits for the next sweep


class ScanStatus(StrEnum):
    """How reading a range ended."""

    OK = "OK"
    LIMIT = "limit"  # there may be more
    TIMEOUT = "timeout"  # there may be more: the rest is looked through in smaller ranges
    FAIL = "fail"  # the next sweep tries


class Scanned(Protocol):
    @property
    def id(self) -> UUID: ...
    @property
    def is_due(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class ScanRange:
    """`level` 0 is what a sweep begins with; what a scan leaves over is one higher."""

    partition: Partition
    level: int = 0
    tasks_per_scan: int = 2048
    secondary_scan_shards: int = 16


@dataclass(frozen=True, slots=True)
class ScanResult:
    """`due` is in the order of ids. `given_up` would be one level too deep."""

    status: ScanStatus
    due: tuple[UUID, ...]
    follow_ups: tuple[Partition, ...]
    given_up: tuple[Partition, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Nothing of the range is left to the next sweep."""
        return self.status in (ScanStatus.OK, ScanStatus.LIMIT) and not self.given_up


def conclude_scan(scanned: ScanRange, found: Sequence[Scanned], failure: ScanStatus | None = None) -> ScanResult:
    """`found`: all reminders that were read, in the order of ids, fresh ones too; `failure` if not all were read."""
    status = _status_of(scanned, found, failure)
    due = tuple(reminder.id for reminder in found if reminder.is_due)
    if status not in (ScanStatus.LIMIT, ScanStatus.TIMEOUT):
        return ScanResult(status, due, ())
    rest = _rest_of(scanned, found)
    if scanned.level >= LAST_LEVEL:
        return ScanResult(status, due, (), given_up=rest)
    return ScanResult(status, due, rest)


def _status_of(scanned: ScanRange, found: Sequence[Scanned], failure: ScanStatus | None) -> ScanStatus:
    if len(found) >= scanned.tasks_per_scan:
        return ScanStatus.LIMIT
    return failure or ScanStatus.OK


def _rest_of(scanned: ScanRange, found: Sequence[Scanned]) -> tuple[Partition, ...]:
    """Fresh reminders count: they are read like the others."""
    if not found:
        return scanned.partition.split(scanned.secondary_scan_shards)
    return scanned.partition.split_after(
        found[-1].id.int, seen=len(found), wanted=scanned.tasks_per_scan, most=scanned.secondary_scan_shards
    )
