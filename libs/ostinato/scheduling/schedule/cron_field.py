"""One field of a cron expression: text → set of values as a bit mask.

    field = `*` | `?` (day fields) | item { "," item }
    item  = value | value "-" value | (`*` | value | value "-" value) "/" step

`a/n` runs from a to the field's maximum. Only a field that is exactly `*` (or `?`) is unrestricted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from ostinato.scheduling.schedule.schedule_error import ScheduleError

_NUMBER = re.compile(r"[0-9]+")


@dataclass(frozen=True, slots=True)
class FieldRule:
    """`highest_value` may be written, `high` is where steps end; they differ for the weekday only (7 is Sunday)."""

    name: str
    low: int
    high: int
    highest_value: int
    names: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    allows_question_mark: bool = False

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
    """A field as written, and where: `number` and `column` are 1-based."""

    rule: FieldRule
    text: str
    number: int
    column: int

    def error(self, offset: int, message: str) -> ScheduleError:
        column = self.column + offset
        return ScheduleError(f"{self.rule.name} (field {self.number}, column {column}): {message}", position=column)


@dataclass(frozen=True, slots=True)
class ParsedField:
    """Bit 0 of `mask` is the rule's `low`."""

    mask: int
    is_restricted: bool


def parse_field(source: FieldText) -> ParsedField:
    rule = source.rule
    if source.text == "*" or (source.text == "?" and rule.allows_question_mark):
        return ParsedField(rule.full_mask, is_restricted=False)
    mask, offset = 0, 0
    for item in source.text.split(","):
        mask |= rule.mask_of(_parse_item(source, item, offset))
        offset += len(item) + 1
    return ParsedField(mask, is_restricted=True)


def _parse_item(source: FieldText, item: str, offset: int) -> range:
    base, slash, step_text = item.partition("/")
    if not item:
        raise source.error(offset, f"empty list item, {source.rule.expectation}")
    if base == "*" and not slash:
        raise source.error(offset, "* stands alone, not in a list")
    step = _parse_step(source, step_text, offset + len(base) + 1) if slash else 1
    if base == "*":
        return range(source.rule.low, source.rule.high + 1, step)
    first, dash, last = base.partition("-")
    low = _parse_value(source, first, offset)
    if dash:
        return range(low, _parse_range_end(source, low, last, offset + len(first) + 1) + 1, step)
    return range(_wrapped(source.rule, low), source.rule.high + 1, step) if slash else range(low, low + 1)


def _parse_range_end(source: FieldText, low: int, text: str, offset: int) -> int:
    high = _parse_value(source, text, offset)
    if high < low:
        hint = "; write 7 for a Sunday that ends a range" if source.rule.highest_value == 7 and high == 0 else ""
        raise source.error(offset, f"the range runs backwards, expected at least {low}{hint}")
    return high


def _parse_step(source: FieldText, text: str, offset: int) -> int:
    if not _NUMBER.fullmatch(text) or not 1 <= int(text) <= source.rule.width:
        raise source.error(offset, f"expected a step of 1-{source.rule.width}, not {text!r}")
    return int(text)


def _parse_value(source: FieldText, text: str, offset: int) -> int:
    rule = source.rule
    value = _read_value(rule, text)
    if value is None:
        operator = _unsupported_operator(rule, text)
        problem = f"{operator} is not supported" if operator else f"{text!r} is not understood"
        raise source.error(offset, f"{problem}, {rule.expectation}")
    if not rule.low <= value <= rule.highest_value:
        raise source.error(offset, f"{text} is out of range, {rule.expectation}")
    return value


def _read_value(rule: FieldRule, text: str) -> int | None:
    return int(text) if _NUMBER.fullmatch(text) else rule.names.get(text.lower())


def _unsupported_operator(rule: FieldRule, text: str) -> str | None:
    """Other dialects' `L`, `W`, `#` and `H`, which deserve a better answer than "not understood"."""
    lower = text.lower()
    if "#" in lower:
        return "#"
    if lower.startswith("h"):
        return "H"
    if lower in {"l", "lw", "wl"} or (lower.endswith("l") and _read_value(rule, lower[:-1]) is not None):
        return "L"
    if lower.endswith("w") and _NUMBER.fullmatch(lower[:-1]):
        return "W"
    return None


def _wrapped(rule: FieldRule, value: int) -> int:
    """7 is Sunday: where steps begin it is 0."""
    return rule.low if value > rule.high else value
