"""What is documented of Pub/Sub and the emulator doesn't do, or only as real time passes. Time is the test's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from typing import TypeVar

import pytest
from google.api_core import exceptions
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from google.pubsub_v1 import types
from google.rpc import error_details_pb2

from ostinato.localcloud.pubsub.subscriber_methods import PULL_WAIT
from tests.integration.localcloud.served_cloud_tasks import START, ManualClock
from tests.integration.localcloud.served_pubsub import PubSub, open_stream

pytestmark = pytest.mark.filterwarnings("ignore:The return_immediately flag is deprecated")

R = TypeVar("R")


def texts(received: list[types.ReceivedMessage]) -> list[bytes]:
    return [each.message.data for each in received]


def dead_letters(pubsub: PubSub, attempts: int = 5) -> types.DeadLetterPolicy:
    return types.DeadLetterPolicy(dead_letter_topic=pubsub.topic_name("dead"), max_delivery_attempts=attempts)


async def passing(clock: ManualClock, answer: Awaitable[R], step: float) -> R:
    """The answer, while time passes step by step."""
    waiting = asyncio.ensure_future(answer)
    while not waiting.done():
        clock.advance(step)
        await asyncio.sleep(0)
    return waiting.result()


async def test_what_comes_again_brings_all_behind_it_in_order(pubsub: PubSub) -> None:
    await pubsub.subscribe(enable_message_ordering=True)
    await pubsub.publish(*[b"%d" % number for number in range(3)], key="k")
    received = await pubsub.pull_all(1)
    await pubsub.nack(received[0])
    seen: list[bytes] = []
    while len(seen) < 3:
        again = await pubsub.pull()
        seen += texts(again)
        await pubsub.acknowledge(*again)
    assert seen == [b"0", b"1", b"2"]


async def test_a_filter_lets_through_what_matches(pubsub: PubSub) -> None:
    await pubsub.subscribe(filter='attributes.kind = "a" AND NOT hasPrefix(attributes.name, "x")')
    await pubsub.publish(b"1", kind="a", name="n")
    await pubsub.publish(b"2", kind="b", name="n")
    await pubsub.publish(b"3", kind="a", name="xn")
    await pubsub.publish(b"4", kind="a")
    assert sorted(texts(await pubsub.pull_all(2))) == [b"1", b"4"]
    assert await pubsub.pull(at_once=True) == []


async def test_a_stream_gets_no_more_than_it_asked_to_hold(pubsub: PubSub) -> None:
    await pubsub.subscribe()
    await pubsub.publish(*[b"%d" % number for number in range(4)])
    stream = await open_stream(pubsub, max_outstanding_messages=2)
    held = await stream.receive()
    while len(held) < 2:
        held += await stream.receive()
    assert len(held) == 2
    assert len(await pubsub.pull_all(2)) == 2  # the others were left for others
    await pubsub.acknowledge(*held)
    await pubsub.publish(b"4", b"5")
    more = await stream.receive()
    while len(more) < 2:
        more += await stream.receive()
    assert len(more) == 2
    stream.close()


async def test_a_stream_that_holds_enough_bytes_gets_no_more(pubsub: PubSub) -> None:
    await pubsub.subscribe()
    await pubsub.publish(b"12345", b"67890", b"more")
    stream = await open_stream(pubsub, max_outstanding_bytes=8)
    assert texts(await stream.receive()) == [b"12345", b"67890"]
    assert texts(await pubsub.pull()) == [b"more"]
    stream.close()


async def test_a_stream_that_comes_back_goes_on_with_what_its_client_holds(pubsub: PubSub) -> None:
    await pubsub.subscribe()
    await pubsub.publish(b"a", b"b")
    settings = {"client_id": "c", "max_outstanding_messages": 1}
    stream = await open_stream(pubsub, **settings)
    (held,) = await stream.receive()
    stream.close()
    assert await stream.receive() == []
    stream = await open_stream(pubsub, **settings)
    assert texts(await pubsub.pull()) == [b"b"]
    await pubsub.publish(b"c")
    await pubsub.acknowledge(held)
    assert texts(await stream.receive()) == [b"c"]
    stream.close()


@pytest.mark.parametrize(
    "further",
    [{"client_id": "c"}, {"max_outstanding_messages": 3}, {"max_outstanding_bytes": 3}, {"protocol_version": 1}],
)
async def test_what_only_begins_a_stream_ends_one_that_has_begun(pubsub: PubSub, further: dict[str, object]) -> None:
    await pubsub.subscribe()
    stream = await open_stream(pubsub)
    stream.write(**further)
    with pytest.raises(exceptions.InvalidArgument, match="only be set in the first"):
        await stream.receive()


async def test_a_stream_ends_with_its_subscription(pubsub: PubSub) -> None:
    await pubsub.subscribe()
    stream = await open_stream(pubsub)
    await pubsub.publish(b"a")
    await stream.receive()
    await pubsub.subscriber.delete_subscription(subscription=pubsub.subscription)
    with pytest.raises(exceptions.NotFound):
        await stream.receive()


async def test_a_pull_that_finds_nothing_is_answered_after_a_while(pubsub: PubSub, clock: ManualClock) -> None:
    await pubsub.subscribe()
    assert await passing(clock, pubsub.pull(), 1) == []
    assert clock.monotonic() >= PULL_WAIT.total_seconds()


async def test_a_message_comes_again_when_its_deadline_is_over_and_not_before(
    pubsub: PubSub, clock: ManualClock
) -> None:
    await pubsub.subscribe(ack_deadline_seconds=20)
    await pubsub.publish(b"a")
    (first,) = await pubsub.pull()
    clock.advance(19.9)
    assert await pubsub.pull(at_once=True) == []
    clock.advance(0.1)
    (second,) = await pubsub.pull(at_once=True)
    assert second.message == first.message
    assert second.ack_id != first.ack_id


async def test_a_stream_hears_of_a_deadline_that_is_over(pubsub: PubSub, clock: ManualClock) -> None:
    await pubsub.subscribe()
    await pubsub.publish(b"a")
    stream = await open_stream(pubsub, stream_ack_deadline_seconds=30)
    await stream.receive()
    assert texts(await passing(clock, stream.receive(), 1)) == [b"a"]
    assert clock.monotonic() >= 30
    stream.close()


async def test_a_deadline_is_extended_from_the_moment_of_the_call(pubsub: PubSub, clock: ManualClock) -> None:
    await pubsub.subscribe()
    await pubsub.publish(b"a")
    (held,) = await pubsub.pull()
    clock.advance(9)
    await pubsub.extend(held, seconds=60)
    clock.advance(59.9)
    assert await pubsub.pull(at_once=True) == []
    await pubsub.extend(held, seconds=10)
    clock.advance(10)
    assert texts(await pubsub.pull(at_once=True)) == [b"a"]


async def test_a_retry_policy_makes_a_message_wait_longer_each_time(pubsub: PubSub, clock: ManualClock) -> None:
    policy = types.RetryPolicy(minimum_backoff=Duration(seconds=5), maximum_backoff=Duration(seconds=15))
    await pubsub.subscribe(retry_policy=policy)
    await pubsub.publish(b"a")
    (received,) = await pubsub.pull()
    for wait in (5, 10, 15, 15):
        await pubsub.nack(received)
        clock.advance(wait - 0.1)
        assert await pubsub.pull(at_once=True) == []
        clock.advance(0.1)
        (received,) = await pubsub.pull(at_once=True)


async def test_a_message_that_fails_too_often_becomes_a_dead_letter(pubsub: PubSub, clock: ManualClock) -> None:
    await pubsub.publisher.create_topic(name=pubsub.topic_name("dead"))
    await pubsub.subscribe("dead", topic=pubsub.topic_name("dead"))
    await pubsub.subscribe(dead_letter_policy=dead_letters(pubsub))
    (message_id,) = await pubsub.publish(b"poison", a="b")
    for attempt in range(1, 6):
        (received,) = await pubsub.pull()
        assert received.delivery_attempt == attempt
        await pubsub.nack(received) if attempt < 3 else clock.advance(10)
    assert await pubsub.pull(at_once=True) == []
    (dead,) = await pubsub.pull("dead")
    assert (dead.message.data, dead.delivery_attempt) == (b"poison", 0)
    assert dead.message.message_id != message_id
    assert dict(dead.message.attributes) == {
        "a": "b",
        "CloudPubSubDeadLetterSourceDeliveryCount": "5",
        "CloudPubSubDeadLetterSourceSubscription": pubsub.subscription.rpartition("/")[2],
        "CloudPubSubDeadLetterSourceSubscriptionProject": "proj",
        "CloudPubSubDeadLetterSourceTopicPublishTime": "2026-05-01T12:00:00.250+00:00",
    }


async def test_a_dead_letter_is_forwarded_although_nobody_pulls_any_more(pubsub: PubSub, clock: ManualClock) -> None:
    await pubsub.publisher.create_topic(name=pubsub.topic_name("dead"))
    await pubsub.subscribe("dead", topic=pubsub.topic_name("dead"))
    await pubsub.subscribe(dead_letter_policy=dead_letters(pubsub))
    await pubsub.publish(b"poison")
    for _ in range(5):
        await pubsub.pull()
        clock.advance(10)
    assert texts(await pubsub.pull("dead")) == [b"poison"]


async def test_without_a_dead_letter_topic_a_message_goes_on_being_delivered(pubsub: PubSub) -> None:
    await pubsub.publisher.create_topic(name=pubsub.topic_name("dead"))
    await pubsub.subscribe(dead_letter_policy=dead_letters(pubsub))
    await pubsub.publisher.delete_topic(topic=pubsub.topic_name("dead"))
    await pubsub.publish(b"poison")
    for attempt in range(1, 9):
        (received,) = await pubsub.pull()
        assert received.delivery_attempt == attempt
        await pubsub.nack(received)


async def test_what_nobody_took_is_forgotten_after_its_retention(pubsub: PubSub, clock: ManualClock) -> None:
    await pubsub.subscribe(message_retention_duration=Duration(seconds=600))
    await pubsub.publish(b"old")
    clock.advance(599)
    await pubsub.publish(b"new")
    clock.advance(1)
    assert texts(await pubsub.pull(at_once=True)) == [b"new"]


async def test_exactly_once_says_of_each_ack_whether_it_counted(pubsub: PubSub, clock: ManualClock) -> None:
    await pubsub.subscribe(enable_exactly_once_delivery=True)
    await pubsub.publish(b"a", b"b")
    late, timely = await pubsub.pull()
    await pubsub.extend(timely, seconds=60)
    clock.advance(10)
    for call in (pubsub.acknowledge(late, timely), pubsub.nack(late)):
        with pytest.raises(exceptions.InvalidArgument) as raised:
            await call
        (info,) = raised.value.details
        assert isinstance(info, error_details_pb2.ErrorInfo)
        assert dict(info.metadata) == {late.ack_id: "PERMANENT_FAILURE_INVALID_ACK_ID"}
    (again,) = await pubsub.pull(at_once=True)
    assert again.message == late.message
    await pubsub.acknowledge(again)


async def test_a_seek_acknowledges_what_is_older_and_brings_back_what_is_kept(
    pubsub: PubSub, clock: ManualClock
) -> None:
    await pubsub.subscribe(retain_acked_messages=True)
    await pubsub.publish(b"1")
    await pubsub.acknowledge(*await pubsub.pull())
    clock.advance(1)
    await pubsub.publish(b"2", b"3")
    await pubsub.acknowledge((await pubsub.pull(most=1))[0])
    await seek(pubsub, 0.5)
    assert texts(await pubsub.pull(at_once=True)) == [b"2", b"3"]
    await seek(pubsub, 2)
    assert await pubsub.pull(at_once=True) == []
    await seek(pubsub, 0)
    assert texts(await pubsub.pull(at_once=True)) == [b"1", b"2", b"3"]


async def seek(pubsub: PubSub, seconds: float) -> None:
    stamp = Timestamp()
    stamp.FromDatetime(START + timedelta(seconds=seconds))
    request = types.SeekRequest(subscription=pubsub.subscription, time=stamp)
    await pubsub.subscriber.seek(request=request, retry=None)


async def test_a_seek_to_a_snapshot_finds_none(pubsub: PubSub) -> None:
    await pubsub.subscribe()
    request = types.SeekRequest(subscription=pubsub.subscription, snapshot="projects/proj/snapshots/one")
    with pytest.raises(exceptions.NotFound):
        await pubsub.subscriber.seek(request=request, retry=None)


async def test_an_update_of_labels_replaces_them(pubsub: PubSub) -> None:
    changed = types.Topic(name=pubsub.topic, labels={"new": "1"})
    updated = await pubsub.publisher.update_topic(topic=changed, update_mask={"paths": ["labels"]}, retry=None)
    assert dict(updated.labels) == {"new": "1"}
    for paths in ([], ["name"], ["nonsense"]):
        with pytest.raises(exceptions.InvalidArgument, match="update_mask"):
            await pubsub.publisher.update_topic(topic=changed, update_mask={"paths": paths}, retry=None)


@pytest.mark.parametrize(
    ("message", "rule"),
    [
        (types.PubsubMessage(data=b"x" * 10_000_001), "10000000 bytes"),
        (types.PubsubMessage(attributes={f"k{number}": "v" for number in range(101)}), "100 attributes"),
        (types.PubsubMessage(attributes={"k" * 257: "v"}), "1 to 256 bytes"),
        (types.PubsubMessage(attributes={"": "v"}), "1 to 256 bytes"),
        (types.PubsubMessage(attributes={"k": "v" * 1025}), "at most 1024 bytes"),
        (types.PubsubMessage(attributes={"google": "v"}), "must not begin with goog"),
        (types.PubsubMessage(data=b"x", ordering_key="k" * 1025), "ordering_key must be at most 1024 bytes"),
    ],
)
async def test_a_message_over_a_limit_is_refused(pubsub: PubSub, message: types.PubsubMessage, rule: str) -> None:
    with pytest.raises(exceptions.InvalidArgument, match=rule):
        await pubsub.publisher.publish(topic=pubsub.topic, messages=[message], retry=None)


async def test_one_publish_has_one_ordering_key(pubsub: PubSub) -> None:
    messages = [types.PubsubMessage(data=b"x", ordering_key=key) for key in ("k", "l")]
    with pytest.raises(exceptions.InvalidArgument, match="same ordering_key"):
        await pubsub.publisher.publish(topic=pubsub.topic, messages=messages, retry=None)


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"ack_deadline_seconds": 9}, "ack_deadline_seconds"),
        ({"expiration_policy": types.ExpirationPolicy(ttl=Duration(seconds=10))}, "expiration_policy.ttl"),
        ({"filter": "nonsense"}, "filter"),
        ({"bigquery_config": types.BigQueryConfig(table="p.d.t")}, "bigquery_config"),
        ({"detached": True}, "detached"),
    ],
)
async def test_what_a_subscription_can_not_be_is_refused_by_name(
    pubsub: PubSub, config: dict[str, object], field: str
) -> None:
    with pytest.raises(exceptions.InvalidArgument, match=field):
        await pubsub.subscribe(**config)


async def test_a_page_token_of_another_list_is_refused(pubsub: PubSub) -> None:
    for name in ("one", "two"):
        await pubsub.subscribe(name)
    request = types.ListSubscriptionsRequest(project="projects/proj", page_size=1)
    token = (await pubsub.subscriber.list_subscriptions(request=request)).next_page_token
    assert token
    with pytest.raises(exceptions.InvalidArgument, match="page_token"):
        await pubsub.publisher.list_topic_subscriptions(request={"topic": pubsub.topic, "page_token": token})
