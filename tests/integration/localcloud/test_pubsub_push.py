"""Pushes of our Pub/Sub: what they carry, when they are repeated, and how fast they come. Time is the test's."""

from __future__ import annotations

import asyncio
import base64
import json
from itertools import pairwise

import jwt
import pytest
from aiohttp import web
from google.api_core import exceptions
from google.protobuf.duration_pb2 import Duration
from google.pubsub_v1 import types

from ostinato.localcloud.tokens import ALGORITHM, TokenIssuer
from tests.integration.localcloud.served_cloud_tasks import START, ManualClock, Target, statuses
from tests.integration.localcloud.served_pubsub import PubSub


def push_to(target: Target, **config: object) -> types.PushConfig:
    return types.PushConfig(push_endpoint=f"{target.url}/push", **config)


def pushed(target: Target) -> list[bytes]:
    return [base64.b64decode(json.loads(seen.body)["message"]["data"]) for seen in target.seen]


async def arrived(target: Target, count: int, clock: ManualClock | None = None) -> None:
    """Time passes meanwhile, if a clock is given."""
    async with asyncio.timeout(10):
        while len(target.seen) < count:
            if clock:
                clock.advance(0.01)
            await asyncio.sleep(0)


@pytest.mark.parametrize("audience", ["", "https://ingester.example"])
async def test_a_push_carries_a_token_for_its_audience(
    pubsub: PubSub, target: Target, tokens: TokenIssuer, audience: str
) -> None:
    oidc = types.PushConfig.OidcToken(service_account_email="a@p.example", audience=audience)
    await pubsub.subscribe(push_config=push_to(target, oidc_token=oidc))
    await pubsub.publish(b"x")
    await arrived(target, 1)
    kind, _, token = target.seen[0].headers["Authorization"].partition(" ")
    assert kind == "Bearer"
    key = jwt.PyJWKSet.from_dict(tokens.jwks())[jwt.get_unverified_header(token)["kid"]]
    expected = audience or f"{target.url}/push"
    options = {"verify_exp": False, "verify_iat": False}
    claims = jwt.decode(token, key, algorithms=[ALGORITHM], audience=expected, issuer=tokens.issuer, options=options)
    assert (claims["email"], claims["email_verified"], claims["iat"]) == ("a@p.example", True, int(START.timestamp()))


async def test_an_unwrapped_push_is_the_bare_data(pubsub: PubSub, target: Target) -> None:
    await pubsub.subscribe(push_config=push_to(target, no_wrapper=types.PushConfig.NoWrapper()))
    await pubsub.publish(b"bare", kind="k")
    await arrived(target, 1)
    assert target.seen[0].body == b"bare"
    assert not [name for name in target.seen[0].headers if name.lower().startswith("x-goog") or name == "kind"]


async def test_an_unwrapped_push_tells_in_headers_what_it_is_if_asked(pubsub: PubSub, target: Target) -> None:
    wrapper = types.PushConfig.NoWrapper(write_metadata=True)
    await pubsub.subscribe(push_config=push_to(target, no_wrapper=wrapper))
    (message_id,) = await pubsub.publish(b"bare", key="key", kind="k", bad="line\nbreak")
    await arrived(target, 1)
    headers = target.seen[0].headers
    assert {name: headers[name] for name in headers if name.startswith("x-goog-pubsub-") or name == "kind"} == {
        "kind": "k",
        "x-goog-pubsub-message-id": message_id,
        "x-goog-pubsub-ordering-key": "key",
        "x-goog-pubsub-publish-time": "2026-05-01T12:00:00.250Z",
        "x-goog-pubsub-subscription-name": pubsub.subscription,
    }


@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_these_answers_acknowledge(pubsub: PubSub, target: Target, status: int) -> None:
    """The second push waits for the end of the first; after a failure it would also wait for time to pass."""
    target.answer = statuses(status)
    await pubsub.subscribe(push_config=push_to(target))
    await pubsub.publish(b"one")
    await arrived(target, 1)
    await pubsub.publish(b"two")
    await arrived(target, 2)
    assert pushed(target) == [b"one", b"two"]


