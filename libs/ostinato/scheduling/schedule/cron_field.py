"""One field of a cron expression: text → set of values as a bit mask, and rules for days where the field is one.

    field = `*` | `?` (day fields) | item { "," item }
    item  = value | value "-" value | (`*` | value | value "-" value) "/" step | hash [ "/" step ] | day operator
    hash  = `H` [ "(" value "-" value ")" ]

`a/n` runs from a to the field's maximum. Only a field that is exactly `*` (or `?`) is unrestricted. `H` is a value
that follows from the name of the job; with a step it is where the steps begin.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from ostinato.scheduling.schedule.hashed_choice import hashed_choice
from ostinato.scheduling.schedule.month_shape import DayRule
from ostinato.scheduling.schedule.schedule_error import ScheduleError

_NUMBER = re.compile(r"[0-9]+")
_HASH = re.compile(r"H(?:\(([^()]*)\))?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class FieldRule:
    """`highest_value` may be written, `high` is where steps end; they differ for the weekday only (7 is Sunday).

    `index` is the place among all seven fields. `H` is at most `high_hash`; 0: the field has no `H`.
    """

    name: str
    index: int
    low: int
    high: int
    highest_value: int
    high_hash: int
    names: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    read_days: Callable[[FieldText, str, int], DayRule | None] | None = None

    @property
    def width(self) -> int:
        return self.high - self.low + 1

    @property
    def full_mask(self) -> int:
        return (1 << self.width) - 1

    def mask_of(self, values: range) -> int:
        """Bit 0 is `low`."""
        mask = 0
        for value in values:
            mask |= 1 << (value - self.low) % self.width
        return mask

    @property
    def expectation(self) -> str:
        numbers = f"{self.low}-{self.highest_value}"
        return (
            f"expected {numbers} or a name such as {next(iter(self.names)).upper()}"
            if self.names
            else f"expected {numbers}"
        )


@dataclass(frozen=True, slots=True)
class FieldText:
    """A field as written, and where: `number` and `column` are 1-based. `job_name` is what `H` hashes."""

    rule: FieldRule
    text: str
    number: int
    column: int
    job_name: str | None = None

    def error(self, offset: int, message: str) -> ScheduleError:
        column = self.column + offset
        return ScheduleError(f"{self.rule.name} (field {self.number}, column {column}): {message}", position=column)


@dataclass(frozen=True, slots=True)
class ParsedField:
    """Bit 0 of `mask` is the rule's `low`. `day_rules` add days to it, month by month."""

    mask: int
    is_restricted: bool
    day_rules: tuple[DayRule, ...] = ()


def parse_field(source: FieldText) -> ParsedField:
    rule = source.rule
    if source.text == "*" or (source.text == "?" and rule.read_days is not None):
        return ParsedField(rule.full_mask, is_restricted=False)
    mask, offset = 0, 0
    day_rules: list[DayRule] = []
    for item in source.text.split(","):
        day_rule = rule.read_days(source, item, offset) if rule.read_days is not None else None
        if day_rule is None:
            mask |= rule.mask_of(_parse_item(source, item, offset))
        else:
            day_rules.append(day_rule)
        offset += len(item) + 1
    return ParsedField(mask, is_restricted=True, day_rules=tuple(day_rules))


def _parse_item(source: FieldText, item: str, offset: int) -> range:
    base, slash, step_text = item.partition("/")
    if not item:
        raise source.error(offset, f"empty list item, {source.rule.expectation}")
    if base == "*" and not slash:
        raise source.error(offset, "* stands alone, not in a list")
    step = _parse_step(source, step_text, offset + len(base) + 1) if slash else 1
    if base == "*":
        return range(source.rule.low, source.rule.high + 1, step)
    if hashed := _HASH.fullmatch(base):
        low, high = _hash_range(source, hashed[1], offset)
        choices = step if slash else high - low + 1
        if step > high - low + 1:
            raise source.error(offset + len(base) + 1, f"expected a step of 1-{high - low + 1}, not {step}")
        first = low + _pick(source, choices, offset)
        return range(first, high + 1, step) if slash else range(first, first + 1)
    first_text, dash, last_text = base.partition("-")
    low = parse_value(source, first_text, offset)
    if dash:
        return range(low, _parse_range_end(source, low, last_text, offset + len(first_text) + 1) + 1, step)
    return range(_wrapped(source.rule, low), source.rule.high + 1, step) if slash else range(low, low + 1)


def _hash_range(source: FieldText, text: str | None, offset: int) -> tuple[int, int]:
    rule = source.rule
    if not rule.high_hash:
        raise source.error(offset, f"H is not for the {rule.name}, {rule.expectation}")
    if text is None:
        return rule.low, rule.high_hash
    first_text, dash, last_text = text.partition("-")
    if not dash:
        raise source.error(offset, f"expected H, H/n, H(a-b) or H(a-b)/n, not 'H({text})'")
    low = parse_value(source, first_text, offset + 2)
    return low, _parse_range_end(source, low, last_text, offset + 2 + len(first_text) + 1)


def _pick(source: FieldText, choices: int, offset: int) -> int:
    if source.job_name is None:
        raise source.error(offset, "H follows from the name of a job, and there is none")
    return hashed_choice(f"{source.job_name}\n{source.rule.index}", choices)


def _parse_range_end(source: FieldText, low: int, text: str, offset: int) -> int:
    high = parse_value(source, text, offset)
    if high < low:
        hint = "; write 7 for a Sunday that ends a range" if source.rule.highest_value == 7 and high == 0 else ""
        raise source.error(offset, f"the range runs backwards, expected at least {low}{hint}")
    return high


def _parse_step(source: FieldText, text: str, offset: int) -> int:
    if not _NUMBER.fullmatch(text) or not 1 <= int(text) <= source.rule.width:
        raise source.error(offset, f"expected a step of 1-{source.rule.width}, not {text!r}")
    return int(text)


def parse_value(source: FieldText, text: str, offset: int) -> int:
    """A number or a name. Raises ScheduleError."""
    rule = source.rule
    value = int(text) if _NUMBER.fullmatch(text) else rule.names.get(text.lower())
    if value is None:
        raise source.error(offset, f"{text!r} is not understood, {rule.expectation}")
    if not rule.low <= value <= rule.highest_value:
        raise source.error(offset, f"{text} is out of range, {rule.expectation}")
    return value


def is_value(rule: FieldRule, text: str) -> bool:
    """Whether it reads like one, allowed or not."""
    return _NUMBER.fullmatch(text) is not None or text.lower() in rule.names


def _wrapped(rule: FieldRule, value: int) -> int:
    """7 is Sunday: where steps begin it is 0."""
    return rule.low if value > rule.high else value
