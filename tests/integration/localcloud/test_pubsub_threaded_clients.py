"""The official clients that most programs use: threads, batches, leases of their own; found by PUBSUB_EMULATOR_HOST."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from google.cloud import pubsub_v1
from google.cloud.pubsub_v1.subscriber.exceptions import AcknowledgeError, AcknowledgeStatus
from google.cloud.pubsub_v1.subscriber.message import Message

from ostinato.localcloud.faults import Fault, FaultKind, FaultPlan
from tests.integration.localcloud.served_cloud_tasks import ManualClock
from tests.integration.localcloud.served_pubsub import PubSub

COUNT = 300


class Collected:
    """What arrives, and whether that is all."""

    def __init__(self, count: int, settle: Callable[[Message], object] = Message.ack) -> None:
        self.messages: list[Message] = []
        self.complete = threading.Event()
        self._count = count
        self._settle = settle

    def __call__(self, message: Message) -> None:
        self.messages.append(message)
        self._settle(message)
        if len({each.message_id for each in self.messages}) == self._count:
            self.complete.set()

    @property
    def data(self) -> list[bytes]:
        return [message.data for message in self.messages]


@contextmanager
def subscribed(subscription: str, collected: Collected) -> Iterator[None]:
    with pubsub_v1.SubscriberClient() as client:
        pull = client.subscribe(subscription, collected)
        try:
            yield
        finally:
            pull.cancel()
            pull.result(timeout=10)


def publish(topic: str, *data: bytes, key: str = "") -> list[str]:
    options = pubsub_v1.types.PublisherOptions(enable_message_ordering=bool(key))
    client = pubsub_v1.PublisherClient(publisher_options=options)
    futures = [client.publish(topic, each, ordering_key=key) for each in data]
    ids = [future.result(timeout=10) for future in futures]
    client.stop()
    client.transport.close()
    return ids


def collect(subscription: str, collected: Collected, then: Callable[[], object] = lambda: None) -> None:
    with subscribed(subscription, collected):
        assert collected.complete.wait(10)
        then()


async def test_all_that_is_published_arrives(place: PubSub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", place.address)
    await place.subscribe()
    sent = [b"%d" % number for number in range(COUNT)]
    ids = await asyncio.to_thread(publish, place.topic, *sent)
    collected = Collected(COUNT)
    await asyncio.to_thread(collect, place.subscription, collected)
    assert sorted(collected.data) == sorted(sent)
    assert {message.message_id for message in collected.messages} == set(ids)


async def test_messages_of_a_key_are_handled_in_order(place: PubSub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", place.address)
    await place.subscribe(enable_message_ordering=True)
    sent = [b"%d" % number for number in range(50)]
    await asyncio.to_thread(publish, place.topic, *sent, key="k")
    collected = Collected(50)
    await asyncio.to_thread(collect, place.subscription, collected)
    assert collected.data == sent


async def test_what_a_handler_gives_back_comes_again(place: PubSub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", place.address)
    await place.subscribe()
    seen: list[str] = []

    def settle(message: Message) -> None:
        seen.append(message.message_id)
        message.nack() if len(seen) == 1 else message.ack()

    await asyncio.to_thread(publish, place.topic, b"a", b"b")
    collected = Collected(3, settle)

    def twice() -> None:
        with subscribed(place.subscription, collected):
            while len(seen) < 3:
                collected.complete.wait(0.01)

    await asyncio.wait_for(asyncio.to_thread(twice), 10)
    assert len(set(seen)) == 2


async def test_exactly_once_answers_an_ack_with_success_or_with_why_not(
    pubsub: PubSub, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub.address)
    await pubsub.subscribe(enable_exactly_once_delivery=True)
    await pubsub.publish(b"a")
    begun: list[str] = []
    answers: list[object] = []
    expired, refused, done = (threading.Event() for _ in range(3))

    def settle(message: Message) -> None:
        begun.append(message.ack_id)
        if len(begun) == 1:
            loop.call_soon_threadsafe(clock.advance, 700)
            loop.call_soon_threadsafe(expired.set)
            expired.wait(10)
        else:
            refused.wait(10)  # a request for both would be answered for both at once
        try:
            answers.append(message.ack_with_response().result(timeout=10))
        except AcknowledgeError as error:
            answers.append(error.error_code)
        (refused if len(answers) == 1 else done).set()

    loop = asyncio.get_running_loop()

    def run() -> None:
        with subscribed(pubsub.subscription, Collected(0, settle)):
            assert done.wait(10)

    await asyncio.to_thread(run)
    assert answers == [AcknowledgeStatus.INVALID_ACK_ID, AcknowledgeStatus.SUCCESS]


async def test_a_subscriber_survives_a_stream_that_breaks(
    pubsub: PubSub, faults: FaultPlan, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Time goes on meanwhile: what a stream of the client's took with it comes again after its deadline."""
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub.address)
    await pubsub.subscribe()
    faults.add(Fault("StreamingPull", FaultKind.REFUSED, times=1))
    await pubsub.publish(b"a")
    collected = Collected(1)
    collecting = asyncio.ensure_future(asyncio.to_thread(collect, pubsub.subscription, collected))
    while not collecting.done():
        clock.advance(5)
        await asyncio.wait([collecting], timeout=0.1)
    await collecting
    assert set(collected.data) == {b"a"}
