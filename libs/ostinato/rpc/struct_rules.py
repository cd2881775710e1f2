"""What a google.protobuf.Struct from outside must be so that every reader can have it again: small, shallow, and JSON.

An infinite number or one too many levels would pass here and then break each answer and each output that holds it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from google.protobuf.struct_pb2 import ListValue, Struct, Value

# Far below protobuf's own limit of nesting, which a stored Struct must never reach inside other messages.
MAX_STRUCT_DEPTH = 20
MAX_STRUCT_BYTES = 64 * 1024

SIZE_RULE = f"must be at most {MAX_STRUCT_BYTES} bytes"
DEPTH_RULE = f"must not be nested deeper than {MAX_STRUCT_DEPTH} levels"


def broken_struct_rule(struct: Struct) -> str | None:
    """The rule that `struct` breaks, None if it is fine."""
    if struct.ByteSize() > MAX_STRUCT_BYTES:
        return SIZE_RULE
    if _is_too_deep(struct, MAX_STRUCT_DEPTH):
        return DEPTH_RULE
    if not _is_finite(Value(struct_value=struct)):
        return "must contain finite numbers only"
    return None


def _children(node: Struct | ListValue) -> Iterator[Value]:
    yield from node.fields.values() if isinstance(node, Struct) else node.values


def _is_too_deep(node: Struct | ListValue, levels: int) -> bool:
    if levels == 0:
        return True
    return any(_is_too_deep(inner, levels - 1) for inner in _containers(node))


def _containers(node: Struct | ListValue) -> Iterator[Struct | ListValue]:
    for value in _children(node):
        match value.WhichOneof("kind"):
            case "struct_value":
                yield value.struct_value
            case "list_value":
                yield value.list_value


def _is_finite(value: Value) -> bool:
    match value.WhichOneof("kind"):
        case "number_value":
            return math.isfinite(value.number_value)
        case "struct_value":
            return all(map(_is_finite, _children(value.struct_value)))
        case "list_value":
            return all(map(_is_finite, _children(value.list_value)))
        case _:
            return True
