"""Pushes as requests, and their pace."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from ostinato.localcloud.pubsub.backlog import Delivery
from ostinato.localcloud.pubsub.published_message import MessageDraft, PublishedMessage
from ostinato.localcloud.pubsub.push_pace import LARGEST_WINDOW, PushPace
from ostinato.localcloud.pubsub.push_request import PushRequest, push_request
from ostinato.localcloud.pubsub.wire_types import PushConfig

PUBLISHED = datetime(2026, 5, 1, 12, 0, 0, 250_000, tzinfo=UTC)


def request(draft: MessageDraft, config: object = None, *, tell_attempt: bool = False, token: str = "") -> PushRequest:
    delivery = Delivery("ack", PublishedMessage("17", PUBLISHED, draft, draft.size), 3)
    wanted = config or PushConfig(push_endpoint="http://127.0.0.1/x")
    return push_request(
        wanted, "projects/p/subscriptions/sub", delivery, tell_attempt=tell_attempt, authorization=token
    )


def test_what_is_empty_is_left_out() -> None:
    asked = request(MessageDraft(b"", {"a": "b"}, ""))
    assert json.loads(asked.body) == {
        "message": {
            "attributes": {"a": "b"},
            "messageId": "17",
            "message_id": "17",
            "publishTime": "2026-05-01T12:00:00.250Z",
            "publish_time": "2026-05-01T12:00:00.250Z",
        },
        "subscription": "projects/p/subscriptions/sub",
    }
    assert "Authorization" not in asked.headers


def test_all_that_a_message_has_is_in_the_wrapper() -> None:
    asked = request(MessageDraft(b"\xff", {}, "k"), tell_attempt=True, token="Bearer t")
    body = json.loads(asked.body)
    assert (body["message"]["data"], body["message"]["orderingKey"], body["deliveryAttempt"]) == ("/w==", "k", 3)
    assert "attributes" not in body["message"]
    assert (asked.url, asked.headers["Authorization"]) == ("http://127.0.0.1/x", "Bearer t")


@pytest.mark.parametrize("attributes", [{"bad name": "v"}, {"k": "line\r\nInjected: yes"}, {"ä": "v"}, {"k": "ä"}])
def test_an_attribute_that_is_no_header_stays_out_of_the_headers(attributes: dict[str, str]) -> None:
    config = PushConfig(push_endpoint="http://127.0.0.1/x", no_wrapper={"write_metadata": True})
    asked = request(MessageDraft(b"d", attributes, ""), config)
    assert asked.body == b"d"
    assert not set(attributes) & set(asked.headers)


def test_the_window_grows_with_success_and_is_halved_by_failure() -> None:
    pace = PushPace()
    for _ in range(2 * LARGEST_WINDOW):
        pace = pace.after_success()
    assert pace.window == LARGEST_WINDOW
    assert pace.after_failure().window == LARGEST_WINDOW // 2
    assert PushPace().after_failure().window == 1


def test_pauses_double_up_to_a_minute_and_end_with_a_success() -> None:
    pace, pauses = PushPace(), []
    for _ in range(12):
        pace = pace.after_failure()
        pauses.append(pace.pause() / timedelta(milliseconds=100))
    assert pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]
    assert pace.after_success().pause() == timedelta()
