"""Makes the topic and the subscription of a publisher, and its right to publish, as they should be.

May be repeated, and by several processes at once: what is there stays, what differs is changed, nothing is deleted.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import structlog
from google.api_core import exceptions as google_errors
from google.iam.v1 import iam_policy_pb2, policy_pb2
from google.protobuf.field_mask_pb2 import FieldMask
from google.pubsub_v1 import types

from ostinato.config.pubsub import PREPARE, PubSubSettings
from ostinato.errors import FailedPrecondition, OstinatoError, PermissionDenied, Unavailable
from ostinato_ingester.pubsub_clients import PubSubClients
from ostinato_ingester.subscription_names import SubscriptionNames

ACK_DEADLINE = timedelta(seconds=70)
# Between deliveries of what was not acknowledged.
_SHORTEST_PAUSE = timedelta(seconds=1)
_LONGEST_PAUSE = timedelta(seconds=60)
_PUBLISHER_ROLE = "roles/pubsub.publisher"
_CALL_TIMEOUT: Final = 20.0

_log = structlog.get_logger(__name__)


async def prepare_subscription(
    clients: PubSubClients, settings: PubSubSettings, names: SubscriptionNames, account: str
) -> None:
    """Raises PermissionDenied or FailedPrecondition with what people have to do about it; Unavailable otherwise."""
    try:
        await _prepare_topic(clients, names)
        await _prepare_subscription(clients, _wanted(settings, names))
        await _let_publish(clients, names.topic, account)
    except google_errors.GoogleAPIError as error:
        raise told(error, settings.project) from error


def told(error: google_errors.GoogleAPIError, project: str) -> OstinatoError:
    match error:
        case google_errors.PermissionDenied() | google_errors.Unauthenticated():
            return PermissionDenied(
                f"this process may not prepare subscriptions in {project}: give its account roles/pubsub.admin, "
                f"or prepare them yourself and set {PREPARE} to false ({error.message})"
            )
        case google_errors.NotFound():
            return FailedPrecondition(f"there is no project {project}, or it does not use Pub/Sub ({error.message})")
        case google_errors.InvalidArgument() | google_errors.FailedPrecondition():
            return FailedPrecondition(f"Pub/Sub refuses what was to be prepared in {project} ({error.message})")
        case _:
            return Unavailable(f"{type(error).__name__}: {error}")


async def _prepare_topic(clients: PubSubClients, names: SubscriptionNames) -> None:
    try:
        await clients.publisher.create_topic(types.Topic(name=names.topic), retry=None, timeout=_CALL_TIMEOUT)
    except google_errors.AlreadyExists:
        return
    _log.info("topic made", topic=names.topic)


async def _prepare_subscription(clients: PubSubClients, wanted: types.Subscription) -> None:
    try:
        await clients.subscriber.create_subscription(wanted, retry=None, timeout=_CALL_TIMEOUT)
    except google_errors.AlreadyExists:
        await _mend_subscription(clients, wanted)
    else:
        _log.info("subscription made", subscription=wanted.name)


async def _mend_subscription(clients: PubSubClients, wanted: types.Subscription) -> None:
    found = await clients.subscriber.get_subscription(subscription=wanted.name, retry=None, timeout=_CALL_TIMEOUT)
    if found.topic != wanted.topic:
        raise FailedPrecondition(
            f"{wanted.name} is of the topic {found.topic}: delete it if nobody needs it, or set another prefix"
        )
    if not (fields := differences(found, wanted)):
        return
    await clients.subscriber.update_subscription(
        subscription=wanted, update_mask=FieldMask(paths=fields), retry=None, timeout=_CALL_TIMEOUT
    )
    _log.info("subscription changed", subscription=wanted.name, fields=fields)


def _wanted(settings: PubSubSettings, names: SubscriptionNames) -> types.Subscription:
    return types.Subscription(
        name=names.subscription,
        topic=names.topic,
        ack_deadline_seconds=int(ACK_DEADLINE.total_seconds()),
        push_config=_push_config(settings, names) if names.endpoint else types.PushConfig(),
        # By default one that nobody pulled for a month would be gone, with all its messages.
        expiration_policy=types.ExpirationPolicy(),
        retry_policy=types.RetryPolicy(minimum_backoff=_SHORTEST_PAUSE, maximum_backoff=_LONGEST_PAUSE),
    )


def _push_config(settings: PubSubSettings, names: SubscriptionNames) -> types.PushConfig:
    return types.PushConfig(
        push_endpoint=names.endpoint,
        oidc_token=types.PushConfig.OidcToken(
            service_account_email=settings.push_callers[0], audience=settings.push_url
        ),
    )


def differences(found: types.Subscription, wanted: types.Subscription) -> list[str]:
    """Fields of ours that are not as they should be. What others set besides is their business."""
    fields = []
    if found.ack_deadline_seconds != wanted.ack_deadline_seconds:
        fields.append("ack_deadline_seconds")
    if found.expiration_policy.ttl:
        fields.append("expiration_policy")
    if _pushes(found.push_config) != _pushes(wanted.push_config):
        fields.append("push_config")
    if found.retry_policy != wanted.retry_policy:
        fields.append("retry_policy")
    return fields


def _pushes(config: types.PushConfig) -> tuple[str, str, str]:
    token = config.oidc_token
    return config.push_endpoint, token.service_account_email, token.audience


async def _let_publish(clients: PubSubClients, topic: str, account: str) -> None:
    """Twice, because somebody may change the policy between our read and our write."""
    member = f"serviceAccount:{account}" if account.endswith(".gserviceaccount.com") else f"user:{account}"
    try:
        if not await _grant(clients, topic, member) and not await _grant(clients, topic, member):
            raise Unavailable(f"the policy of {topic} was changed by somebody else each time")
    except google_errors.MethodNotImplemented:
        _log.info("this Pub/Sub knows no rights: everybody may publish", topic=topic)


async def _grant(clients: PubSubClients, topic: str, member: str) -> bool:
    """False: somebody else changed the policy meanwhile."""
    asked = iam_policy_pb2.GetIamPolicyRequest(resource=topic)
    policy = await clients.publisher.get_iam_policy(asked, retry=None, timeout=_CALL_TIMEOUT)
    if not _add_member(policy, member):
        return True
    changed = iam_policy_pb2.SetIamPolicyRequest(resource=topic, policy=policy)
    try:
        await clients.publisher.set_iam_policy(changed, retry=None, timeout=_CALL_TIMEOUT)
    except google_errors.Aborted:
        return False
    _log.info("right to publish given", topic=topic, member=member)
    return True


def _add_member(policy: policy_pb2.Policy, member: str) -> bool:
    """False: it is there. Bindings with a condition are somebody else's."""
    for binding in policy.bindings:
        if binding.role == _PUBLISHER_ROLE and not binding.HasField("condition"):
            if member in binding.members:
                return False
            binding.members.append(member)
            return True
    policy.bindings.add(role=_PUBLISHER_ROLE, members=[member])
    return True
