"""Text → schedule. Every refusal says where and what is expected.

triggered · continuously · with <duration> interval · every <duration> · at <instant> · cron, 5 to 7 fields
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import lru_cache
from typing import TypeAlias

from ostinato.scheduling.duration import GO_UNITS, DurationError, parse_nanoseconds
from ostinato.scheduling.schedule.at import AtSchedule
from ostinato.scheduling.schedule.cron import CronSchedule, FoldPolicy, GapPolicy
from ostinato.scheduling.schedule.cron_expression import looks_like_cron, parse_cron_expression
from ostinato.scheduling.schedule.every import EverySchedule
from ostinato.scheduling.schedule.instant import InstantError, parse_instant
from ostinato.scheduling.schedule.interval import IntervalSchedule
from ostinato.scheduling.schedule.schedule_error import ScheduleError
from ostinato.scheduling.schedule.triggered import TriggeredSchedule
from ostinato.scheduling.schedule.word import Word, split_words
from ostinato.scheduling.schedule.zone import UTC_ZONE, Zone

Schedule: TypeAlias = AtSchedule | CronSchedule | EverySchedule | IntervalSchedule | TriggeredSchedule

MAX_TEXT = 2_000
MAX_PERIOD = timedelta(days=366)

_EVERY_UNITS = ("s", "m", "h", "d", "w")
_SECOND = 1_000_000_000
_MAYBE_HASHED = re.compile(r"(?:^|[ \t,])H(?:$|[ \t,/(])", re.IGNORECASE)
_FORMS = (
    "expected `triggered`, `continuously`, `with <duration> interval`, `every <duration>`, `at <instant>`"
    " or a cron expression of 5 to 7 fields"
)


@dataclass(frozen=True, slots=True)
class CronTerms:
    """What a cron expression means beyond its text. `job_name` is what `H` hashes; without it `H` is refused."""

    zone: Zone = UTC_ZONE
    gap_policy: GapPolicy = GapPolicy.SHIFT
    fold_policy: FoldPolicy = FoldPolicy.FIRST
    job_name: str | None = None


IN_UTC = CronTerms()


def parse_schedule(text: str, terms: CronTerms = IN_UTC) -> Schedule:
    """Raises ScheduleError. Values are immutable and remembered, so asking again for the same text costs nothing."""
    return _parse(text, terms if has_hash(text) else replace(terms, job_name=None))


def has_hash(text: str) -> bool:
    """Whether there may be an `H` in it, so that it means something else for each job."""
    return _MAYBE_HASHED.search(text) is not None


@lru_cache(maxsize=8192)
def _parse(text: str, terms: CronTerms) -> Schedule:
    if len(text) > MAX_TEXT:
        raise ScheduleError(f"is longer than {MAX_TEXT} characters")
    words = split_words(text)
    match [word.text for word in words]:
        case []:
            raise ScheduleError(f"is empty; {_FORMS}")
        case ["triggered"]:
            return TriggeredSchedule(text)
        case ["continuously"]:
            return IntervalSchedule(text, timedelta(0))
        case ["with", *_]:
            return _parse_interval(text, words)
        case ["every", *_]:
            return _parse_every(text, words)
        case ["at", *_]:
            return _parse_at(text, words)
        case _:
            return _parse_cron(text, words, terms)


def _parse_interval(text: str, words: list[Word]) -> IntervalSchedule:
    if len(words) != 3 or words[2].text != "interval":
        raise _at(
            words[min(2, len(words) - 1)], "expected exactly `with <duration> interval`, such as `with 10m interval`"
        )
    nanoseconds = _parse_duration(words[1], GO_UNITS)
    if nanoseconds < 0:
        raise _at(words[1], "the interval must not be negative")
    return IntervalSchedule(text, timedelta(microseconds=nanoseconds // 1_000))


def _parse_every(text: str, words: list[Word]) -> EverySchedule:
    if len(words) != 2:
        raise _at(words[min(2, len(words) - 1)], "expected exactly `every <duration>`, such as `every 15m`")
    seconds, rest = divmod(_parse_duration(words[1], _EVERY_UNITS), _SECOND)
    if rest or seconds < 1:
        raise _at(words[1], "the period must be whole seconds, at least 1s")
    if seconds > MAX_PERIOD.total_seconds():
        raise _at(words[1], "the period must be at most 366d")
    return EverySchedule(text, timedelta(seconds=seconds))


def _parse_at(text: str, words: list[Word]) -> AtSchedule:
    if len(words) != 2:
        raise _at(words[min(2, len(words) - 1)], "expected exactly `at <instant>`, such as `at 2026-12-01T09:00:00Z`")
    try:
        return AtSchedule(text, parse_instant(words[1].text))
    except InstantError as error:
        raise _at(words[1], str(error)) from error


def _parse_cron(text: str, words: list[Word], terms: CronTerms) -> CronSchedule:
    if not looks_like_cron(words):
        raise _at(words[0], f"{_FORMS}, not {text.strip()!r}")
    expression = parse_cron_expression(words, terms.job_name)
    return CronSchedule.compile(text, expression, terms.zone, terms.gap_policy, terms.fold_policy)


def _parse_duration(word: Word, units: tuple[str, ...]) -> int:
    try:
        return parse_nanoseconds(word.text, units)
    except DurationError as error:
        column = word.column + error.position
        raise ScheduleError(f"column {column}: {error}", position=column) from error


def _at(word: Word, message: str) -> ScheduleError:
    return ScheduleError(f"column {word.column}: {message}", position=word.column)
