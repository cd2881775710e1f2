"""Reads one range of reminders. A failure is counted, logged and part of the result."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from ostinato.clock import Clock
from ostinato.errors import OstinatoError
from ostinato.storage.database import Database
from ostinato.taskqueue.reminders.reminder_store import ScannedReminder, scan_reminders
from ostinato.taskqueue.sweeping.scan import ScanRange, ScanResult, ScanStatus, conclude_scan
from ostinato.taskqueue.sweeping.sweep_stats import ScanKey, SweepStats

_log = logging.getLogger(__name__)
SCAN_SECONDS = 60.0


async def scan_range(
    db: Database, scanned: ScanRange, clock: Clock, stats: SweepStats, *, seconds: float = SCAN_SECONDS
) -> ScanResult:
    """Raises nothing but CancelledError."""
    if not scanned.partition.size:
        return ScanResult(ScanStatus.OK, (), ())
    began = clock.monotonic()
    found, failure = await _read(db, scanned, seconds)
    result = conclude_scan(scanned, found, failure)
    _count(stats, ScanKey(result.status, scanned.level), found, clock.monotonic() - began)
    if result.given_up:
        stats.given_up += len(result.given_up)
        _log.error(
            "too many reminders for one sweep: %d ranges after %s are left to the next one",
            len(result.given_up),
            result.given_up[0],
        )
    return result


async def _read(db: Database, scanned: ScanRange, seconds: float) -> tuple[list[ScannedReminder], ScanStatus | None]:
    low, high = scanned.partition.query_bounds()
    try:
        async with asyncio.timeout(seconds):
            return await scan_reminders(db, low, high, scanned.tasks_per_scan), None
    except TimeoutError:
        _log.warning("reading the reminders of %s took too long", scanned.partition)
        return [], ScanStatus.TIMEOUT
    except OstinatoError as error:
        _log.warning("the reminders of %s were not read, the next sweep will try: %s", scanned.partition, error)
        return [], ScanStatus.FAIL


def _count(stats: SweepStats, key: ScanKey, found: Sequence[ScannedReminder], took: float) -> None:
    stats.scans[key].add(took)
    stats.scanned[key] += len(found)
    staleness = stats.staleness[key.level]
    for reminder in found:
        staleness.add(reminder.stale_for.total_seconds())
