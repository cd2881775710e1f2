"""Schedules: text → when. All instants are aware UTC, to the whole second for absolute schedules."""

from __future__ import annotations

from ostinato.scheduling.schedule.cron import CronSchedule
from ostinato.scheduling.schedule.every import EverySchedule
from ostinato.scheduling.schedule.interval import IntervalSchedule
from ostinato.scheduling.schedule.parse_schedule import Schedule, parse_schedule
from ostinato.scheduling.schedule.schedule_error import ScheduleError
from ostinato.scheduling.schedule.triggered import TriggeredSchedule

__all__ = [
    "CronSchedule",
    "EverySchedule",
    "IntervalSchedule",
    "Schedule",
    "ScheduleError",
    "TriggeredSchedule",
    "parse_schedule",
]
