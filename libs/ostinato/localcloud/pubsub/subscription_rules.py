"""What a subscription may say, what it says when it says nothing, and what that means for delivery. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from urllib.parse import urlsplit

from google.pubsub_v1 import types

from ostinato.errors import InvalidArgument, Violation
from ostinato.localcloud.pubsub.config_masks import merge_by_mask, refuse_fields
from ostinato.localcloud.pubsub.delivery_rules import DeliveryRules, RetryBackoff
from ostinato.localcloud.pubsub.message_filter import parse_filter
from ostinato.localcloud.pubsub.resource_names import DELETED_TOPIC, check_subscription_name, check_topic_name
from ostinato.localcloud.pubsub.wire_types import Subscription, parse_duration

SHORTEST_ACK_DEADLINE = 10
LONGEST_ACK_DEADLINE = 600
FEWEST_ATTEMPTS = 5
MOST_ATTEMPTS = 100

_RETENTION = (timedelta(minutes=10), timedelta(days=31))
_USUAL_RETENTION = timedelta(days=7)
_LONGEST_BACKOFF = timedelta(seconds=600)
_USUAL_BACKOFF = timedelta(seconds=10)
_SHORTEST_TTL = timedelta(days=1)
_USUAL_TTL = timedelta(days=31)
_UNSUPPORTED = frozenset(
    ("bigquery_config", "cloud_storage_config", "bigtable_config", "detached", "message_transforms", "tags")
)
_MUTABLE = frozenset(
    (
        "ack_deadline_seconds",
        "dead_letter_policy",
        "enable_exactly_once_delivery",
        "expiration_policy",
        "labels",
        "message_retention_duration",
        "push_config",
        "retain_acked_messages",
        "retry_policy",
    )
)
_OUTPUT_ONLY = ("state", "topic_message_retention_duration", "analytics_hub_subscription_info")

_Check = Callable[[types.Subscription], Iterator[Violation]]


def complete_subscription(given: types.Subscription) -> types.Subscription:
    """A copy as it is stored, with every default written out. Raises InvalidArgument with all that is wrong."""
    check_subscription_name(given.name, "name")
    if given.topic != DELETED_TOPIC:
        check_topic_name(given.topic, "topic")
    refuse_fields(given, _UNSUPPORTED)
    subscription = _with_defaults(given)
    parse_filter(subscription.filter)
    violations = [violation for check in _CHECKS for violation in check(subscription)]
    if violations:
        raise InvalidArgument(violations)
    return subscription


def update_subscription(
    current: types.Subscription, given: types.Subscription, mask: Sequence[str]
) -> types.Subscription:
    merged: types.Subscription = merge_by_mask(current, given, mask, _MUTABLE)
    return complete_subscription(merged)


def check_push_config(config: types.PushConfig) -> None:
    """Raises InvalidArgument. An empty one means pull."""
    violations = list(_push_violations(config))
    if violations:
        raise InvalidArgument(violations)


def check_ack_deadline(field: str, seconds: int, *, shortest: int) -> None:
    if not shortest <= seconds <= LONGEST_ACK_DEADLINE:
        raise InvalidArgument.of(field, f"must be between {shortest} and {LONGEST_ACK_DEADLINE} seconds")


def delivery_rules(subscription: types.Subscription) -> DeliveryRules:
    """Of one that is complete."""
    retry, dead = subscription.retry_policy, subscription.dead_letter_policy
    return DeliveryRules(
        ack_deadline=timedelta(seconds=subscription.ack_deadline_seconds),
        retention=subscription.message_retention_duration.ToTimedelta(),
        ordered=subscription.enable_message_ordering,
        exactly_once=subscription.enable_exactly_once_delivery,
        retain_acked=subscription.retain_acked_messages,
        backoff=RetryBackoff(retry.minimum_backoff.ToTimedelta(), retry.maximum_backoff.ToTimedelta())
        if subscription.HasField("retry_policy")
        else None,
        most_attempts=dead.max_delivery_attempts if dead.dead_letter_topic else None,
    )


def _with_defaults(given: types.Subscription) -> types.Subscription:
    subscription = Subscription()
    subscription.CopyFrom(given)
    for field in _OUTPUT_ONLY:
        subscription.ClearField(field)
    subscription.state = types.Subscription.State(types.Subscription.State.ACTIVE)
    subscription.ack_deadline_seconds = given.ack_deadline_seconds or SHORTEST_ACK_DEADLINE
    if not given.HasField("message_retention_duration"):
        subscription.message_retention_duration.FromTimedelta(_USUAL_RETENTION)
    if not given.HasField("expiration_policy"):
        subscription.expiration_policy.ttl.FromTimedelta(_USUAL_TTL)
    if given.HasField("dead_letter_policy") and not given.dead_letter_policy.max_delivery_attempts:
        subscription.dead_letter_policy.max_delivery_attempts = FEWEST_ATTEMPTS
    if given.HasField("retry_policy"):
        _complete_retries(subscription.retry_policy)
    return subscription


def _complete_retries(policy: types.RetryPolicy) -> None:
    if not policy.HasField("minimum_backoff"):
        policy.minimum_backoff.FromTimedelta(_USUAL_BACKOFF)
    if not policy.HasField("maximum_backoff"):
        policy.maximum_backoff.FromTimedelta(_LONGEST_BACKOFF)


def _ack_deadline_violations(subscription: types.Subscription) -> Iterator[Violation]:
    if not SHORTEST_ACK_DEADLINE <= subscription.ack_deadline_seconds <= LONGEST_ACK_DEADLINE:
        yield Violation("ack_deadline_seconds", f"must be from {SHORTEST_ACK_DEADLINE} to {LONGEST_ACK_DEADLINE}")


def _retention_violations(subscription: types.Subscription) -> Iterator[Violation]:
    kept = parse_duration("message_retention_duration", subscription.message_retention_duration)
    if not _RETENTION[0] <= kept <= _RETENTION[1]:
        yield Violation("message_retention_duration", "must be from 10 minutes to 31 days")


def _expiration_violations(subscription: types.Subscription) -> Iterator[Violation]:
    policy = subscription.expiration_policy
    if policy.HasField("ttl") and parse_duration("expiration_policy.ttl", policy.ttl) < _SHORTEST_TTL:
        yield Violation("expiration_policy.ttl", "must be at least 1 day")


def _dead_letter_violations(subscription: types.Subscription) -> Iterator[Violation]:
    if not subscription.HasField("dead_letter_policy"):
        return
    policy = subscription.dead_letter_policy
    check_topic_name(policy.dead_letter_topic, "dead_letter_policy.dead_letter_topic")
    if not FEWEST_ATTEMPTS <= policy.max_delivery_attempts <= MOST_ATTEMPTS:
        rule = f"must be from {FEWEST_ATTEMPTS} to {MOST_ATTEMPTS}"
        yield Violation("dead_letter_policy.max_delivery_attempts", rule)


def _retry_violations(subscription: types.Subscription) -> Iterator[Violation]:
    if not subscription.HasField("retry_policy"):
        return
    minimum = parse_duration("retry_policy.minimum_backoff", subscription.retry_policy.minimum_backoff)
    maximum = parse_duration("retry_policy.maximum_backoff", subscription.retry_policy.maximum_backoff)
    for field, backoff in (("minimum_backoff", minimum), ("maximum_backoff", maximum)):
        if not timedelta() <= backoff <= _LONGEST_BACKOFF:
            yield Violation(f"retry_policy.{field}", "must be from 0 to 600 seconds")
    if minimum > maximum:
        yield Violation("retry_policy.maximum_backoff", "must not be less than minimum_backoff")


def _push_config_violations(subscription: types.Subscription) -> Iterator[Violation]:
    yield from _push_violations(subscription.push_config)
    if subscription.push_config.push_endpoint and subscription.enable_exactly_once_delivery:
        yield Violation("enable_exactly_once_delivery", "is not supported for push subscriptions")


def _push_violations(config: types.PushConfig) -> Iterator[Violation]:
    if not config.push_endpoint:
        if config.ListFields():
            yield Violation("push_config.push_endpoint", "must be set where anything else of push_config is")
        return
    if not _is_web_address(config.push_endpoint):
        yield Violation("push_config.push_endpoint", "must be an http or https URL")
    if config.HasField("oidc_token") and not config.oidc_token.service_account_email:
        yield Violation("push_config.oidc_token.service_account_email", "must be set")
    if config.attributes.get("x-goog-version", "v1") not in ("v1", "v1beta2"):
        yield Violation("push_config.attributes", "x-goog-version must be v1")


def _is_web_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


_CHECKS: tuple[_Check, ...] = (
    _ack_deadline_violations,
    _retention_violations,
    _expiration_violations,
    _dead_letter_violations,
    _retry_violations,
    _push_config_violations,
)
