"""A forecast as people read it: the hours, then the minutes in which starts crowd and what would spread them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import click

from ostinato.cli.formatting import format_time, short_name, time_of
from ostinato.cli.tables import Column, note, print_table
from ostinato.pb.scheduler.v1.jobs_pb2 import ForecastStartsResponse

_HOURS = (
    Column("HOUR"),
    Column("STARTS", right=True),
    Column("BUSIEST MINUTE"),
    Column("STARTS IN IT", right=True),
)
_HOT = (
    Column("HOT MINUTE"),
    Column("STARTS", right=True),
    Column("USUAL", right=True),
    Column("JOB", shrinks_to=20),
    Column("SCHEDULE", shrinks_to=12),
    Column("BETTER"),
)


def print_forecast(answer: ForecastStartsResponse) -> None:
    if answer.minutes:
        print_table(_HOURS, list(_hours(answer)))
    else:
        note("No start comes.")
    if answer.hot_minutes:
        click.echo()
        print_table(_HOT, [row for minute in answer.hot_minutes for row in _hot(minute)])
    if answer.relative_jobs:
        note(f"Not counted: {answer.relative_jobs} jobs that start so long after their last run.")


def _hours(answer: ForecastStartsResponse) -> Iterator[list[str]]:
    by_hour: dict[datetime, list[ForecastStartsResponse.Minute]] = {}
    for minute in answer.minutes:
        at = minute.time.ToDatetime(tzinfo=UTC)
        by_hour.setdefault(at - timedelta(minutes=at.minute), []).append(minute)
    for hour, minutes in by_hour.items():
        busiest = max(minutes, key=lambda minute: minute.starts)  # the first of them
        starts = sum(minute.starts for minute in minutes)
        yield [format_time(hour), str(starts), time_of(busiest, "time"), str(busiest.starts)]


def _hot(minute: ForecastStartsResponse.HotMinute) -> Iterator[list[str]]:
    """A line per job; what is the same is said once."""
    head = [time_of(minute, "time"), str(minute.starts), f"{minute.usual_starts:.1f}"]
    jobs = [[short_name(job.job), job.schedule, job.suggested_schedule] for job in minute.jobs] or [["", "", ""]]
    for number, job in enumerate(jobs):
        yield [*(["", "", ""] if number else head), *job]
