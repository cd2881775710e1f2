"""Job definitions between their stored form (`JobConfig` bytes) and what the scheduler thinks in (`JobDefinition`).

Reading fills in every default; writing is deterministic, so equal definitions have equal bytes. The short form
`triggers` is read into `downstream` and never written.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError

from ostinato.errors import InvalidArgument, Violation
from ostinato.jobstore.schedule_terms_codec import set_terms, to_terms
from ostinato.pb.scheduler.v1 import jobs_pb2
from ostinato.pb.scheduler.v1.project_config_pb2 import JobConfig
from ostinato.scheduling.deadline import RunTimeouts
from ostinato.scheduling.job_definition import (
    DEFAULT_PENDING_TIMEOUT,
    DEFAULT_REALM,
    DEFAULT_SCHEDULE,
    DEFAULT_TIMEOUT,
    Downstream,
    Intake,
    JobDefinition,
    Overflow,
    PolicyKind,
    RetryPolicy,
    TriggeringPolicy,
    TriggerOn,
)
from ostinato.scheduling.schedule import CatchUpPolicy, FoldPolicy, GapPolicy
from ostinato.scheduling.targets import HttpSpec, NoopSpec, TargetSpec
from ostinato.scheduling.targets.http import DEFAULT_METHOD
from ostinato.scheduling.targets.http import DEFAULT_TIMEOUT as DEFAULT_HTTP_TIMEOUT

_REMEMBERED_BYTES = 2048  # a larger one is decoded each time, so that few of them can't fill the memory
_POLICY_KINDS = {0: PolicyKind.GREEDY_BATCHING} | {kind.value: kind for kind in PolicyKind}
_OVERFLOWS = {0: Overflow.DROP_OLDEST} | {way.value: way for way in Overflow}
_GAP_POLICIES = {0, *(policy.value for policy in GapPolicy)}
_FOLD_POLICIES = {0, *(policy.value for policy in FoldPolicy)}
_CATCH_UP_POLICIES = {0, *(policy.value for policy in CatchUpPolicy)}
_TRIGGER_ON = {0: TriggerOn.SUCCESS} | {
    jobs_pb2.Downstream.TriggerOn.Value(condition.value): condition for condition in TriggerOn
}


def to_definition(config: JobConfig, path: str = "job") -> JobDefinition:
    """Raises InvalidArgument for what a definition can't express: no target, an unknown number of an enum."""
    if violations := _inexpressible(config, path):
        raise InvalidArgument(violations)
    return JobDefinition(
        id=config.id,
        display_name=config.display_name,
        labels=dict(config.labels),
        annotations=dict(config.annotations),
        owner=config.owner,
        realm=config.realm or DEFAULT_REALM,
        schedule=config.schedule or DEFAULT_SCHEDULE,
        terms=to_terms(config),
        start_deadline=_duration(config.start_deadline) if config.HasField("start_deadline") else None,
        policy=_policy(config.triggering_policy),
        target=_target(config),
        downstream=_downstream(config),
        timeout=_timeout(config),
        heartbeat_timeout=_heartbeat_timeout(config),
        retry=_retry(config.retry),
        intake=_intake(config),
    )


def from_definition(definition: JobDefinition) -> JobConfig:
    config = JobConfig(
        id=definition.id,
        display_name=definition.display_name,
        labels=definition.labels,
        annotations=definition.annotations,
        owner=definition.owner,
        realm=definition.realm,
        schedule=definition.schedule,
        triggering_policy=_policy_to_proto(definition.policy),
        downstream=[
            jobs_pb2.Downstream(job=entry.job, trigger_on=jobs_pb2.Downstream.TriggerOn.Value(entry.trigger_on.value))
            for entry in definition.downstream
        ],
        timeout=_to_proto(definition.timeout),
        retry=retry_to_proto(definition.retry),
        max_pending_triggers=definition.intake.max_pending,
        overflow=jobs_pb2.Job.Overflow.Value(definition.intake.overflow.name),
        min_triage_interval=_to_proto(definition.intake.min_interval),
    )
    set_terms(config, definition.terms)
    if definition.start_deadline is not None:
        config.start_deadline.CopyFrom(_to_proto(definition.start_deadline))
    if definition.heartbeat_timeout is not None:
        config.heartbeat_timeout.CopyFrom(_to_proto(definition.heartbeat_timeout))
    match definition.target:
        case NoopSpec() as noop:
            config.noop.CopyFrom(jobs_pb2.NoopTarget(sleep=_to_proto(noop.sleep), triggers_count=noop.triggers_count))
        case HttpSpec() as http:
            config.http.CopyFrom(_http_to_proto(http))
    return config


