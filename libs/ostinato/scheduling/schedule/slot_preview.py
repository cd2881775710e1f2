"""Coming slots for people to look at, with notes on what the clock or a blackout does to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from ostinato.scheduling.occurrence import OccurrenceOutcome
from ostinato.scheduling.schedule.cron import CronSchedule
from ostinato.scheduling.schedule.timetable import PassedOver, Timetable

_INSTANT = timedelta(microseconds=1)
_LAST = datetime.max.replace(tzinfo=UTC) - _INSTANT
# Blackouts may go on for ever; nobody reads more.
_MOST_NOTES = 1_000


class NoteKind(StrEnum):
    """Names as in the api."""

    GAP_SHIFTED = "GAP_SHIFTED"
    GAP_SKIPPED = "GAP_SKIPPED"
    FOLD_FIRST = "FOLD_FIRST"
    FOLD_LAST = "FOLD_LAST"
    BLACKOUT = "BLACKOUT"


@dataclass(frozen=True, slots=True)
class SlotNote:
    """`until`: of a blackout, the end of what starts nothing."""

    at: datetime
    kind: NoteKind
    text: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class SlotPreview:
    slots: Sequence[datetime]
    notes: Sequence[SlotNote]


def preview_slots(timetable: Timetable, after: datetime, end: datetime | None, limit: int) -> SlotPreview:
    """Slots that start something, strictly after `after` and not after `end`; notes up to the last of them.

    Of a relative schedule only the next start can be foretold.
    """
    if not timetable.is_absolute:
        slot = timetable.next_after(after)
        return SlotPreview([slot] if slot is not None and (end is None or slot <= end) else [], [])
    slots: list[datetime] = []
    slot = timetable.start_after(after)
    while slot is not None and (end is None or slot <= end) and len(slots) < limit:
        slots.append(slot)
        slot = timetable.start_after(slot)
    until = slots[-1] if len(slots) == limit else end
    return SlotPreview(slots, sorted(_notes(timetable, slots, after, until), key=lambda note: note.at)[:_MOST_NOTES])


def _notes(
    timetable: Timetable, slots: Sequence[datetime], after: datetime, until: datetime | None
) -> Iterator[SlotNote]:
    zone = timetable.terms.time_zone
    if isinstance(timetable.schedule, CronSchedule):
        for slot in slots:
            if note := _clock_note(timetable.schedule, slot, zone):
                yield note
    last = CronSchedule.last_instant if until is None else until
    starts = [*slots, None]
    previous = after
    for start in starts:
        for passed in timetable.passed_over(min(previous, _LAST) + _INSTANT, last if start is None else start):
            yield _skip_note(passed, zone)
        if start is not None:
            previous = start


def _clock_note(schedule: CronSchedule, slot: datetime, zone: str) -> SlotNote | None:
    stretch = schedule.clock_at(slot)
    if stretch.is_after_gap:
        return SlotNote(slot, NoteKind.GAP_SHIFTED, f"moved: the clock of {zone} leaves out its time")
    twice = f"the clock of {zone} shows {stretch.wall:%H:%M:%S} twice, this is"
    if stretch.comes_again:
        return SlotNote(slot, NoteKind.FOLD_FIRST, f"{twice} the first")
    if stretch.came_before:
        return SlotNote(slot, NoteKind.FOLD_LAST, f"{twice} the second")
    return None


def _skip_note(passed: PassedOver, zone: str) -> SlotNote:
    if passed.outcome is OccurrenceOutcome.SKIPPED_DST_GAP:
        return SlotNote(passed.slot, NoteKind.GAP_SKIPPED, f"no slot: the clock of {zone} leaves out its time")
    return SlotNote(passed.slot, NoteKind.BLACKOUT, "no slot: in a blackout", passed.until_slot)
