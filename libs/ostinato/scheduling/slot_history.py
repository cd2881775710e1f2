"""What is stored of a job's slots: the schedules that were in force, and what the ledger has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from ostinato.scheduling.occurrence import OccurrenceOutcome
from ostinato.scheduling.schedule import Timetable

# All slots lie behind it.
DISTANT_PAST = datetime(1, 1, 2, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class InForce:
    """A schedule from `from_at` on, until the next one. `timetable` is None if nobody here can read it."""

    from_at: datetime
    schedule: str
    timetable: Timetable | None
    paused: bool = False
    enabled: bool = True

    @property
    def has_ledger(self) -> bool:
        return self.enabled and self.timetable is not None and self.timetable.is_absolute

    @property
    def may_have_rows(self) -> bool:
        """What is recorded of its time can't be called wrong."""
        return self.paused or self.timetable is None


@dataclass(frozen=True, slots=True)
class Recorded:
    """A row of the ledger: of `slot`, or of all in [slot, until_slot). `run` is what was started, as one types it.

    Of a pending trigger `outcome` is None.
    """

    slot: datetime
    outcome: OccurrenceOutcome | None
    decided_at: datetime | None = None
    until_slot: datetime | None = None
    run: str = ""


@dataclass(frozen=True, slots=True)
class SlotHistory:
    """`spans` oldest first. `rows` in order: those that begin in the window or reach into it; `pending` likewise.

    `planned_slot`: the next that needs an outcome, None if none comes.
    """

    spans: Sequence[InForce]
    rows: Sequence[Recorded]
    pending: Sequence[datetime] = ()
    planned_slot: datetime | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """Slots in [start, end]; `end` is not after `now`, `start` not before DISTANT_PAST."""

    start: datetime
    end: datetime
    now: datetime
