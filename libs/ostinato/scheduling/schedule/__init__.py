"""Schedules: text → when. All instants are aware UTC, to the whole second for absolute schedules."""

from __future__ import annotations

from ostinato.scheduling.schedule.at import AtSchedule
from ostinato.scheduling.schedule.cron import CronSchedule, FoldPolicy, GapPolicy
from ostinato.scheduling.schedule.every import EverySchedule
from ostinato.scheduling.schedule.interval import IntervalSchedule
from ostinato.scheduling.schedule.parse_schedule import CronTerms, Schedule, parse_schedule
from ostinato.scheduling.schedule.schedule_error import ScheduleError
from ostinato.scheduling.schedule.schedule_terms import Blackout, CatchUp, CatchUpPolicy, ScheduleTerms
from ostinato.scheduling.schedule.timetable import Timetable
from ostinato.scheduling.schedule.triggered import TriggeredSchedule
from ostinato.scheduling.schedule.zone import UTC_ZONE, Zone

__all__ = [
    "UTC_ZONE",
    "AtSchedule",
    "Blackout",
    "CatchUp",
    "CatchUpPolicy",
    "CronSchedule",
    "CronTerms",
    "EverySchedule",
    "FoldPolicy",
    "GapPolicy",
    "IntervalSchedule",
    "Schedule",
    "ScheduleError",
    "ScheduleTerms",
    "Timetable",
    "TriggeredSchedule",
    "Zone",
    "parse_schedule",
]