def decode_definition(data: bytes) -> JobDefinition:
    """From the stored form. Raises DecodeError or InvalidArgument for bytes that are not one."""
    return _remembered_definition(data) if len(data) <= _REMEMBERED_BYTES else _decode_definition(data)


def _decode_definition(data: bytes) -> JobDefinition:
    with _reading():
        return to_definition(JobConfig.FromString(data))


# A run asks three times within a second: its triage, its launch, its end.
_remembered_definition = lru_cache(maxsize=4096)(_decode_definition)


def encode_definition(definition: JobDefinition) -> bytes:
    return from_definition(definition).SerializeToString(deterministic=True)


@dataclass(frozen=True, slots=True)
class Aftermath:
    """What follows the end of a run."""

    downstream: tuple[Downstream, ...]
    retry: RetryPolicy


def decode_aftermath(data: bytes) -> Aftermath:
    """Only what follows a run's end of a stored definition. Raises DecodeError."""
    return _remembered_aftermath(data) if len(data) <= _REMEMBERED_BYTES else _decode_aftermath(data)


def _decode_aftermath(data: bytes) -> Aftermath:
    with _reading():
        config = JobConfig.FromString(data)
        return Aftermath(_downstream(config), _retry(config.retry))


_remembered_aftermath = lru_cache(maxsize=4096)(_decode_aftermath)


def decode_intake(data: bytes) -> Intake:
    """Only `JobDefinition.intake` of a stored definition. Raises DecodeError."""
    with _reading():
        return _intake(JobConfig.FromString(data))


def decode_timeouts(data: bytes) -> RunTimeouts:
    """Only `JobDefinition.timeouts` of a stored definition. Raises DecodeError."""
    with _reading():
        config = JobConfig.FromString(data)
        can_report = config.http.multistage
        return RunTimeouts(_timeout(config), _heartbeat_timeout(config) if can_report else None, can_report)


@contextmanager
def _reading() -> Iterator[None]:
    """A number of no enum and a duration that Python can't hold are as unreadable as bytes that are no message."""
    try:
        yield
    except (KeyError, ValueError, OverflowError) as error:
        raise DecodeError(f"{type(error).__name__}: {error}") from error


def _inexpressible(config: JobConfig, path: str) -> list[Violation]:
    violations = []
    if config.WhichOneof("target") is None:
        violations.append(Violation(path, "must have one target: noop or http"))
    if config.triggering_policy.kind not in _POLICY_KINDS:
        violations.append(Violation(f"{path}.triggering_policy.kind", "is no known kind"))
    if config.overflow not in _OVERFLOWS:
        violations.append(Violation(f"{path}.overflow", "is no known way"))
    if config.gap_policy not in _GAP_POLICIES:
        violations.append(Violation(f"{path}.gap_policy", "is no known policy"))
    if config.fold_policy not in _FOLD_POLICIES:
        violations.append(Violation(f"{path}.fold_policy", "is no known policy"))
    if config.catch_up.policy not in _CATCH_UP_POLICIES:
        violations.append(Violation(f"{path}.catch_up.policy", "is no known policy"))
    for index, entry in enumerate(config.downstream):
        if entry.trigger_on not in _TRIGGER_ON:
            violations.append(Violation(f"{path}.downstream[{index}].trigger_on", "is no known condition"))
    return violations


