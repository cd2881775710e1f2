from __future__ import annotations

import json

import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given
from hypothesis import strategies as st

from ostinato.errors import InvalidArgument
from ostinato.pb.ingest.v1.notifications_pb2 import NotifyRequest
from ostinato_ingester.notification_json import parse_notification
from ostinato_ingester.notification_rules import notification_violations

RESULT = {"rows": 3.0, "ok": True, "note": "é", "nothing": None, "parts": [1.0, {"a": []}]}


def parsed(**fields: object) -> NotifyRequest:
    outcome = parse_notification(json.dumps(fields).encode())
    assert outcome.violations == ()
    return outcome.request


def rules(body: str) -> list[str]:
    return [str(violation) for violation in parse_notification(body.encode()).violations]


def test_every_field_is_read() -> None:
    request = parsed(
        message_id="m-1", status="FAILED", result=RESULT, log_lines=["one", "zwei"], error_message="no space left"
    )
    assert (request.message_id, request.status, request.error_message) == ("m-1", NotifyRequest.FAILED, "no space left")
    assert list(request.log_lines) == ["one", "zwei"]
    assert MessageToDict(request.result) == RESULT


def test_null_is_the_same_as_absent() -> None:
    request = parsed(message_id=None, status="RUNNING", result=None, log_lines=None, error_message=None)
    assert request == NotifyRequest(status=NotifyRequest.RUNNING)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="cut"),
        pytest.param(b"status=SUCCEEDED", id="form"),
        pytest.param(b'{"status": NaN}', id="NaN"),
        pytest.param(b'{"result": {"a": -Infinity}}', id="infinity"),
        pytest.param(b'\xff\xfe{"status"', id="not UTF-8"),
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param(b'{"result":' * 50_000, id="deep objects"),
    ],
)
def test_a_body_that_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidArgument, match="body: must be JSON in UTF-8"):
        parse_notification(body)


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"1", b"null"])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidArgument, match="body: must be a JSON object"):
        parse_notification(body)


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        ('{"status": 2}', "status: must be RUNNING, SUCCEEDED or FAILED"),
        ('{"status": "succeeded"}', "status: must be RUNNING, SUCCEEDED or FAILED"),
        ('{"status": ["SUCCEEDED"]}', "status: must be RUNNING, SUCCEEDED or FAILED"),
        ('{"message_id": 7}', "message_id: must be a string"),
        ('{"message_id": "\\ud800"}', "message_id: must be Unicode text"),
        ('{"error_message": {}}', "error_message: must be a string"),
        ('{"log_lines": "one"}', "log_lines: must be a list of strings"),
        ('{"log_lines": ["one", 2]}', "log_lines[1]: must be a string"),
        ('{"log_lines": ["\\udfff"]}', "log_lines[0]: must be Unicode text"),
        ('{"result": [1]}', "result: must be a JSON object"),
        ('{"result": {"a": "\\ud800"}}', "result: must contain finite numbers and Unicode text only"),
        ('{"result": {"\\ud800": 1}}', "result: must contain finite numbers and Unicode text only"),
        ('{"result": {"a": 1' + "0" * 400 + "}}", "result: must contain finite numbers and Unicode text only"),
        ('{"result": ' + '{"a": ' * 21 + "1" + "}" * 22, "result: must not be nested deeper than 20 levels"),
        ('{"result": {"a": ' + "[" * 20 + "]" * 20 + "}}", "result: must not be nested deeper than 20 levels"),
        ('{"result": {"a": [' + "1," * 40_000 + "1]}}", "result: must be at most 65536 bytes"),
        ('{"log_lines": [' + '"",' * 1000 + '""]}', "log_lines: must be at most 1000 lines"),
        (
            '{"messageId": "m"}',
            "messageId: is unknown; the fields are message_id, status, result, log_lines, error_message",
        ),
        ('{"token": "t"}', "token: is unknown; the fields are message_id, status, result, log_lines, error_message"),
    ],
)
def test_a_field_of_the_wrong_shape_is_named(body: str, rule: str) -> None:
    assert rules(body) == [rule]


def test_a_number_that_only_floats_call_infinite_is_left_to_the_rules() -> None:
    outcome = parse_notification(b'{"status": "RUNNING", "result": {"a": 1e999}}')
    assert [str(rule) for rule in notification_violations(outcome.request)] == [
        "result: must contain finite numbers only"
    ]


def test_a_long_unknown_name_is_cut() -> None:
    (violation,) = parse_notification(json.dumps({"x" * 1000: 1}).encode()).violations
    assert violation.path == "x" * 100


def test_every_unreadable_field_is_told() -> None:
    assert [rule.partition(":")[0] for rule in rules('{"status": 1, "stat": 1, "result": 1, "log_lines": [1]}')] == [
        "status",
        "stat",
        "result",
        "log_lines[0]",
    ]


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
names = st.sampled_from(["message_id", "status", "result", "log_lines", "error_message", "other"])


def paths_of_what_is_refused(body: bytes) -> set[str]:
    try:
        return {violation.path for violation in parse_notification(body).violations}
    except InvalidArgument as error:
        return {violation.path for violation in error.violations}


@given(st.dictionaries(names, json_values))
def test_whatever_the_fields_say_they_are_read_or_refused_by_name(fields: dict[str, object]) -> None:
    refused = {path.partition("[")[0] for path in paths_of_what_is_refused(json.dumps(fields).encode())}
    assert refused <= fields.keys() | {"body"}


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    assert paths_of_what_is_refused(body) <= {"body"}


def test_a_key_that_stands_twice_is_refused() -> None:
    """The last one won, silently."""
    for body in (b'{"status": "SUCCEEDED", "status": "FAILED"}', b'{"result": {"a": 1, "a": 2}}'):
        with pytest.raises(InvalidArgument, match="twice in one object"):
            parse_notification(body)
