"""A notification as JSON: `{message_id, status, result, log_lines, error_message}`, strict about names and types."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NoReturn

from google.protobuf.json_format import ParseDict, ParseError

from ostinato.errors import InvalidArgument, Violation
from ostinato.pb.ingest.v1.notifications_pb2 import NotifyRequest
from ostinato.rpc.report_rules import MAX_LOG_LINES
from ostinato.rpc.struct_rules import DEPTH_RULE, MAX_STRUCT_BYTES, MAX_STRUCT_DEPTH, SIZE_RULE
from ostinato_ingester.notification_rules import STATUS_RULE

_MAX_NAME = 100  # of an unknown field, as it is told back


@dataclass(frozen=True, slots=True)
class ParsedNotification:
    """What could be read, and what could not. The request's token is empty: it came as a bearer token."""

    request: NotifyRequest
    violations: tuple[Violation, ...]


class _FieldError(ValueError):
    """The message is the rule that the value breaks; `at` is where inside the field."""

    def __init__(self, rule: str, *, at: str = "") -> None:
        super().__init__(rule)
        self.at = at


def parse_notification(body: bytes) -> ParsedNotification:
    """Raises InvalidArgument if the body is no JSON object."""
    return read_notification(parse_object(body, "body"))


def read_notification(fields: Mapping[str, object]) -> ParsedNotification:
    request = NotifyRequest()
    violations: list[Violation] = []
    for name, value in fields.items():
        try:
            _read_field(request, name, value)
        except _FieldError as error:
            violations.append(Violation(name[:_MAX_NAME] + error.at, str(error)))
    return ParsedNotification(request, tuple(violations))


def parse_object(body: bytes, path: str) -> dict[str, object]:
    """Raises InvalidArgument about `path`."""
    try:
        parsed = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant, object_pairs_hook=_without_twins)
    except _TwiceError as error:
        raise InvalidArgument.of(
            path, f"must not have the key {str(error)[:_MAX_NAME]!a} twice in one object"
        ) from None
    except (ValueError, RecursionError):
        raise InvalidArgument.of(path, "must be JSON in UTF-8") from None
    if not isinstance(parsed, dict):
        raise InvalidArgument.of(path, "must be a JSON object")
    return parsed


class _TwiceError(ValueError):
    """Of two values nobody knows which one was meant. The message is the key."""


def _without_twins(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise _TwiceError(key)
        found[key] = value
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _read_field(request: NotifyRequest, name: str, value: object) -> None:
    reader = _READERS.get(name)
    if reader is None:
        raise _FieldError("is unknown; the fields are " + ", ".join(_READERS))
    if value is not None:  # null is the same as absent
        reader(request, value)


def _read_message_id(request: NotifyRequest, value: object) -> None:
    request.message_id = _text(value)


def _read_status(request: NotifyRequest, value: object) -> None:
    if not isinstance(value, str) or value not in NotifyRequest.Status.keys():  # noqa: SIM118 - an enum is no mapping
        raise _FieldError(STATUS_RULE)
    request.status = NotifyRequest.Status.Value(value)


def _read_result(request: NotifyRequest, value: object) -> None:
    if not isinstance(value, dict):
        raise _FieldError("must be a JSON object")
    if _has_more_nodes(value, than=MAX_STRUCT_BYTES // 2):  # each takes two bytes or more
        raise _FieldError(SIZE_RULE)
    if _is_too_deep(value, MAX_STRUCT_DEPTH):
        raise _FieldError(DEPTH_RULE)
    try:
        ParseDict(value, request.result)
    except (ParseError, ValueError, OverflowError):
        raise _FieldError("must contain finite numbers and Unicode text only") from None


def _read_log_lines(request: NotifyRequest, value: object) -> None:
    if not isinstance(value, list):
        raise _FieldError("must be a list of strings")
    if len(value) > MAX_LOG_LINES:
        raise _FieldError(f"must be at most {MAX_LOG_LINES} lines")
    for number, line in enumerate(value):
        request.log_lines.append(_text(line, at=f"[{number}]"))


def _read_error_message(request: NotifyRequest, value: object) -> None:
    request.error_message = _text(value)


_READERS: Final[Mapping[str, Callable[[NotifyRequest, object], None]]] = {
    "message_id": _read_message_id,
    "status": _read_status,
    "result": _read_result,
    "log_lines": _read_log_lines,
    "error_message": _read_error_message,
}


def _text(value: object, *, at: str = "") -> str:
    if not isinstance(value, str):
        raise _FieldError("must be a string", at=at)
    try:
        value.encode()
    except UnicodeEncodeError:  # JSON can spell half a surrogate pair, which is no text
        raise _FieldError("must be Unicode text", at=at) from None
    return value


def _has_more_nodes(value: object, *, than: int) -> bool:
    """Looks at no more of `value` than it must: converting a huge one would keep everybody else waiting."""
    left, found = [value], 0
    while left and found <= than:
        found += 1
        match left.pop():
            case dict() as fields:
                left.extend(fields.values())
            case list() as items:
                left.extend(items)
    return found > than


def _is_too_deep(value: object, levels: int) -> bool:
    match value:
        case dict():
            return levels == 0 or any(_is_too_deep(inner, levels - 1) for inner in value.values())
        case list():
            return levels == 0 or any(_is_too_deep(inner, levels - 1) for inner in value)
        case _:
            return False
