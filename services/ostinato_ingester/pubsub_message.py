"""A message of Pub/Sub as a report: its data is the JSON of `POST /notify`, its token an attribute or a field of that.

Reads no more than that: whether the report may be taken is for the intake to say.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from ostinato.errors import InvalidArgument, Violation
from ostinato.pb.ingest.v1.notifications_pb2 import NotifyRequest
from ostinato_ingester.notification_json import parse_object, read_notification

TOKEN_ATTRIBUTE = "notification_token"  # noqa: S105 - the attribute's name
TOKEN_FIELD = "token"  # noqa: S105 - the field's name
HIDDEN = "***"
# Keeps the ids of Pub/Sub apart from those that reports have themselves.
MESSAGE_ID_PREFIX = "pubsub:"


@dataclass(frozen=True, slots=True)
class PubSubMessage:
    """As it was published. `message_id` is the one that Pub/Sub gave it: the same each time it is delivered."""

    message_id: str
    data: bytes
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PublishedReport:
    """What could be read, and what could not. `token` is empty where there is none."""

    token: str
    request: NotifyRequest
    violations: tuple[Violation, ...]


def read_report(message: PubSubMessage) -> PublishedReport:
    """Raises InvalidArgument where the data is no JSON object. A report without an id of its own gets the message's."""
    fields = parse_object(message.data, "data")
    inner = fields.pop(TOKEN_FIELD, None)
    parsed = read_notification(fields)
    if not parsed.request.message_id:
        parsed.request.message_id = MESSAGE_ID_PREFIX + message.message_id
    token, violations = _token(message.attributes.get(TOKEN_ATTRIBUTE, ""), inner)
    return PublishedReport(token, parsed.request, (*violations, *parsed.violations))


def _token(outer: str, inner: object) -> tuple[str, tuple[Violation, ...]]:
    """Of two different tokens nobody knows which one was meant."""
    if inner is not None and not isinstance(inner, str):
        return outer, (Violation(TOKEN_FIELD, "must be a string"),)
    if outer and inner and outer != inner:
        return outer, (Violation(TOKEN_FIELD, f"must be the same as the attribute {TOKEN_ATTRIBUTE}, or absent"),)
    return outer or inner or "", ()


def without_token(message: PubSubMessage) -> PubSubMessage:
    """For people to see. What is no JSON object is as it was: nobody knows where it would have a token."""
    attributes = {name: HIDDEN if name == TOKEN_ATTRIBUTE else value for name, value in message.attributes.items()}
    try:
        fields = parse_object(message.data, "data")
        if TOKEN_FIELD not in fields:
            return PubSubMessage(message.message_id, message.data, attributes)
        shown = json.dumps({**fields, TOKEN_FIELD: HIDDEN}, ensure_ascii=False)
    except InvalidArgument:
        return PubSubMessage(message.message_id, message.data, attributes)
    except RecursionError:
        return PubSubMessage(message.message_id, b"", attributes)
    return PubSubMessage(message.message_id, shown.encode(errors="replace"), attributes)


def parse_push(body: bytes) -> PubSubMessage:
    """The message in the body of a push request. Raises InvalidArgument, with every field that can't be read."""
    message = parse_object(body, "body").get("message")
    if not isinstance(message, dict):
        raise InvalidArgument.of("message", "must be a JSON object")
    message_id, attributes = message.get("messageId"), message.get("attributes") or {}
    violations = []
    if not isinstance(message_id, str) or not message_id or not _is_text(message_id):
        violations.append(Violation("message.messageId", "must be a string that is not empty"))
    if not _are_texts(attributes):
        violations.append(Violation("message.attributes", "must be a JSON object of strings"))
    data = _decode(message.get("data") or "")
    if data is None:
        violations.append(Violation("message.data", "must be base64"))
    if violations or data is None:
        raise InvalidArgument(violations)
    return PubSubMessage(str(message_id), data, dict(attributes))


def _decode(data: object) -> bytes | None:
    try:
        return base64.b64decode(data, validate=True) if isinstance(data, str) else None
    except (binascii.Error, ValueError):
        return None


def _are_texts(attributes: object) -> bool:
    return isinstance(attributes, dict) and all(
        isinstance(value, str) and _is_text(name) and _is_text(value) for name, value in attributes.items()
    )


def _is_text(text: str) -> bool:
    """JSON can spell half a surrogate pair, which is no text."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)
