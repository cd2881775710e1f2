"""Fills a protobuf message from a YAML tree, field by field as its descriptor says.

Keys are the proto's field names. Durations are text such as `1h30m`, instants RFC 3339, enum values their short names.
Whatever does not fit is noted with its path and left out, so that one pass finds every mistake.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from ostinato.scheduling.duration import DurationError, parse_duration
from ostinato.scheduling.schedule.instant import EXPECTATION, InstantError, parse_instant
from ostinato.yamlfile.mistakes import Mistakes
from ostinato.yamlfile.yaml_tree import ROOT, YamlList, YamlMapping, YamlNode, YamlScalar, child_path

_DURATION = Duration.DESCRIPTOR.full_name
_TIMESTAMP = Timestamp.DESCRIPTOR.full_name
_INT_RANGES = {
    FieldDescriptor.TYPE_INT32: range(-(1 << 31), 1 << 31),
    FieldDescriptor.TYPE_INT64: range(-(1 << 63), 1 << 63),
}


class MessageReader:
    """One reading; `mistakes` grows."""

    def __init__(self, mistakes: Mistakes) -> None:
        self._mistakes = mistakes

    def fill(self, message: Message, node: YamlNode) -> None:
        if not isinstance(node, YamlMapping):
            self._refuse(node, "must be a mapping; an empty one is {}")
            return
        fields = _fields_of(message)
        for key, value in node.entries.items():
            if key not in fields:
                self._mistakes.note(child_path(node.path, key), "is an unknown key")
            elif (other := _oneof_in_use(message, fields[key])) is not None:
                self._refuse(value, f"must not stand beside {other}")
            else:
                self._fill_field(message, fields[key], value)

    def _fill_field(self, message: Message, field: FieldDescriptor, node: YamlNode) -> None:
        target: Any = getattr(message, field.name)
        if _is_map(field):
            self._fill_map(target, node)
        elif field.is_repeated:
            self._fill_list(target, field, node)
        elif field.message_type is None:
            value = self._scalar(field, node)
            if value is not None:
                setattr(message, field.name, value)
        elif field.message_type.full_name == _DURATION:
            self._fill_duration(target, node)
        elif field.message_type.full_name == _TIMESTAMP:
            self._fill_timestamp(target, node)
        else:
            target.SetInParent()
            self.fill(target, node)

    def _fill_map(self, target: Any, node: YamlNode) -> None:
        if not isinstance(node, YamlMapping):
            self._refuse(node, "must be a mapping; an empty one is {}")
            return
        for key, value in node.entries.items():
            text = self._text(value)
            if text is not None:
                target[key] = text

    def _fill_list(self, target: Any, field: FieldDescriptor, node: YamlNode) -> None:
        if not isinstance(node, YamlList):
            self._refuse(node, "must be a list; an empty one is []")
            return
        for item in node.items:
            # An unreadable item keeps its place, so that the paths of those behind it stay right.
            if field.message_type is None:
                value = self._scalar(field, item)
                target.append(_blank(field) if value is None else value)
            else:
                self.fill(target.add(), item)

    def _fill_duration(self, target: Duration, node: YamlNode) -> None:
        if not isinstance(node, YamlScalar):
            self._refuse(node, "must be a duration such as 3600s or 1h30m")
            return
        try:
            target.FromTimedelta(parse_duration(node.text))
        except DurationError as error:
            self._refuse(node, f"must be a duration such as 3600s or 1h30m: {error}")

    def _fill_timestamp(self, target: Timestamp, node: YamlNode) -> None:
        try:
            target.FromDatetime(parse_instant(node.text if isinstance(node, YamlScalar) else ""))
        except InstantError:
            self._refuse(node, f"must be {EXPECTATION}")

    def _scalar(self, field: FieldDescriptor, node: YamlNode) -> Any:
        if field.enum_type is not None:
            return self._enum(field.enum_type, node)
        readers: dict[int, Callable[[YamlNode], str | bool | float | None]] = {
            FieldDescriptor.TYPE_STRING: self._text,
            FieldDescriptor.TYPE_BOOL: self._bool,
            FieldDescriptor.TYPE_DOUBLE: self._number,
        }
        return readers[field.type](node) if field.type in readers else self._int(_INT_RANGES[field.type], node)

    def _text(self, node: YamlNode) -> str | None:
        if isinstance(node, YamlScalar) and node.is_text:
            return node.text
        self._refuse(node, "must be text; put it in quotes" if isinstance(node, YamlScalar) else "must be text")
        return None

    def _bool(self, node: YamlNode) -> bool | None:
        value = node.as_bool() if isinstance(node, YamlScalar) else None
        if value is None:
            self._refuse(node, "must be true or false")
        return value

    def _int(self, allowed: range, node: YamlNode) -> int | None:
        value = node.as_int() if isinstance(node, YamlScalar) else None
        if value is None or value not in allowed:
            self._refuse(node, "must be a whole number")
            return None
        return value

    def _number(self, node: YamlNode) -> float | None:
        value = node.as_float() if isinstance(node, YamlScalar) else None
        if value is None:
            self._refuse(node, "must be a number such as 1.5")
        return value

    def _enum(self, enum: EnumDescriptor, node: YamlNode) -> int | None:
        names = [value.name for value in enum.values if value.number]
        if isinstance(node, YamlScalar) and node.text in names:
            return enum.values_by_name[node.text].number
        self._refuse(node, f"must be one of {', '.join(names)}")
        return None

    def _refuse(self, node: YamlNode, rule: str) -> None:
        self._mistakes.note(node.path or ROOT, rule)


def _blank(field: FieldDescriptor) -> str | int:
    return "" if field.type == FieldDescriptor.TYPE_STRING else 0


def _fields_of(message: Message) -> Mapping[str, FieldDescriptor]:
    # The stubs tell two implementations of descriptors apart that have the same interface.
    return cast("Mapping[str, FieldDescriptor]", message.DESCRIPTOR.fields_by_name)


def _oneof_in_use(message: Message, field: FieldDescriptor) -> str | None:
    oneof = field.containing_oneof
    return None if oneof is None else message.WhichOneof(oneof.name)


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry
