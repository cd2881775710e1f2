"""When a job runs next by its schedule, or that it never does, as people are told."""

from __future__ import annotations

from datetime import datetime

from ostinato.jobflow.timetables import find_timetable
from ostinato.jobstore.job_listing_store import JobView
from ostinato.scheduling.slot_history import DISTANT_PAST


def never_matches(view: JobView) -> bool:
    """Its expression has no slot at all, whatever bounds and blackouts say."""
    timetable = find_timetable(view.schedule, view.terms, view.job.resource_name)
    return timetable is not None and timetable.is_absolute and timetable.schedule.next_after(DISTANT_PAST) is None


def next_run_time(view: JobView) -> datetime | None:
    """When its next slot is due; None also if all slots that are still to come lie in blackouts."""
    if view.due_at is None or view.slot is None or not view.terms:
        return view.due_at
    timetable = find_timetable(view.schedule, view.terms, view.job.resource_name)
    if timetable is None or not timetable.is_absolute:
        return view.due_at
    return view.due_at if timetable.start_from(view.slot) is not None else None
