"""The body of a pushed task: JSON with its class, the type of its payload, and the payload. Pure.

`class` decides where it is given; bodies of an older library have `type` only. Fields that nobody knows are passed
over, enums are numbers: a payload may change as long as what is under way can be read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message

from ostinato.errors import InvalidArgument
from ostinato.taskqueue.task_class import P

# Python's own encoder, which indents, would take ten times as long.
_compact = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


class NoEnvelopeError(Exception):
    """The body is no envelope at all, whatever this build knows."""


class NoPayloadError(Exception):
    """The payload is missing, or none of its class."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """At least one of the names is given. `body` is what JSON made of the payload."""

    class_name: str
    type_name: str
    body: Any


def encode_envelope(class_name: str, payload: Message) -> bytes:
    """Raises InvalidArgument for what has no form in JSON, such as a time after the year 9999."""
    try:
        body = json_format.MessageToDict(payload, use_integers_for_enums=True)
    except (json_format.Error, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise InvalidArgument.of("payload", f"can't be written as JSON: {error}") from error
    fields = {"class": class_name, "type": payload.DESCRIPTOR.full_name, "body": body}
    lines = ",\n".join(f'\t"{name}": {_compact(value)}' for name, value in fields.items())
    return f"{{\n{lines}\n}}".encode()


def decode_envelope(data: bytes) -> Envelope:
    """Raises NoEnvelopeError."""
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise NoEnvelopeError("the body is no JSON") from error
    if not isinstance(fields, dict):
        raise NoEnvelopeError("the body is no JSON object")
    class_name, type_name = fields.get("class") or "", fields.get("type") or ""
    if not isinstance(class_name, str) or not isinstance(type_name, str) or not (class_name or type_name):
        raise NoEnvelopeError("the body names neither class nor type")
    return Envelope(class_name, type_name, fields.get("body"))


def decode_payload(envelope: Envelope, kind: type[P]) -> P:
    """Raises NoPayloadError."""
    if envelope.body is None:
        raise NoPayloadError("the body has no payload")
    # The parser would take any text or list for a message without known fields. Some well-known types are written so.
    if not isinstance(envelope.body, dict) and kind.DESCRIPTOR.file.package != "google.protobuf":
        raise NoPayloadError("the payload is no JSON object")
    try:
        return json_format.ParseDict(envelope.body, kind(), ignore_unknown_fields=True)
    except (json_format.ParseError, ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise NoPayloadError(f"the payload is no {kind.DESCRIPTOR.full_name}") from error
