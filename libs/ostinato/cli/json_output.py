"""Answers for programs: the proto's JSON form. Fields without presence are always there, empty lists as well."""

from __future__ import annotations

import json

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message


def to_json(message: Message, **more: object) -> str:
    """`more` are members that the message itself does not have."""
    return json.dumps(to_object(message) | more, indent=2, ensure_ascii=False)


def to_json_line(message: Message) -> str:
    """One line, for output that is a stream of objects."""
    return json.dumps(to_object(message), ensure_ascii=False)


def to_object(message: Message) -> dict[str, object]:
    return MessageToDict(message, always_print_fields_with_no_presence=True)