def _intake(config: JobConfig) -> Intake:
    return Intake(
        max_pending=config.max_pending_triggers or Intake().max_pending,
        overflow=_OVERFLOWS[config.overflow],
        min_interval=_duration(config.min_triage_interval),
    )


def _policy(policy: jobs_pb2.TriggeringPolicy) -> TriggeringPolicy:
    default = TriggeringPolicy()
    return TriggeringPolicy(
        kind=_POLICY_KINDS[policy.kind],
        max_concurrent_invocations=policy.max_concurrent_invocations or default.max_concurrent_invocations,
        max_batch_size=policy.max_batch_size or default.max_batch_size,
        log_base=policy.log_base,
        pending_timeout=_pending_timeout(policy),
    )


def _pending_timeout(policy: jobs_pb2.TriggeringPolicy) -> timedelta | None:
    default = DEFAULT_PENDING_TIMEOUT if policy.kind == jobs_pb2.TriggeringPolicy.NEWEST_FIRST else None
    return _duration(policy.pending_timeout) or default


def _policy_to_proto(policy: TriggeringPolicy) -> jobs_pb2.TriggeringPolicy:
    message = jobs_pb2.TriggeringPolicy(
        kind=jobs_pb2.TriggeringPolicy.Kind.Value(policy.kind.name),
        max_concurrent_invocations=policy.max_concurrent_invocations,
        max_batch_size=policy.max_batch_size,
        log_base=policy.log_base,
    )
    if policy.pending_timeout is not None:
        message.pending_timeout.CopyFrom(_to_proto(policy.pending_timeout))
    return message


def _target(config: JobConfig) -> TargetSpec:
    if config.HasField("noop"):
        return NoopSpec(sleep=_duration(config.noop.sleep), triggers_count=config.noop.triggers_count)
    http = config.http
    return HttpSpec(
        url=http.url,
        method=http.method or DEFAULT_METHOD,
        headers=tuple(sorted(http.headers.items())),
        body=http.body,
        timeout=_duration(http.timeout) if http.HasField("timeout") else DEFAULT_HTTP_TIMEOUT,
        multistage=http.multistage,
    )


def _http_to_proto(spec: HttpSpec) -> jobs_pb2.HttpTarget:
    return jobs_pb2.HttpTarget(
        method=spec.method,
        url=spec.url,
        headers=dict(spec.headers),
        body=spec.body,
        timeout=_to_proto(spec.timeout),
        multistage=spec.multistage,
    )


def _downstream(config: JobConfig) -> tuple[Downstream, ...]:
    long_form = (Downstream(entry.job, _TRIGGER_ON[entry.trigger_on]) for entry in config.downstream)
    short_form = (Downstream(job) for job in config.triggers)
    return (*long_form, *short_form)


def _timeout(config: JobConfig) -> timedelta:
    return _duration(config.timeout) if config.HasField("timeout") else DEFAULT_TIMEOUT


def _heartbeat_timeout(config: JobConfig) -> timedelta | None:
    return _duration(config.heartbeat_timeout) if config.HasField("heartbeat_timeout") else None


def _retry(retry: jobs_pb2.RetryPolicy) -> RetryPolicy:
    default = RetryPolicy()
    return RetryPolicy(
        max_attempts=retry.max_attempts or default.max_attempts,
        min_backoff=_duration(retry.min_backoff) if retry.HasField("min_backoff") else default.min_backoff,
        max_backoff=_duration(retry.max_backoff) if retry.HasField("max_backoff") else default.max_backoff,
    )


def retry_to_proto(retry: RetryPolicy) -> jobs_pb2.RetryPolicy:
    return jobs_pb2.RetryPolicy(
        max_attempts=retry.max_attempts,
        min_backoff=_to_proto(retry.min_backoff),
        max_backoff=_to_proto(retry.max_backoff),
    )


def _duration(duration: Duration) -> timedelta:
    return duration.ToTimedelta()


def _to_proto(duration: timedelta) -> Duration:
    message = Duration()
    message.FromTimedelta(duration)
    return message
