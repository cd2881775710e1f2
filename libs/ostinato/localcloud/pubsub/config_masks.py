"""Which fields of a topic or subscription may be given and changed. Pure.

What this server can't do is refused by name, not ignored.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TypeVar

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from ostinato.errors import InvalidArgument, Violation

M = TypeVar("M", bound=Message)


def refuse_fields(config: Message, unsupported: Collection[str], prefix: str = "") -> None:
    given = [field.name for field, _ in config.ListFields() if field.name in unsupported]
    if given:
        raise InvalidArgument(Violation(prefix + name, "is not supported by the local Pub/Sub") for name in given)


def merge_by_mask(current: M, given: M, mask: Sequence[str], mutable: Collection[str]) -> M:
    """`current` with the fields that the mask names as they are in `given`. Each is replaced as a whole."""
    if not mask:
        raise InvalidArgument.of("update_mask", "must be set, and must contain a non-empty paths list")
    violations = [violation for path in mask if (violation := _refusal(current, path, mutable))]
    if violations:
        raise InvalidArgument(violations)
    merged = type(current)()
    merged.CopyFrom(current)
    FieldMask(paths=list(mask)).MergeMessage(given, merged, True, True)
    return merged


def _refusal(config: Message, path: str, mutable: Collection[str]) -> Violation | None:
    if path in mutable:
        return None
    if path in config.DESCRIPTOR.fields_by_name:
        return Violation("update_mask", f"the {path} field in the {config.DESCRIPTOR.name} is not mutable")
    return Violation("update_mask", f"{path} is not a known {config.DESCRIPTOR.name} field")