@pytest.mark.parametrize("status", [203, 206, 301, 400, 404, 429, 500, 503])
async def test_every_other_answer_brings_the_message_again(
    pubsub: PubSub, target: Target, clock: ManualClock, status: int
) -> None:
    target.answer = statuses(status)
    await pubsub.subscribe(push_config=push_to(target))
    await pubsub.publish(b"one")
    await arrived(target, 2, clock)
    assert pushed(target) == [b"one", b"one"]


async def test_after_failures_pushes_pause_for_longer_and_longer(
    pubsub: PubSub, target: Target, clock: ManualClock
) -> None:
    target.answer = statuses(500, 500, 500, 500)
    await pubsub.subscribe(push_config=push_to(target))
    await pubsub.publish(b"one")
    times = []
    for count in range(1, 6):
        await arrived(target, count, clock)
        times.append(clock.monotonic())
    pauses = [after - before for before, after in pairwise(times)]
    assert [pause >= least for pause, least in zip(pauses, (0.1, 0.2, 0.4, 0.8), strict=True)] == [True] * 4


async def test_a_retry_policy_makes_the_failed_message_wait_and_no_other(
    pubsub: PubSub, target: Target, clock: ManualClock
) -> None:
    target.answer = statuses(500)
    policy = types.RetryPolicy(minimum_backoff=Duration(seconds=20), maximum_backoff=Duration(seconds=20))
    await pubsub.subscribe(push_config=push_to(target), retry_policy=policy)
    await pubsub.publish(b"one")
    await arrived(target, 1)
    await pubsub.publish(b"two")
    await arrived(target, 2)
    assert clock.monotonic() == 0
    await arrived(target, 3, clock)
    assert clock.monotonic() >= 20
    assert pushed(target) == [b"one", b"two", b"one"]


async def test_a_push_without_an_answer_ends_with_the_ack_deadline(
    pubsub: PubSub, target: Target, clock: ManualClock
) -> None:
    never = asyncio.Event()

    async def hang(_: web.Request) -> web.StreamResponse:
        await never.wait()
        return web.Response()

    target.answer = hang
    await pubsub.subscribe(push_config=push_to(target), ack_deadline_seconds=10)
    await pubsub.publish(b"one")
    await arrived(target, 1)
    target.answer = statuses()
    await arrived(target, 2, clock)
    assert clock.monotonic() >= 10
    never.set()


async def test_pushes_of_a_key_come_one_after_another(pubsub: PubSub, target: Target) -> None:
    under_way = most = 0

    async def answer(_: web.Request) -> web.StreamResponse:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        return web.Response()

    target.answer = answer
    await pubsub.subscribe(push_config=push_to(target), enable_message_ordering=True)
    sent = [b"%d" % number for number in range(8)]
    await pubsub.publish(*sent, key="k")
    await arrived(target, 8)
    assert (pushed(target), most) == (sent, 1)


async def test_attempts_are_told_where_a_dead_letter_policy_counts_them(
    pubsub: PubSub, target: Target, clock: ManualClock
) -> None:
    await pubsub.publisher.create_topic(name=pubsub.topic_name("dead"))
    await pubsub.subscribe("dead", topic=pubsub.topic_name("dead"))
    target.answer = statuses(*[500] * 5)
    policy = types.DeadLetterPolicy(dead_letter_topic=pubsub.topic_name("dead"))
    await pubsub.subscribe(push_config=push_to(target), dead_letter_policy=policy)
    await pubsub.publish(b"poison")
    await arrived(target, 5, clock)
    assert [json.loads(seen.body)["deliveryAttempt"] for seen in target.seen] == [1, 2, 3, 4, 5]
    (dead,) = await pubsub.pull("dead")
    assert dead.message.attributes["CloudPubSubDeadLetterSourceDeliveryCount"] == "5"


async def test_pull_is_refused_while_messages_are_pushed(pubsub: PubSub, target: Target) -> None:
    await pubsub.subscribe(push_config=push_to(target))
    with pytest.raises(exceptions.FailedPrecondition):
        await pubsub.pull()
