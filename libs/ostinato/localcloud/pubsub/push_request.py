"""The HTTP request by which a message is pushed, and what its answer means. Pure."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import datetime

from google.pubsub_v1 import types

from ostinato.localcloud.pubsub.backlog import Delivery
from ostinato.localcloud.pubsub.published_message import PublishedMessage

ACKNOWLEDGING = frozenset((102, 200, 201, 202, 204))
_USER_AGENT = "CloudPubSub-Google"
_METADATA = "x-goog-pubsub-"


@dataclass(frozen=True, slots=True)
class PushRequest:
    url: str
    headers: dict[str, str]
    body: bytes


def push_request(
    config: types.PushConfig, subscription: str, delivery: Delivery, *, tell_attempt: bool, authorization: str
) -> PushRequest:
    """Wrapped in JSON, or the bare data where the subscription wants that."""
    headers = {"User-Agent": _USER_AGENT}
    if authorization:
        headers["Authorization"] = authorization
    message = delivery.message
    if config.HasField("no_wrapper"):
        if config.no_wrapper.write_metadata:
            headers |= _metadata(message, subscription)
        return PushRequest(config.push_endpoint, headers, message.draft.data)
    headers["Content-Type"] = "application/json"
    wrapped = _wrapped(message, subscription, delivery.attempt if tell_attempt else 0)
    return PushRequest(config.push_endpoint, headers, json.dumps(wrapped).encode())


def _wrapped(message: PublishedMessage, subscription: str, attempt: int) -> dict[str, object]:
    """Ids and times stand there in both spellings, as the service writes them."""
    draft, published = message.draft, _text_of(message.publish_time)
    inner: dict[str, object] = {
        "messageId": message.message_id,
        "message_id": message.message_id,
        "publishTime": published,
        "publish_time": published,
    }
    if draft.data:
        inner["data"] = base64.b64encode(draft.data).decode()
    if draft.attributes:
        inner["attributes"] = dict(draft.attributes)
    if draft.ordering_key:
        inner["orderingKey"] = draft.ordering_key
    wrapped: dict[str, object] = {"message": inner, "subscription": subscription}
    return {**wrapped, "deliveryAttempt": attempt} if attempt else wrapped


def _metadata(message: PublishedMessage, subscription: str) -> dict[str, str]:
    """Attributes that are no headers are left out."""
    draft = message.draft
    told = {
        f"{_METADATA}subscription-name": subscription,
        f"{_METADATA}message-id": message.message_id,
        f"{_METADATA}publish-time": _text_of(message.publish_time),
    }
    if draft.ordering_key and _is_header(_METADATA, draft.ordering_key):
        told[f"{_METADATA}ordering-key"] = draft.ordering_key
    return {**{key: value for key, value in draft.attributes.items() if _is_header(key, value)}, **told}


def _is_header(name: str, value: str) -> bool:
    is_name = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
    return is_name and value.isprintable() and value.isascii()


def _text_of(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
