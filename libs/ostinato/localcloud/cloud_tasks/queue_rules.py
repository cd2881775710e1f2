"""What a queue may be configured to, and what Cloud Tasks picks where a configuration says nothing. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta

from google.cloud import tasks_v2

from ostinato.errors import InvalidArgument, Violation
from ostinato.localcloud.cloud_tasks.retry_rules import RetryRules
from ostinato.localcloud.cloud_tasks.wire_types import Queue, RetryConfig, parse_duration, set_duration

HIGHEST_RATE = 500.0
MOST_CONCURRENT = 5_000
DEFAULT_CONCURRENT = 1_000

# What an update may name, alone or with one of its fields; everything else of a queue is output only or not covered.
_GROUPS = {
    "rate_limits": frozenset({"max_dispatches_per_second", "max_burst_size", "max_concurrent_dispatches"}),
    "retry_config": frozenset({"max_attempts", "max_retry_duration", "min_backoff", "max_backoff", "max_doublings"}),
    "stackdriver_logging_config": frozenset({"sampling_ratio"}),
}
_OUTPUT_ONLY = frozenset({"name", "state", "purge_time"})
_NOT_COVERED = ("http_target", "app_engine_routing_override")


def complete_queue(given: tasks_v2.Queue) -> tasks_v2.Queue:
    """A copy with every default filled in. Raises InvalidArgument with all that is wrong."""
    violations = list(_violations(given))
    if violations:
        raise InvalidArgument(violations)
    queue = Queue()
    queue.CopyFrom(given)
    _complete_rate_limits(queue.rate_limits)
    _complete_retry(queue.retry_config, parse_retry_rules("queue.retry_config", given.retry_config))
    return queue


def merge_queue(current: tasks_v2.Queue, given: tasks_v2.Queue, mask: Sequence[str]) -> tasks_v2.Queue:
    """`current` with what `mask` names taken from `given`; an empty mask names everything."""
    merged = Queue()
    merged.CopyFrom(current)
    for path in _checked_paths(mask) if mask else _GROUPS:
        group, _, field = path.partition(".")
        if field:
            _take(getattr(merged, group), getattr(given, group), field)
        else:
            _take(merged, given, group)
    return merged


def parse_retry_rules(path: str, config: tasks_v2.RetryConfig) -> RetryRules:
    """Zero means the default, except for `max_retry_duration`, where both are the same."""
    defaults = RetryRules()
    rules = RetryRules(
        max_attempts=config.max_attempts or defaults.max_attempts,
        max_retry_duration=parse_duration(f"{path}.max_retry_duration", config.max_retry_duration),
        min_backoff=parse_duration(f"{path}.min_backoff", config.min_backoff) or defaults.min_backoff,
        max_backoff=parse_duration(f"{path}.max_backoff", config.max_backoff) or defaults.max_backoff,
        max_doublings=config.max_doublings or defaults.max_doublings,
    )
    if violations := list(_retry_violations(path, rules)):
        raise InvalidArgument(violations)
    return rules


def burst_for(rate: float) -> int:
    """The size of the bucket is Cloud Tasks' choice: 100 for its default rate, 10 for slow queues."""
    return max(10, min(100, int(rate / 5)))


def _violations(queue: tasks_v2.Queue) -> Iterator[Violation]:
    limits = queue.rate_limits
    if not 0 <= limits.max_dispatches_per_second <= HIGHEST_RATE:
        yield Violation("queue.rate_limits.max_dispatches_per_second", f"must be from 0 to {HIGHEST_RATE:g}")
    if not 0 <= limits.max_concurrent_dispatches <= MOST_CONCURRENT:
        yield Violation("queue.rate_limits.max_concurrent_dispatches", f"must be from 0 to {MOST_CONCURRENT}")
    if not 0 <= queue.stackdriver_logging_config.sampling_ratio <= 1:
        yield Violation("queue.stackdriver_logging_config.sampling_ratio", "must be from 0 to 1")
    for field in _NOT_COVERED:
        if queue.HasField(field):
            yield Violation(f"queue.{field}", "is not covered by the local server")


def _retry_violations(path: str, rules: RetryRules) -> Iterator[Violation]:
    if rules.max_attempts < -1:
        yield Violation(f"{path}.max_attempts", "must be -1 (unlimited) or more")
    if rules.max_doublings < 0:
        yield Violation(f"{path}.max_doublings", "must not be negative")
    if rules.min_backoff > rules.max_backoff:
        yield Violation(f"{path}.min_backoff", "must not be above max_backoff")


def _complete_rate_limits(limits: tasks_v2.RateLimits) -> None:
    limits.max_dispatches_per_second = limits.max_dispatches_per_second or HIGHEST_RATE
    limits.max_concurrent_dispatches = limits.max_concurrent_dispatches or DEFAULT_CONCURRENT
    limits.max_burst_size = burst_for(limits.max_dispatches_per_second)


def _complete_retry(config: tasks_v2.RetryConfig, rules: RetryRules) -> None:
    config.CopyFrom(retry_config_of(rules))


def retry_config_of(rules: RetryRules) -> tasks_v2.RetryConfig:
    config = RetryConfig(max_attempts=rules.max_attempts, max_doublings=rules.max_doublings)
    set_duration(config.min_backoff, rules.min_backoff)
    set_duration(config.max_backoff, rules.max_backoff)
    if rules.max_retry_duration > timedelta():
        set_duration(config.max_retry_duration, rules.max_retry_duration)
    return config


def _checked_paths(mask: Iterable[str]) -> Iterator[str]:
    """Output-only fields are ignored, as documented; what does not exist is refused."""
    for path in mask:
        group, _, field = path.partition(".")
        if group in _OUTPUT_ONLY and not field:
            continue
        if group not in _GROUPS or (field and field not in _GROUPS[group]):
            raise InvalidArgument.of("update_mask", f"names {path}, which can't be updated")
        yield path


def _take(into: object, source: object, field: str) -> None:
    """One field of a message, absent ones included."""
    message, given = into, source
    message.ClearField(field)  # type: ignore[attr-defined]
    value = getattr(given, field)
    if not hasattr(value, "CopyFrom"):
        setattr(message, field, value)
    elif given.HasField(field):  # type: ignore[attr-defined]
        getattr(message, field).CopyFrom(value)
