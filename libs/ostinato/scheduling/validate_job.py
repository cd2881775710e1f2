"""What a job definition may say. All violations at once, each with the path of its field.

Rules about one job are in `validate_job`; rules about the jobs of a project together are in `validate_project`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta

from ostinato.errors import Violation
from ostinato.scheduling.job_definition import (
    Downstream,
    Intake,
    JobDefinition,
    PolicyKind,
    RetryPolicy,
    TriggeringPolicy,
)
from ostinato.scheduling.names import JOB_ID_RULE, PROJECT_ID_RULE, is_job_id, is_project_id, job_name
from ostinato.scheduling.targets import can_report, validate_target
from ostinato.scheduling.validate_schedule import FindZone, only_utc, validate_schedule, validate_start_deadline

MAX_DISPLAY_NAME_BYTES = 200
MAX_OWNER_BYTES = 200
MAX_LABELS = 64
MAX_LABEL_BYTES = 256
MAX_ANNOTATION_BYTES = 4_096
MAX_CONCURRENT_INVOCATIONS = 1_000
MAX_BATCH_SIZE = 1_000
MAX_PENDING_TRIGGERS = 5_000
MAX_TRIAGE_INTERVAL = timedelta(hours=24)
MIN_LOG_BASE = 1.0001
MAX_LOG_BASE = 1_000_000.0
MAX_PENDING_TIMEOUT = timedelta(days=366)
MAX_DOWNSTREAM = 100
MIN_TIMEOUT = timedelta(seconds=1)
MAX_TIMEOUT = timedelta(days=7)
MAX_ATTEMPTS = 10
MAX_RETRY_BACKOFF = timedelta(hours=24)

REALM_RULE = "must be 1 to 400 lower-case letters, digits and any of _ . / -, or @root or @legacy"
_REALM = re.compile(r"[a-z0-9_./-]{1,400}|@root|@legacy")
_LABEL_KEY = re.compile(r"[A-Za-z0-9_./-]{1,128}")
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]")


def validate_project_id(project: str, path: str) -> list[Violation]:
    return [] if is_project_id(project) else [Violation(path, PROJECT_ID_RULE)]


def validate_job(
    definition: JobDefinition,
    path: str,
    *,
    project: str = "",
    find_zone: FindZone = only_utc,
    downstream_paths: Sequence[str] | None = None,
) -> list[Violation]:
    """`downstream_paths` are for whoever merged several fields into `downstream`; parallel to it."""
    return [
        *_check_id(definition.id, f"{path}.id"),
        *_check_line(definition.display_name, MAX_DISPLAY_NAME_BYTES, f"{path}.display_name"),
        *_check_pairs(definition.labels, MAX_LABEL_BYTES, f"{path}.labels"),
        *_check_pairs(definition.annotations, MAX_ANNOTATION_BYTES, f"{path}.annotations"),
        *_check_line(definition.owner, MAX_OWNER_BYTES, f"{path}.owner"),
        *validate_realm(definition.realm, f"{path}.realm"),
        *validate_schedule(definition.schedule, definition.terms, path, job_name(project, definition.id), find_zone),
        *validate_start_deadline(definition.schedule, definition.start_deadline, f"{path}.start_deadline"),
        *validate_policy(definition.policy, f"{path}.triggering_policy"),
        *validate_target(definition.target, path),
        *_check_downstream(definition.downstream, downstream_paths_of(definition, path, downstream_paths), path),
        *_check_timeout(definition.timeout, f"{path}.timeout"),
        *_check_heartbeat_timeout(definition, f"{path}.heartbeat_timeout"),
        *_check_retry(definition.retry, f"{path}.retry"),
        *validate_intake(definition.intake, path),
    ]


def downstream_paths_of(definition: JobDefinition, path: str, given: Sequence[str] | None) -> Sequence[str]:
    """Where each downstream entry was written."""
    return [f"{path}.downstream[{index}]" for index in range(len(definition.downstream))] if given is None else given


def _check_id(job: str, path: str) -> list[Violation]:
    if is_job_id(job):
        return []
    return [Violation(path, JOB_ID_RULE if job else "is required")]


def _check_line(text: str, max_bytes: int, path: str) -> list[Violation]:
    violations = []
    if _size(text) > max_bytes:
        violations.append(Violation(path, f"must be at most {max_bytes} bytes"))
    if _CONTROL_CHARACTER.search(text):
        violations.append(Violation(path, "must not contain control characters or line breaks"))
    return violations


def _check_pairs(pairs: Mapping[str, str], max_value_bytes: int, path: str) -> list[Violation]:
    violations = []
    if len(pairs) > MAX_LABELS:
        violations.append(Violation(path, f"must be at most {MAX_LABELS}"))
    for key, value in pairs.items():
        if not _LABEL_KEY.fullmatch(key):
            violations.append(
                Violation(f"{path}[{key!r}]", "a key must be 1 to 128 letters, digits and any of _ . / -")
            )
        if _size(value) > max_value_bytes:
            violations.append(Violation(f"{path}[{key!r}]", f"must be at most {max_value_bytes} bytes"))
    return violations


def validate_realm(realm: str, path: str) -> list[Violation]:
    return [] if _REALM.fullmatch(realm) else [Violation(path, REALM_RULE)]


def validate_policy(policy: TriggeringPolicy, path: str) -> list[Violation]:
    limits = {
        "max_concurrent_invocations": (policy.max_concurrent_invocations, MAX_CONCURRENT_INVOCATIONS),
        "max_batch_size": (policy.max_batch_size, MAX_BATCH_SIZE),
    }
    violations = [
        Violation(f"{path}.{name}", f"must be between 1 and {most}")
        for name, (value, most) in limits.items()
        if not 1 <= value <= most
    ]
    return violations + _check_log_base(policy, f"{path}.log_base") + _check_pending_timeout(policy, path)


def validate_intake(intake: Intake, path: str) -> list[Violation]:
    violations = []
    if not 1 <= intake.max_pending <= MAX_PENDING_TRIGGERS:
        violations.append(Violation(f"{path}.max_pending_triggers", f"must be between 1 and {MAX_PENDING_TRIGGERS}"))
    if not timedelta(0) <= intake.min_interval <= MAX_TRIAGE_INTERVAL:
        violations.append(Violation(f"{path}.min_triage_interval", "must be between 0s and 24 hours"))
    return violations


def _check_log_base(policy: TriggeringPolicy, path: str) -> list[Violation]:
    if policy.kind is PolicyKind.LOGARITHMIC_BATCHING:
        within = MIN_LOG_BASE <= policy.log_base <= MAX_LOG_BASE
        rule = f"must be between {MIN_LOG_BASE:g} and {MAX_LOG_BASE:g} with LOGARITHMIC_BATCHING"
        return [] if within else [Violation(path, rule)]
    return [Violation(path, "is for LOGARITHMIC_BATCHING")] if policy.log_base else []


def _check_pending_timeout(policy: TriggeringPolicy, policy_path: str) -> list[Violation]:
    path = f"{policy_path}.pending_timeout"
    if policy.pending_timeout is None:
        return []
    if policy.kind is not PolicyKind.NEWEST_FIRST:
        return [Violation(path, "is for NEWEST_FIRST")]
    if not timedelta(0) < policy.pending_timeout <= MAX_PENDING_TIMEOUT:
        return [Violation(path, f"must be more than 0s and at most {MAX_PENDING_TIMEOUT.days} days")]
    return []


def _check_downstream(entries: Sequence[Downstream], paths: Sequence[str], job_path: str) -> list[Violation]:
    violations = []
    if len(entries) > MAX_DOWNSTREAM:
        violations.append(Violation(f"{job_path}.downstream", f"must be at most {MAX_DOWNSTREAM}"))
    seen: set[Downstream] = set()
    for entry, path in zip(entries, paths, strict=True):
        if not is_job_id(entry.job):
            violations.append(Violation(path, f"the job {JOB_ID_RULE}"))
        elif entry in seen:
            violations.append(Violation(path, f"names {entry.job!r} on {entry.trigger_on} a second time"))
        seen.add(entry)
    return violations


def _check_timeout(timeout: timedelta, path: str) -> list[Violation]:
    return [] if MIN_TIMEOUT <= timeout <= MAX_TIMEOUT else [Violation(path, "must be between 1s and 7 days")]


def _check_heartbeat_timeout(definition: JobDefinition, path: str) -> list[Violation]:
    if definition.heartbeat_timeout is None:
        return []
    if not can_report(definition.target):
        return [Violation(path, "is for http with multistage: other work gives no signs of life")]
    return _check_timeout(definition.heartbeat_timeout, path)


def _check_retry(retry: RetryPolicy, path: str) -> list[Violation]:
    violations = []
    if not 1 <= retry.max_attempts <= MAX_ATTEMPTS:
        violations.append(Violation(f"{path}.max_attempts", f"must be between 1 and {MAX_ATTEMPTS}"))
    for name, backoff in (("min_backoff", retry.min_backoff), ("max_backoff", retry.max_backoff)):
        if not timedelta(0) < backoff <= MAX_RETRY_BACKOFF:
            violations.append(Violation(f"{path}.{name}", "must be more than 0s and at most 24 hours"))
    if retry.max_backoff < retry.min_backoff:
        least = f"{retry.min_backoff.total_seconds():g}s"
        violations.append(Violation(f"{path}.max_backoff", f"must be at least min_backoff, which is {least}"))
    return violations


def _size(text: str) -> int:
    # A lone surrogate can't be encoded; it counts, and storing it is refused by protobuf.
    return len(text.encode(errors="surrogatepass"))
