"""What a look-up of the next slot takes, without any process: it is done for each tick, in sets of hundreds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from timeit import timeit

from benchmarks.comparison import Comparison, at_most
from benchmarks.laboratory import Laboratory
from benchmarks.results import Sample, Series
from benchmarks.sizes import Sizes
from ostinato.scheduling.schedule import CronTerms, Schedule, parse_schedule
from ostinato.zones import load_zone

_START = datetime(2026, 1, 1, tzinfo=UTC)
_INSTANTS = [_START + timedelta(seconds=Random(7).randrange(10 * 365 * 86_400)) for _ in range(500)]
_EXPRESSIONS = (
    ("0 3 * * *", "UTC"),
    ("*/5 9-17 * * MON-FRI", "Europe/Rome"),
    ("0 0 LW * FRI#2", "America/New_York"),
    ("0 0 29 2 *", "Australia/Lord_Howe"),
    ("0 0 30 2 *", "Europe/Rome"),
)


async def find_next_slots(_: Laboratory, sizes: Sizes) -> list[Comparison]:
    return [_line(expression, zone, sizes) for expression, zone in _EXPRESSIONS]


def _line(expression: str, zone: str, sizes: Sizes) -> Comparison:
    schedule = parse_schedule(expression, CronTerms(load_zone(zone)))
    samples = tuple(Sample(_microseconds(schedule)) for _ in range(sizes.repetitions))
    return Comparison(f"next slot of `{expression}` in {zone}", "µs", Series(samples), goal=at_most(100, "µs"))


def _microseconds(schedule: Schedule) -> float:
    seconds = timeit(lambda: [schedule.next_after(instant) for instant in _INSTANTS], number=2)
    return seconds / 2 / len(_INSTANTS) * 1e6
