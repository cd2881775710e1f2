"""Hostile copies of a valid request, made from its descriptor: a new field is looked at without being listed here."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

JOB = "projects/shop/jobs/a"
TEXTS = (
    "",
    " ",
    "-",
    "/",
    "\0",
    "a\0b",
    "\n",
    "%s%n{}",
    "'; drop table job; --",
    "é" * 300,
    "\U0001f600",
    "\u202e\u2028\ufeff",
    "x" * 5000,
    "projects/",
    "projects/-",
    "projects/SHOP",
    "projects/shop",
    "projects/shop/",
    "projects/shop/jobs/",
    "projects/shop/jobs/-",
    "projects/shop/jobs/a/b",
    "projects/shop/jobs/a\0",
    "projects/shop/jobs/é",
    f"{JOB}/invocations/0",
    f"{JOB}/invocations/-1",
    f"{JOB}/invocations/9223372036854775807",
    f"{JOB}/invocations/9223372036854775808",
    f"{JOB}/invocations/{'9' * 400}",
    f"{JOB}/invocations/０",
    "* * * * *",
    "0 0 0 0 0 0 0 0",
    "with 99999999999999h interval",
    "every 99999999999d",
    "project: [",
    "project: shop\njobs: [{id: a, noop: {sleep: 9999999999999h}}]",
    "- &a [*a]",
)
INTS = (-(2**31), -1, 0, 1, 2**31 - 1)
INSTANTS = ((-(2**62), 0), (2**62, 0), (0, -1), (0, 10**9), (253402300800, 0), (-62135596801, 0), (-62135596800, 0))
MANY = 2000
# Stands in a text until the bytes of the message are made, and is then no UTF-8: a lone surrogate.
_MARK = "\x01\x02\x03"
_NO_UTF8 = b"\xed\xa0\x80"
# Deeper than any parser of protobuf goes.
_TOO_DEEP = 150


def hostile_requests(message: Message) -> Iterator[bytes]:
    """What a stranger may send in place of `message`, as bytes."""
    for variant in variants(message):
        yield variant.SerializeToString()
    yield from no_utf8(message)
    yield from (b"\xff", b"\x0a\x7f", b"\x08\x01" * 3, b"\x0b" * 50, b"\xff" * 100)


def variants(message: Message) -> Iterator[Message]:
    """Copies with one field, at any depth, set to something hostile."""
    for field in message.DESCRIPTOR.fields:
        for fill in _fills(message, field):
            copy = type(message)()
            copy.CopyFrom(message)
            fill(copy)
            yield copy


def no_utf8(message: Message) -> Iterator[bytes]:
    """Copies with one text, at any depth, that no decoder of UTF-8 takes."""
    for variant in _with_texts(message, _MARK):
        yield variant.SerializeToString().replace(_MARK.encode(), _NO_UTF8)


def _with_texts(message: Message, text: str) -> Iterator[Message]:
    for field in message.DESCRIPTOR.fields:
        copy = type(message)()
        copy.CopyFrom(message)
        if field.type == FieldDescriptor.TYPE_STRING:
            _set_value(copy, field, text)
            yield copy
        elif _is(field, "Struct"):
            getattr(copy, field.name).update({text: "value"})
            yield copy
        elif field.message_type is not None and not _is(field, "Timestamp"):
            for inner in _with_texts(_example(message, field), text):
                outer = type(message)()
                outer.CopyFrom(message)
                _set_message(outer, field, inner)
                yield outer


def _set_value(copy: Message, field: FieldDescriptor, value: Any) -> None:
    if field.is_repeated:
        getattr(copy, field.name).append(value)
    else:
        setattr(copy, field.name, value)


def _is(field: FieldDescriptor, name: str) -> bool:
    return field.message_type is not None and field.message_type.full_name == f"google.protobuf.{name}"


def _fills(message: Message, field: FieldDescriptor) -> Iterator[Callable[[Any], None]]:
    name = field.name
    if _is(field, "Struct"):
        for value in (math.nan, -math.inf, "\0", None, [[]], {"": {"": ""}}, _nested(15), _nested(30), "x" * 70_000):
            yield lambda copy, value=value: getattr(copy, name).update({"k": value})
        yield lambda copy: getattr(copy, name).update({f"k{n}": n for n in range(MANY)})
        yield lambda copy: getattr(copy, name).update({"\0": 1})
    elif _is(field, "Timestamp"):
        for seconds, nanos in INSTANTS:
            yield lambda copy, seconds=seconds, nanos=nanos: _set_instant(getattr(copy, name), seconds, nanos)
    elif field.message_type is not None:
        for inner in variants(_example(message, field)):
            yield lambda copy, inner=inner: _set_message(copy, field, inner)
        if field.is_repeated:
            yield lambda copy: getattr(copy, name).extend([_example(message, field)] * MANY)
    else:
        for value in _values(field):
            yield lambda copy, value=value: _set_value(copy, field, value)
        if field.is_repeated:
            yield lambda copy: getattr(copy, name).extend([_values(field)[0]] * MANY)


def _nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def _example(message: Message, field: FieldDescriptor) -> Message:
    """What stands in the field already, or an empty one."""
    current = getattr(message, field.name)
    if not field.is_repeated:
        return current
    return current[0] if current else GetMessageClass(field.message_type)()


def _set_message(copy: Message, field: FieldDescriptor, inner: Message) -> None:
    if field.is_repeated:
        getattr(copy, field.name).append(inner)
    else:
        getattr(copy, field.name).CopyFrom(inner)


def _set_instant(timestamp: Any, seconds: int, nanos: int) -> None:
    timestamp.seconds, timestamp.nanos = seconds, nanos


def _values(field: FieldDescriptor) -> tuple[Any, ...]:
    match field.type:
        case FieldDescriptor.TYPE_STRING:
            return TEXTS
        case FieldDescriptor.TYPE_BOOL:
            return (True,)
        case FieldDescriptor.TYPE_INT64:
            return (*INTS, -(2**63), 2**63 - 1)
        case FieldDescriptor.TYPE_DOUBLE:
            return (math.nan, math.inf, -1.0, 0.0, 1e308)
        case _:
            return INTS


def deep_struct() -> bytes:
    """A google.protobuf.Struct as bytes, deeper than protobuf's own limit. Field 1 of Struct is a map entry."""
    value = b"\x11" + bytes(8)  # Value.number_value
    for _ in range(_TOO_DEEP):
        fields = _field(1, b"\x0a\x01k" + _field(2, value))
        value = _field(5, fields)  # Value.struct_value
    return _field(1, b"\x0a\x01k" + _field(2, value))


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])
