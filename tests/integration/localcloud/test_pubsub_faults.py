"""Faults of our Pub/Sub, as a plan has them. Time is the test's."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from google.api_core import exceptions
from google.pubsub_v1 import types

from ostinato.localcloud.faults import Fault, FaultKind, FaultPlan
from tests.integration.localcloud.served_cloud_tasks import ManualClock, Target
from tests.integration.localcloud.served_pubsub import PubSub, open_stream

pytestmark = pytest.mark.filterwarnings("ignore:The return_immediately flag is deprecated")


async def test_a_publish_that_is_refused_publishes_nothing(pubsub: PubSub, faults: FaultPlan) -> None:
    await pubsub.subscribe()
    faults.add(Fault("Publish", FaultKind.REFUSED, times=1))
    with pytest.raises(exceptions.ServiceUnavailable):
        await pubsub.publish(b"a")
    assert await pubsub.pull(at_once=True) == []


async def test_a_publish_whose_answer_is_lost_has_published(pubsub: PubSub, faults: FaultPlan) -> None:
    await pubsub.subscribe()
    faults.add(Fault("Publish", FaultKind.ANSWER_LOST, times=1))
    with pytest.raises(exceptions.ServiceUnavailable):
        await pubsub.publish(b"a")
    assert len(await pubsub.pull()) == 1


async def test_an_ack_whose_answer_is_lost_may_be_repeated(pubsub: PubSub, faults: FaultPlan) -> None:
    await pubsub.subscribe()
    await pubsub.publish(b"a")
    received = await pubsub.pull()
    faults.add(Fault("Acknowledge", FaultKind.ANSWER_LOST, times=1))
    with pytest.raises(exceptions.ServiceUnavailable):
        await pubsub.acknowledge(*received)
    await pubsub.acknowledge(*received)
    assert await pubsub.pull(at_once=True) == []


async def test_a_pull_whose_answer_is_lost_has_taken_its_messages(
    pubsub: PubSub, faults: FaultPlan, clock: ManualClock
) -> None:
    await pubsub.subscribe()
    await pubsub.publish(b"a")
    faults.add(Fault("Pull", FaultKind.ANSWER_LOST, times=1))
    with pytest.raises(exceptions.ServiceUnavailable):
        await pubsub.pull()
    assert await pubsub.pull(at_once=True) == []
    clock.advance(10)
    assert len(await pubsub.pull(at_once=True)) == 1


async def test_a_message_is_delivered_twice(pubsub: PubSub, faults: FaultPlan) -> None:
    await pubsub.subscribe()
    faults.add(Fault("deliver", FaultKind.DUPLICATED, times=1))
    (message_id,) = await pubsub.publish(b"a")
    first, second = await pubsub.pull_all(2)
    assert first.message.message_id == second.message.message_id == message_id
    assert first.ack_id != second.ack_id
    await pubsub.acknowledge(first, second)
    assert await pubsub.pull(at_once=True) == []


async def test_a_message_that_is_lost_on_its_way_comes_after_its_deadline(
    pubsub: PubSub, faults: FaultPlan, clock: ManualClock
) -> None:
    await pubsub.subscribe()
    faults.add(Fault("deliver", FaultKind.REFUSED, times=1))
    await pubsub.publish(b"lost", b"found")
    (found,) = await pubsub.pull()
    assert found.message.data == b"found"
    await pubsub.acknowledge(found)
    clock.advance(10)
    (late,) = await pubsub.pull()
    assert late.message.data == b"lost"


async def test_a_slow_call_takes_its_time(pubsub: PubSub, faults: FaultPlan, clock: ManualClock) -> None:
    faults.add(Fault("Publish", FaultKind.SLOW, delay=timedelta(seconds=5)))
    publishing = asyncio.ensure_future(pubsub.publish(b"a"))
    while not publishing.done():
        clock.advance(1)
        await asyncio.sleep(0)
    assert clock.monotonic() >= 5
    assert len(publishing.result()) == 1


async def test_a_stream_is_refused(pubsub: PubSub, faults: FaultPlan) -> None:
    await pubsub.subscribe()
    faults.add(Fault("StreamingPull", FaultKind.REFUSED, times=1))
    stream = await open_stream(pubsub)
    with pytest.raises(exceptions.ServiceUnavailable):
        await stream.receive()


async def test_a_stream_that_breaks_takes_messages_along(pubsub: PubSub, faults: FaultPlan, clock: ManualClock) -> None:
    await pubsub.subscribe()
    faults.add(Fault("StreamingPull", FaultKind.ANSWER_LOST, times=1))
    stream = await open_stream(pubsub)
    await pubsub.publish(b"a")
    with pytest.raises(exceptions.ServiceUnavailable):
        await stream.receive()
    assert await pubsub.pull(at_once=True) == []
    clock.advance(10)
    assert len(await pubsub.pull(at_once=True)) == 1


@pytest.mark.parametrize(
    ("kind", "seen"), [(FaultKind.REFUSED, 1), (FaultKind.ANSWER_LOST, 2), (FaultKind.DUPLICATED, 2)]
)
async def test_pushes_suffer_faults_as_calls_do(
    pubsub: PubSub, faults: FaultPlan, clock: ManualClock, target: Target, kind: FaultKind, seen: int
) -> None:
    faults.add(Fault("push", kind, times=1))
    await pubsub.subscribe(push_config=types.PushConfig(push_endpoint=target.url))
    await pubsub.publish(b"a")
    async with asyncio.timeout(10):
        while len(target.seen) < seen:
            clock.advance(0.05)
            await asyncio.sleep(0)
    assert len(target.seen) == seen
