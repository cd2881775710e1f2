"""What the requests of one streaming pull may say, and what they make of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from google.pubsub_v1 import types

from ostinato.errors import InvalidArgument
from ostinato.localcloud.pubsub.backlog import Demand
from ostinato.localcloud.pubsub.flow_control import FlowLimits
from ostinato.localcloud.pubsub.resource_names import check_subscription_name
from ostinato.localcloud.pubsub.subscription_rules import LONGEST_ACK_DEADLINE, SHORTEST_ACK_DEADLINE

# How many messages one response holds at most.
_BATCH = 1000
_FIRST_ONLY = ("subscription", "client_id", "max_outstanding_messages", "max_outstanding_bytes", "protocol_version")


@dataclass(frozen=True, slots=True)
class StreamSettings:
    subscription: str
    demand: Demand


def open_settings(first: types.StreamingPullRequest, stream: str) -> StreamSettings:
    """`stream` names this stream among all. One that comes back under its client id goes on with what it holds."""
    check_subscription_name(first.subscription, "subscription")
    holder = f"client-{first.client_id}" if first.client_id else stream
    limits = FlowLimits.asked(first.max_outstanding_messages, first.max_outstanding_bytes)
    _check_acks(first)
    return StreamSettings(first.subscription, Demand(holder, _ack_deadline(first), _BATCH, limits))


def later_settings(settings: StreamSettings, request: types.StreamingPullRequest) -> StreamSettings:
    """After a further request."""
    for field in _FIRST_ONLY:
        if getattr(request, field):
            raise InvalidArgument.of(field, "may only be set in the first request of a stream")
    _check_acks(request)
    if not request.stream_ack_deadline_seconds:
        return settings
    return replace(settings, demand=replace(settings.demand, lease=_ack_deadline(request)))


def _ack_deadline(request: types.StreamingPullRequest) -> timedelta:
    seconds = request.stream_ack_deadline_seconds
    if not SHORTEST_ACK_DEADLINE <= seconds <= LONGEST_ACK_DEADLINE:
        rule = f"must be between {SHORTEST_ACK_DEADLINE} and {LONGEST_ACK_DEADLINE} seconds"
        raise InvalidArgument.of("stream_ack_deadline_seconds", rule)
    return timedelta(seconds=seconds)


def _check_acks(request: types.StreamingPullRequest) -> None:
    deadlines = request.modify_deadline_seconds
    if len(request.modify_deadline_ack_ids) != len(deadlines):
        raise InvalidArgument.of("modify_deadline_seconds", "must be as many as modify_deadline_ack_ids")
    if any(not 0 <= seconds <= LONGEST_ACK_DEADLINE for seconds in deadlines):
        raise InvalidArgument.of("modify_deadline_seconds", f"must be between 0 and {LONGEST_ACK_DEADLINE} seconds")
