"""Arguments that several commands take: names of projects, jobs and runs; instants and durations."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click

from ostinato.scheduling.duration import DurationError, parse_duration


class ResourceName(click.ParamType[str, str]):
    """A resource name, short (`shop/nightly`) or full. Only its shape is checked: which ids are valid, the api says."""

    def __init__(self, name: str, *collections: str) -> None:
        self.name = name
        self._collections = collections
        self._short_form = "/".join(collection.removesuffix("s") for collection in collections)

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        parts = value.split("/")
        if tuple(parts[::2]) == self._collections and len(parts) == 2 * len(self._collections):
            parts = parts[1::2]
        if len(parts) != len(self._collections) or not all(parts):
            self.fail(
                f"{value!r} must look like {self._short_form} or {self._full_name(self._examples())}.", param, ctx
            )
        return self._full_name(parts)

    def _full_name(self, parts: list[str]) -> str:
        return "/".join(f"{collection}/{part}" for collection, part in zip(self._collections, parts, strict=True))

    def _examples(self) -> list[str]:
        return [f"{{{part}}}" for part in self._short_form.split("/")]


class Instant(click.ParamType[datetime, str]):
    """An ISO 8601 date or time; UTC where it names no offset."""

    name = "TIME"

    def convert(self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            at = datetime.fromisoformat(value)
            return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        except (ValueError, OverflowError):  # the latter: in UTC it lies before the year 1 or after 9999
            self.fail(f"{value!r} is not a time such as 2026-11-20T12:00:00Z.", param, ctx)


class Duration(click.ParamType[timedelta, str]):
    """Such as `90s` or `1h30m`."""

    name = "DURATION"

    def convert(self, value: str | timedelta, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        try:
            return parse_duration(value)
        except DurationError as error:
            self.fail(f"{value!r}: {error}.", param, ctx)


PROJECT = ResourceName("PROJECT", "projects")
JOB = ResourceName("JOB", "projects", "jobs")
RUN = ResourceName("RUN", "projects", "jobs", "invocations")
INSTANT = Instant()
DURATION = Duration()
