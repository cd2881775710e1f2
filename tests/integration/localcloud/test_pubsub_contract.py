"""What the official clients are promised, tried on our Pub/Sub and, where it is installed, on Google's emulator."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from google.api_core import exceptions
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.pubsub_v1 import types

from tests.integration.localcloud.served_cloud_tasks import Target, statuses
from tests.integration.localcloud.served_pubsub import PROJECT, PubSub, open_stream, until

# How a test asks whether there is anything, without waiting.
pytestmark = pytest.mark.filterwarnings("ignore:The return_immediately flag is deprecated")


def seconds(count: int) -> Duration:
    return Duration(seconds=count)


def texts(received: list[types.ReceivedMessage]) -> list[bytes]:
    return [each.message.data for each in received]


@pytest.mark.parametrize("name", ["t1", "1abc", "googabc", "ab c", "a" * 256, "", "a/b"])
async def test_a_name_that_breaks_the_rules_is_refused(place: PubSub, name: str) -> None:
    with pytest.raises(exceptions.InvalidArgument, match=r"Invalid .* name"):
        await place.publisher.create_topic(name=f"{PROJECT}/topics/{name}", retry=None)
    with pytest.raises(exceptions.InvalidArgument, match=r"Invalid .* name"):
        await place.subscriber.create_subscription(
            name=f"{PROJECT}/subscriptions/{name}", topic=place.topic, retry=None
        )


async def test_the_longest_name_is_taken(place: PubSub) -> None:
    name = f"{PROJECT}/topics/{place.mark:a<255}".replace("/topics/", "/topics/a")[: len(PROJECT) + 8 + 255]
    assert (await place.publisher.create_topic(name=name)).name == name


async def test_the_life_of_a_topic(place: PubSub) -> None:
    name = place.topic_name("other")
    made = await place.publisher.create_topic(request=types.Topic(name=name, labels={"a": "b"}), retry=None)
    assert (made.name, dict(made.labels)) == (name, {"a": "b"})
    with pytest.raises(exceptions.AlreadyExists):
        await place.publisher.create_topic(name=name, retry=None)
    assert dict((await place.publisher.get_topic(topic=name)).labels) == {"a": "b"}
    assert {place.topic, name} <= {topic.name async for topic in await place.publisher.list_topics(project=PROJECT)}
    await place.publisher.delete_topic(topic=name)
    for call in (place.publisher.get_topic, place.publisher.delete_topic):
        with pytest.raises(exceptions.NotFound):
            await call(topic=name, retry=None)
    with pytest.raises(exceptions.NotFound):
        await place.publish(b"x", topic=name)


async def test_a_list_comes_in_pages(place: PubSub) -> None:
    for index in range(5):
        await place.subscribe(f"sub{index}")
    request = types.ListSubscriptionsRequest(project=PROJECT, page_size=2)
    pages = await place.subscriber.list_subscriptions(request=request)
    listed = [each.name async for each in pages]
    assert {place.subscription_name(f"sub{index}") for index in range(5)} <= set(listed)
    assert len(listed) == len(set(listed))
    attached = await place.publisher.list_topic_subscriptions(topic=place.topic)
    assert [each async for each in attached] == [place.subscription_name(f"sub{index}") for index in range(5)]


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [types.PubsubMessage()],
        [types.PubsubMessage(data=b"x"), types.PubsubMessage()],
        [types.PubsubMessage(data=b"x")] * 1001,
    ],
)
async def test_a_publish_that_breaks_the_rules_publishes_nothing(
    place: PubSub, messages: list[types.PubsubMessage]
) -> None:
    await place.subscribe()
    with pytest.raises(exceptions.InvalidArgument):
        await place.publisher.publish(topic=place.topic, messages=messages, retry=None)
    assert await place.pull(at_once=True) == []


async def test_a_message_arrives_as_it_was_published(place: PubSub) -> None:
    await place.subscribe(enable_message_ordering=True)
    before = datetime.now(UTC) - timedelta(seconds=1)
    (message_id,) = await place.publish("käse".encode(), key="k", a="b", empty="")
    (received,) = await place.pull()
    message = received.message
    assert (message.data.decode(), dict(message.attributes)) == ("käse", {"a": "b", "empty": ""})
    assert (message.ordering_key, message.message_id) == ("k", message_id)
    assert before < message.publish_time < datetime.now(UTC) + timedelta(seconds=1)
    assert received.delivery_attempt == 0


async def test_ids_of_messages_are_all_different(place: PubSub) -> None:
    ids = [each for _ in range(3) for each in await place.publish(*[b"x"] * 100)]
    assert len(set(ids)) == 300


async def test_a_subscription_says_what_it_was_not_told(place: PubSub) -> None:
    made = await place.subscribe()
    assert (made.ack_deadline_seconds, made.message_retention_duration) == (10, timedelta(days=7))
    assert made == await place.subscriber.get_subscription(subscription=place.subscription)
    with pytest.raises(exceptions.AlreadyExists):
        await place.subscribe()
    retry = (await place.subscribe("retry", retry_policy=types.RetryPolicy())).retry_policy
    assert (retry.minimum_backoff, retry.maximum_backoff) == (timedelta(seconds=10), timedelta(seconds=600))
    policy = types.DeadLetterPolicy(dead_letter_topic=place.topic)
    assert (await place.subscribe("dead", dead_letter_policy=policy)).dead_letter_policy.max_delivery_attempts == 5


@pytest.mark.parametrize(
    ("config", "error"),
    [
        ({"topic": f"{PROJECT}/topics/nowhere"}, exceptions.NotFound),
        ({"ack_deadline_seconds": 601}, exceptions.InvalidArgument),
        ({"ack_deadline_seconds": -1}, exceptions.InvalidArgument),
        ({"message_retention_duration": seconds(599)}, exceptions.InvalidArgument),
        ({"message_retention_duration": seconds(31 * 86400 + 1)}, exceptions.InvalidArgument),
        (
            {"dead_letter_policy": types.DeadLetterPolicy(dead_letter_topic=f"{PROJECT}/topics/nowhere")},
            exceptions.NotFound,
        ),
        (
            {"retry_policy": types.RetryPolicy(minimum_backoff=seconds(5), maximum_backoff=seconds(2))},
            exceptions.InvalidArgument,
        ),
        ({"retry_policy": types.RetryPolicy(maximum_backoff=seconds(601))}, exceptions.InvalidArgument),
        ({"push_config": types.PushConfig(push_endpoint="nowhere")}, exceptions.InvalidArgument),
    ],
)
async def test_a_subscription_that_breaks_a_rule_is_refused(
    place: PubSub, config: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        await place.subscribe(**config)
    with pytest.raises(exceptions.NotFound):
        await place.subscriber.get_subscription(subscription=place.subscription, retry=None)


async def test_an_update_changes_what_its_mask_names(place: PubSub) -> None:
    await place.subscribe(labels={"a": "b"})
    changed = types.Subscription(name=place.subscription, topic=place.topic, ack_deadline_seconds=20)
    update = {"subscription": changed, "update_mask": FieldMask(paths=["ack_deadline_seconds"])}
    updated = await place.subscriber.update_subscription(**update, retry=None)
    assert (updated.ack_deadline_seconds, dict(updated.labels)) == (20, {"a": "b"})


@pytest.mark.parametrize("paths", [[], ["nonsense"], ["topic"], ["name"], ["filter"], ["enable_message_ordering"]])
async def test_a_mask_that_names_nothing_changeable_is_refused(place: PubSub, paths: list[str]) -> None:
    made = await place.subscribe()
    with pytest.raises(exceptions.InvalidArgument):
        await place.subscriber.update_subscription(subscription=made, update_mask=FieldMask(paths=paths), retry=None)


async def test_each_subscription_gets_what_was_published_after_it(place: PubSub) -> None:
    await place.publish(b"early")
    await place.subscribe("one")
    await place.subscribe("two")
    await place.publish(b"a", b"b")
    for name in ("one", "two"):
        assert sorted(texts(await place.pull_all(2, name))) == [b"a", b"b"]


async def test_what_is_acknowledged_does_not_come_again_and_what_is_given_back_does(place: PubSub) -> None:
    await place.subscribe()
    await place.publish(b"a", b"b")
    first, second = sorted(await place.pull_all(2), key=lambda each: each.message.data)
    await place.acknowledge(first)
    await place.nack(second)
    (again,) = await place.pull()
    assert again.message.data == b"b"
    assert again.message.message_id == second.message.message_id
    await place.acknowledge(again)
    await place.acknowledge(again)
    assert await place.pull(at_once=True) == []


async def test_an_ack_id_is_of_one_delivery(place: PubSub) -> None:
    await place.subscribe()
    await place.publish(b"a")
    (first,) = await place.pull()
    await place.nack(first)
    (second,) = await place.pull()
    await place.acknowledge(first)
    await place.nack(second)
    assert texts(await place.pull()) == [b"a"]


async def test_no_pull_brings_what_another_holds(place: PubSub) -> None:
    await place.subscribe()
    await place.publish(b"a", b"b", b"c")
    first = await place.pull(most=2)
    second = await place.pull_all(3 - len(first))
    assert sorted(texts(first + second)) == [b"a", b"b", b"c"]
    assert await place.pull(at_once=True) == []


async def test_a_pull_waits_for_a_message(place: PubSub) -> None:
    await place.subscribe()
    pulling = asyncio.ensure_future(place.pull_all(1))
    await place.publish(b"a")
    assert texts(await pulling) == [b"a"]


async def test_calls_that_make_no_sense_are_refused(place: PubSub) -> None:
    await place.subscribe()
    subscriber, name, nowhere = place.subscriber, place.subscription, f"{PROJECT}/subscriptions/nowhere"
    for call in (
        subscriber.pull(subscription=name, max_messages=0, retry=None),
        subscriber.acknowledge(subscription=name, ack_ids=["nonsense"], retry=None),
        subscriber.acknowledge(subscription=name, ack_ids=[], retry=None),
        subscriber.modify_ack_deadline(subscription=name, ack_ids=[], ack_deadline_seconds=10, retry=None),
        subscriber.modify_ack_deadline(subscription=name, ack_ids=["nonsense"], ack_deadline_seconds=-1, retry=None),
    ):
        with pytest.raises(exceptions.InvalidArgument):
            await call
    for call in (
        subscriber.pull(subscription=nowhere, max_messages=1, retry=None),
        subscriber.acknowledge(subscription=nowhere, ack_ids=["x"], retry=None),
        subscriber.delete_subscription(subscription=nowhere, retry=None),
    ):
        with pytest.raises(exceptions.NotFound):
            await call


async def test_a_subscription_outlives_its_topic_and_keeps_its_messages(place: PubSub) -> None:
    await place.subscribe()
    await place.publish(b"a")
    await place.publisher.delete_topic(topic=place.topic)
    kept = await place.subscriber.get_subscription(subscription=place.subscription)
    assert kept.topic == "_deleted-topic_"
    assert texts(await place.pull()) == [b"a"]
    await place.subscriber.delete_subscription(subscription=place.subscription)


async def test_messages_of_a_key_come_in_order_and_wait_for_those_before(place: PubSub) -> None:
    await place.subscribe(enable_message_ordering=True)
    await place.publish(*[b"%d" % number for number in range(3)], key="k")
    seen = []
    while len(seen) < 3:
        received = await place.pull(most=2)
        assert await place.pull(at_once=True) == []
        seen += texts(received)
        await place.acknowledge(*received)
    assert seen == [b"0", b"1", b"2"]


async def test_a_stream_brings_messages_and_takes_acknowledgements(place: PubSub) -> None:
    await place.subscribe()
    stream = await open_stream(place)
    await place.publish(b"a")
    (received,) = await stream.receive()
    assert received.message.data == b"a"
    stream.write(modify_deadline_ack_ids=[received.ack_id], modify_deadline_seconds=[0])
    (again,) = await stream.receive()
    assert again.message.message_id == received.message.message_id
    stream.write(ack_ids=[again.ack_id])
    await place.publish(b"b")
    (last,) = await stream.receive()
    assert last.message.data == b"b"
    await place.acknowledge(last)
    stream.close()
    assert await stream.receive() == []
    assert await place.pull(at_once=True) == []


async def test_a_stream_tells_what_its_subscription_is(place: PubSub) -> None:
    await place.subscribe(enable_message_ordering=True, enable_exactly_once_delivery=True)
    stream = await open_stream(place)
    await place.publish(b"a")
    response = await anext(aiter(stream.responses))
    assert response.subscription_properties.message_ordering_enabled
    assert response.subscription_properties.exactly_once_delivery_enabled
    stream.close()


@pytest.mark.parametrize(
    ("first", "further"),
    [
        ({"stream_ack_deadline_seconds": 0}, {}),
        ({"stream_ack_deadline_seconds": 9}, {}),
        ({"stream_ack_deadline_seconds": 601}, {}),
        ({"subscription": ""}, {}),
        ({}, {"subscription": f"{PROJECT}/subscriptions/other"}),
        ({}, {"ack_ids": ["nonsense"]}),
        ({}, {"modify_deadline_ack_ids": ["a"]}),
        ({}, {"stream_ack_deadline_seconds": 3}),
    ],
)
async def test_a_stream_that_breaks_a_rule_is_ended(
    place: PubSub, first: dict[str, object], further: dict[str, object]
) -> None:
    await place.subscribe()
    stream = await open_stream(place, **first)
    if further:
        stream.write(**further)
    with pytest.raises(exceptions.InvalidArgument):
        await stream.receive()
    stream.close()


async def test_streams_need_a_subscription_that_is_pulled(place: PubSub, target: Target) -> None:
    stream = await open_stream(place)
    with pytest.raises(exceptions.NotFound):
        await stream.receive()
    stream.close()
    await place.subscribe(push_config=types.PushConfig(push_endpoint=target.url))
    stream = await open_stream(place)
    with pytest.raises(exceptions.FailedPrecondition):
        await stream.receive()
    stream.close()


async def test_a_push_is_wrapped_in_json_and_repeated_until_it_is_acknowledged(place: PubSub, target: Target) -> None:
    target.answer = statuses(500, 204)
    await place.subscribe(push_config=types.PushConfig(push_endpoint=f"{target.url}/push?kind=k"))
    (message_id,) = await place.publish(b"data", a="b")

    async def repeated() -> bool:
        return len(target.seen) == 2

    await until(repeated)
    first, second = target.seen
    assert (second.method, second.path) == ("POST", "/push?kind=k")
    assert second.headers["Content-Type"] == "application/json"
    assert json.loads(first.body) == json.loads(second.body)
    body = json.loads(second.body)
    assert body["subscription"] == place.subscription
    message = body["message"]
    assert (base64.b64decode(message["data"]), message["attributes"]) == (b"data", {"a": "b"})
    assert message["messageId"] == message["message_id"] == message_id
    assert datetime.fromisoformat(message["publishTime"]).tzinfo is not None


async def test_a_subscription_changes_from_push_to_pull_and_back(place: PubSub, target: Target) -> None:
    await place.subscribe(push_config=types.PushConfig(push_endpoint=target.url))
    change = place.subscriber.modify_push_config
    await change(subscription=place.subscription, push_config=types.PushConfig())
    await place.publish(b"a")
    (received,) = await place.pull_all(1)
    await place.acknowledge(received)
    assert target.seen == []
    await change(subscription=place.subscription, push_config=types.PushConfig(push_endpoint=target.url))
    await place.publish(b"b")
    await asyncio.wait_for(target.arrived.wait(), 10)
    assert base64.b64decode(json.loads(target.seen[0].body)["message"]["data"]) == b"b"
