"""Schedule terms between the stored form and what the scheduler thinks in.

They are fields of `JobConfig`; alone they are a `JobConfig` with nothing else, empty if they are the defaults, so that
equal terms have equal bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from ostinato.errors import Violation
from ostinato.pb.scheduler.v1 import jobs_pb2
from ostinato.pb.scheduler.v1.project_config_pb2 import JobConfig
from ostinato.scheduling.schedule import Blackout, CatchUp, CatchUpPolicy, FoldPolicy, GapPolicy, ScheduleTerms
from ostinato.scheduling.validate_schedule import check_blackout

_DEFAULT = ScheduleTerms()


def to_terms(config: JobConfig) -> ScheduleTerms:
    """Raises ValueError or OverflowError for an unknown number of an enum, and for times that Python can't hold."""
    return ScheduleTerms(
        time_zone=config.time_zone or _DEFAULT.time_zone,
        gap_policy=GapPolicy(config.gap_policy or _DEFAULT.gap_policy),
        fold_policy=FoldPolicy(config.fold_policy or _DEFAULT.fold_policy),
        offset=config.offset.ToTimedelta(),
        jitter=config.jitter.ToTimedelta(),
        start_after=_instant(config.start_after) if config.HasField("start_after") else None,
        end_before=_instant(config.end_before) if config.HasField("end_before") else None,
        blackouts=tuple(
            Blackout(_instant(blackout.start_time), _instant(blackout.end_time), blackout.calendar)
            for blackout in config.blackouts
        ),
        catch_up=_to_catch_up(config.catch_up),
    )


def set_terms(config: JobConfig, terms: ScheduleTerms) -> None:
    config.time_zone = terms.time_zone
    config.gap_policy = jobs_pb2.Job.GapPolicy.ValueType(terms.gap_policy)
    config.fold_policy = jobs_pb2.Job.FoldPolicy.ValueType(terms.fold_policy)
    _set_duration(config.offset, terms.offset)
    _set_duration(config.jitter, terms.jitter)
    if terms.start_after is not None:
        config.start_after.FromDatetime(terms.start_after)
    if terms.end_before is not None:
        config.end_before.FromDatetime(terms.end_before)
    config.blackouts.extend(blackout_message(blackout) for blackout in terms.blackouts)
    if terms.catch_up != _DEFAULT.catch_up:
        config.catch_up.CopyFrom(catch_up_message(terms.catch_up))


def blackout_message(blackout: Blackout) -> jobs_pb2.Blackout:
    message = jobs_pb2.Blackout(calendar=blackout.calendar)
    message.start_time.FromDatetime(blackout.start)
    message.end_time.FromDatetime(blackout.end)
    return message


def check_blackout_message(blackout: jobs_pb2.Blackout, path: str) -> Iterator[Violation]:
    if blackout.calendar:
        yield Violation(f"{path}.calendar", "is output only; a job names calendars in blackout_calendars")
    missing = [name for name in ("start_time", "end_time") if not blackout.HasField(name)]
    if missing:
        yield from (Violation(f"{path}.{name}", "is required") for name in missing)
    else:
        yield from check_blackout(Blackout(_instant(blackout.start_time), _instant(blackout.end_time)), path)


def catch_up_message(catch_up: CatchUp) -> jobs_pb2.CatchUp:
    message = jobs_pb2.CatchUp(policy=jobs_pb2.CatchUp.Policy.ValueType(catch_up.policy), limit=catch_up.limit)
    message.window.FromTimedelta(catch_up.window)
    return message


def _to_catch_up(message: jobs_pb2.CatchUp) -> CatchUp:
    default = _DEFAULT.catch_up
    return CatchUp(
        policy=CatchUpPolicy(message.policy or default.policy),
        window=message.window.ToTimedelta() if message.HasField("window") else default.window,
        limit=message.limit or default.limit,
    )


def encode_terms(terms: ScheduleTerms) -> bytes:
    if terms == _DEFAULT:
        return b""
    config = JobConfig()
    set_terms(config, terms)
    return config.SerializeToString(deterministic=True)


def terms_of(config: JobConfig) -> bytes:
    """The same of a stored definition, without understanding it."""
    terms = JobConfig(
        time_zone=config.time_zone,
        gap_policy=config.gap_policy,
        fold_policy=config.fold_policy,
        blackouts=config.blackouts,
    )
    for name in ("offset", "jitter", "start_after", "end_before", "catch_up"):
        if config.HasField(name):
            getattr(terms, name).CopyFrom(getattr(config, name))
    data = terms.SerializeToString(deterministic=True)
    return b"" if data == _default_bytes() else data


@cache
def _default_bytes() -> bytes:
    config = JobConfig()
    set_terms(config, _DEFAULT)
    return config.SerializeToString(deterministic=True)


@lru_cache(maxsize=4096)
def decode_terms(data: bytes) -> ScheduleTerms:
    """Raises DecodeError, and what `to_terms` raises."""
    return to_terms(JobConfig.FromString(data)) if data else _DEFAULT


def _instant(timestamp: Timestamp) -> datetime:
    return timestamp.ToDatetime(tzinfo=UTC)


def _set_duration(message: Duration, duration: timedelta) -> None:
    if duration:
        message.FromTimedelta(duration)
