"""A cron expression: words → seven sets. Which field stands where depends on how many there are.

5 fields are minute to weekday; the 6th is the YEAR; with 7 the first is the second (gorhill/cronexpr).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ostinato.scheduling.schedule.cron_day_rules import read_day_rule, read_weekday_rule
from ostinato.scheduling.schedule.cron_field import FieldRule, FieldText, ParsedField, parse_field
from ostinato.scheduling.schedule.schedule_error import ScheduleError
from ostinato.scheduling.schedule.word import Word, split_words

FIRST_YEAR, LAST_YEAR = 1970, 2099


def _names(first: int, *names: str) -> Mapping[str, int]:
    """Three letters or the whole name."""
    numbered = list(enumerate(names, first))
    return MappingProxyType({name[:3]: n for n, name in numbered} | {name: n for n, name in numbered})


SECOND = FieldRule("second", 0, 0, 59, 59, high_hash=59)
MINUTE = FieldRule("minute", 1, 0, 59, 59, high_hash=59)
HOUR = FieldRule("hour", 2, 0, 23, 23, high_hash=23)
# Every month has a 28th (Jenkins).
DAY = FieldRule("day of month", 3, 1, 31, 31, high_hash=28, read_days=read_day_rule)
MONTH = FieldRule(
    "month",
    4,
    1,
    12,
    12,
    high_hash=12,
    names=_names(
        1,
        *("january", "february", "march", "april", "may", "june"),
        *("july", "august", "september", "october", "november", "december"),
    ),
)
WEEKDAY = FieldRule(
    "day of week",
    5,
    0,
    6,
    7,
    high_hash=6,
    names=_names(0, "sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"),
    read_days=read_weekday_rule,
)
YEAR = FieldRule("year", 6, FIRST_YEAR, LAST_YEAR, LAST_YEAR, high_hash=0)

_RULES = (SECOND, MINUTE, HOUR, DAY, MONTH, WEEKDAY, YEAR)
ALIASES = MappingProxyType(
    {
        "@yearly": "0 0 1 1 *",
        "@annually": "0 0 1 1 *",
        "@monthly": "0 0 1 * *",
        "@weekly": "0 0 * * 0",
        "@daily": "0 0 * * *",
        "@hourly": "0 * * * *",
        "@minutely": "* * * * *",
    }
)
# What 5 and 6 fields leave out.
_AT_SECOND_ZERO = ParsedField(SECOND.mask_of(range(1)), is_restricted=True)
_ANY_YEAR = ParsedField(YEAR.full_mask, is_restricted=False)
_LAYOUT = "[second] minute hour day-of-month month day-of-week [year]"
_LIKE_CRON = re.compile(r"[0-9*?@]|H([/(]|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class CronExpression:
    """Each field's bit 0 is the lowest value that may be written in it (month: 1, year: 1970, Sunday: 0)."""

    second: ParsedField
    minute: ParsedField
    hour: ParsedField
    day: ParsedField
    month: ParsedField
    weekday: ParsedField
    year: ParsedField


def looks_like_cron(words: list[Word]) -> bool:
    """Whether to explain a refusal field by field."""
    return len(words) >= 5 or any(_LIKE_CRON.match(word.text) for word in words)


def parse_cron_expression(words: list[Word], job_name: str | None) -> CronExpression:
    """`job_name` is what `H` hashes. Raises ScheduleError."""
    if words[0].text.startswith("@"):
        words = _expand_alias(words)
    if not 5 <= len(words) <= 7:
        raise _wrong_number_of_fields(words)
    rules = _RULES if len(words) == 7 else _RULES[1:]
    fields = [
        parse_field(FieldText(rule, word.text, number, word.column, job_name))
        for number, (rule, word) in enumerate(zip(rules, words, strict=False), 1)
    ]
    if len(words) < 7:
        fields.insert(0, _AT_SECOND_ZERO)
    if len(words) == 5:
        fields.append(_ANY_YEAR)
    return CronExpression(*fields)


def _expand_alias(words: list[Word]) -> list[Word]:
    expansion = ALIASES.get(words[0].text.lower())
    if len(words) > 1 or expansion is None:
        raise ScheduleError(
            f"column {words[0].column}: expected one of {' '.join(ALIASES)} as the whole expression",
            position=words[0].column,
        )
    return split_words(expansion)


def _wrong_number_of_fields(words: list[Word]) -> ScheduleError:
    expected = f"a cron expression has 5, 6 or 7 fields: {_LAYOUT}"
    if len(words) > 7:
        column = words[7].column
        return ScheduleError(f"column {column}: nothing is expected after the 7th field; {expected}", position=column)
    column = words[-1].column + len(words[-1].text)
    missing = _RULES[len(words) + 1].name
    return ScheduleError(f"column {column}: field {len(words) + 1} ({missing}) is missing; {expected}", position=column)
