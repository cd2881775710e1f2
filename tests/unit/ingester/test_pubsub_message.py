from __future__ import annotations

import base64
import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato.errors import InvalidArgument
from ostinato.pb.ingest.v1.notifications_pb2 import NotifyRequest
from ostinato_ingester.pubsub_message import PubSubMessage, parse_push, read_report, without_token


def message(body: object = None, **attributes: str) -> PubSubMessage:
    data = body if isinstance(body, bytes) else json.dumps({"status": "RUNNING"} if body is None else body).encode()
    return PubSubMessage("17", data, attributes)


def rules(body: object, **attributes: str) -> list[str]:
    return [str(violation) for violation in read_report(message(body, **attributes)).violations]


def push(**fields: object) -> bytes:
    return json.dumps({"message": {"messageId": "17", "data": base64.b64encode(b"{}").decode()} | fields}).encode()


def refused(body: bytes) -> list[str]:
    with pytest.raises(InvalidArgument) as caught:
        parse_push(body)
    return [violation.path for violation in caught.value.violations]


def test_a_token_is_an_attribute_or_a_field() -> None:
    assert read_report(message(notification_token="t")).token == "t"
    assert read_report(message({"status": "RUNNING", "token": "t"})).token == "t"
    assert read_report(message({"status": "RUNNING", "token": "t"}, notification_token="t")).token == "t"
    assert read_report(message()).token == ""
    assert read_report(message({"status": "RUNNING", "token": None})).token == ""


def test_a_report_without_an_id_has_the_messages() -> None:
    report = read_report(message({"status": "FAILED", "error_message": "disk full"}))
    assert report.request == NotifyRequest(
        message_id="pubsub:17", status=NotifyRequest.FAILED, error_message="disk full"
    )
    assert read_report(message({"status": "FAILED", "message_id": "m"})).request.message_id == "m"


def test_two_different_tokens_are_refused() -> None:
    (rule,) = rules({"status": "RUNNING", "token": "a"}, notification_token="b")
    assert rule.startswith("token: must be the same")
    assert rules({"token": 7}) == ["token: must be a string"]


def test_data_that_is_no_report_is_refused_by_the_field() -> None:
    for data in (b"", b"[]", b"\xff", b'{"a": 1, "a": 1}'):
        with pytest.raises(InvalidArgument, match=r"^data: "):
            read_report(message(data))
    assert rules({"status": "DONE", "stats": 1})[0].startswith("status: ")


def test_a_push_is_read_and_what_pubsub_may_add_is_passed_over() -> None:
    body = push(attributes={"a": "b"}, publishTime="2026-07-01T12:00:00Z", orderingKey="k")
    body = json.dumps(json.loads(body) | {"subscription": "projects/p/subscriptions/s", "deliveryAttempt": 5}).encode()
    assert parse_push(body) == PubSubMessage("17", b"{}", {"a": "b"})
    assert parse_push(push(data=None, attributes=None)) == PubSubMessage("17", b"", {})


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b"", ["body"]),
        (b"[]", ["body"]),
        (b"{}", ["message"]),
        (b'{"message": "x"}', ["message"]),
        (push(messageId=None), ["message.messageId"]),
        (push(messageId=""), ["message.messageId"]),
        (push(messageId=17), ["message.messageId"]),
        (push(messageId="\ud800"), ["message.messageId"]),
        (push(data="{}"), ["message.data"]),
        (push(data="e30"), ["message.data"]),
        (push(data="ä"), ["message.data"]),
        (push(data=[1]), ["message.data"]),
        (push(attributes=["a"]), ["message.attributes"]),
        (push(attributes={"a": 1}), ["message.attributes"]),
        (push(attributes={"a": "\udfff"}), ["message.attributes"]),
        (push(messageId=0, data=1, attributes=2), ["message.messageId", "message.attributes", "message.data"]),
    ],
)
def test_what_is_no_push_is_refused_with_every_field(body: bytes, fields: list[str]) -> None:
    assert refused(body) == fields


@given(st.binary(max_size=300))
def test_whatever_bytes_come_are_read_or_refused(body: bytes) -> None:
    with suppress(InvalidArgument):
        assert parse_push(body).message_id


def test_people_see_a_message_without_its_token() -> None:
    shown = without_token(
        message(b'{"t\\u006fken": "secret", "status": "RUNNING"}', notification_token="secret", a="b")
    )
    assert b"secret" not in shown.data
    assert json.loads(shown.data) == {"token": "***", "status": "RUNNING"}
    assert shown.attributes == {"notification_token": "***", "a": "b"}
    for data in (b"no JSON", b'{"status": "RUNNING"}', b"\xff"):
        assert without_token(message(data)).data == data


def test_half_a_character_in_what_is_shown_does_no_harm() -> None:
    assert without_token(message(b'{"token": "s", "a": "\\ud800"}')).data == b'{"token": "***", "a": "?"}'
