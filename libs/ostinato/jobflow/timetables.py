"""Timetables of stored jobs, made once: expression, terms and time zone together."""

from __future__ import annotations

from functools import lru_cache

from google.protobuf.message import DecodeError

from ostinato.jobstore.schedule_terms_codec import decode_terms
from ostinato.scheduling.schedule import CatchUpPolicy, ScheduleError, ScheduleTerms, Timetable
from ostinato.scheduling.schedule.parse_schedule import has_hash
from ostinato.zones import UnknownZoneError, load_zone


def cached_timetable(text: str, terms: bytes = b"", job_name: str = "") -> Timetable:
    """They were valid when they were stored. Raises ScheduleError for what another release or `tzdata` understood.

    Jobs share it where their names make no difference, which is without `H` and jitter.
    """
    named = has_hash(text) or (terms and _terms(text, terms).jitter)
    return _remembered(text, terms, job_name if named else None)


def find_timetable(text: str, terms: bytes, job_name: str) -> Timetable | None:
    """None if another release stored it, and nobody here understands it."""
    try:
        return cached_timetable(text, terms, job_name)
    except ScheduleError:
        return None


def makes_up(text: str, terms: bytes, job_name: str) -> bool:
    """Whether such a job makes up for slots that it missed. What nobody here understands does not."""
    timetable = find_timetable(text, terms, job_name)
    return timetable is not None and timetable.terms.catch_up.policy is not CatchUpPolicy.SKIP


def make_timetable(text: str, terms: ScheduleTerms, job_name: str | None) -> Timetable:
    """Raises ScheduleError, and UnknownZoneError."""
    return Timetable.make(text, terms, zone=load_zone(terms.time_zone), job_name=job_name)


@lru_cache(maxsize=8192)
def _remembered(text: str, terms: bytes, job_name: str | None) -> Timetable:
    try:
        return make_timetable(text, _terms(text, terms), job_name)
    except UnknownZoneError as error:
        raise ScheduleError(f"the time zone of `{text}` {error}") from error


def _terms(text: str, terms: bytes) -> ScheduleTerms:
    try:
        return decode_terms(terms)
    except (DecodeError, ValueError, OverflowError) as error:
        raise ScheduleError(f"what belongs to `{text}` can't be read: {error}") from error
