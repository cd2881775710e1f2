"""Topics and subscriptions are made, mended and never deleted; what stands in the way is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest
import structlog
from aiohttp import web
from google.protobuf.field_mask_pb2 import FieldMask
from google.pubsub_v1 import types

from ostinato.config.pubsub import Publisher, PubSubSettings
from ostinato.errors import FailedPrecondition, OstinatoError, PermissionDenied, Unavailable
from ostinato.localcloud.faults import Fault, FaultKind
from ostinato.rpc.http_endpoint import open_http_endpoint
from ostinato.storage.database import Database
from ostinato_ingester.main import open_ingester
from ostinato_ingester.prepare_subscription import differences, prepare_subscription
from ostinato_ingester.subscription_names import names_of
from tests.integration.ingester.local_pubsub import (
    PROJECT,
    SUBSCRIPTION,
    TOPIC,
    WORKER,
    LocalPubSub,
    open_local_pubsub,
    until,
)

PULLED = PubSubSettings(project=PROJECT, publishers=(Publisher("http", WORKER),))
PUSHED = replace(PULLED, push_url="https://in.shop.example/pubsub/push", push_callers=("pusher@shop.example", "x@y.z"))


@pytest.fixture
async def pubsub() -> AsyncIterator[LocalPubSub]:
    async with open_local_pubsub() as opened:
        yield opened


async def prepare(pubsub: LocalPubSub, settings: PubSubSettings) -> None:
    await prepare_subscription(pubsub.clients, settings, names_of(settings, "http", WORKER), WORKER)


async def found(pubsub: LocalPubSub) -> types.Subscription:
    return await pubsub.clients.subscriber.get_subscription(subscription=SUBSCRIPTION)


async def refused(pubsub: LocalPubSub, settings: PubSubSettings = PULLED) -> OstinatoError:
    with pytest.raises(OstinatoError) as caught:
        await prepare(pubsub, settings)
    return caught.value


async def test_topic_and_subscription_are_made(pubsub: LocalPubSub) -> None:
    await prepare(pubsub, PULLED)
    made = await found(pubsub)
    assert (made.topic, made.ack_deadline_seconds, made.push_config.push_endpoint) == (TOPIC, 70, "")
    assert not made.expiration_policy.ttl
    assert made.retry_policy.minimum_backoff == timedelta(seconds=1)


async def test_a_subscription_that_pushes_says_where_and_as_whom(pubsub: LocalPubSub) -> None:
    await prepare(pubsub, PUSHED)
    config = (await found(pubsub)).push_config
    assert config.push_endpoint == "https://in.shop.example/pubsub/push?kind=http&publisher=worker%40shop.example"
    assert config.oidc_token.service_account_email == "pusher@shop.example"
    assert config.oidc_token.audience == "https://in.shop.example/pubsub/push"


@pytest.mark.parametrize("settings", [PULLED, PUSHED])
async def test_to_prepare_again_changes_nothing(pubsub: LocalPubSub, settings: PubSubSettings) -> None:
    await prepare(pubsub, settings)
    updates = pubsub.counting("UpdateSubscription")
    await asyncio.gather(*(prepare(pubsub, settings) for _ in range(5)))
    assert updates() == 0


async def test_several_may_prepare_at_once(pubsub: LocalPubSub) -> None:
    await asyncio.gather(*(prepare(pubsub, PULLED) for _ in range(10)))
    assert (await found(pubsub)).topic == TOPIC


@pytest.mark.parametrize(("before", "after"), [(PULLED, PUSHED), (PUSHED, PULLED)])
async def test_pull_becomes_push_and_push_becomes_pull(
    pubsub: LocalPubSub, before: PubSubSettings, after: PubSubSettings
) -> None:
    await prepare(pubsub, before)
    await prepare(pubsub, after)
    names = names_of(after, "http", WORKER)
    assert (await found(pubsub)).push_config.push_endpoint == names.endpoint


async def test_what_differs_is_mended_and_what_others_set_stays(pubsub: LocalPubSub) -> None:
    await prepare(pubsub, PULLED)
    wanted = await found(pubsub)
    changed = types.Subscription(
        name=SUBSCRIPTION,
        ack_deadline_seconds=10,
        expiration_policy=types.ExpirationPolicy(ttl=timedelta(days=2)),
        retry_policy=types.RetryPolicy(minimum_backoff=timedelta(seconds=30)),
        labels={"team": "ours"},
        message_retention_duration=timedelta(days=3),
    )
    paths = ["ack_deadline_seconds", "expiration_policy", "retry_policy", "labels", "message_retention_duration"]
    await pubsub.clients.subscriber.update_subscription(subscription=changed, update_mask=FieldMask(paths=paths))
    await prepare(pubsub, PULLED)
    mended = await found(pubsub)
    assert differences(mended, wanted) == []
    assert (dict(mended.labels), mended.message_retention_duration) == ({"team": "ours"}, timedelta(days=3))


async def test_a_subscription_of_another_topic_is_left_alone_and_told(pubsub: LocalPubSub) -> None:
    other = f"projects/{PROJECT}/topics/other"
    await pubsub.clients.publisher.create_topic(name=other)
    await pubsub.clients.subscriber.create_subscription(name=SUBSCRIPTION, topic=other)
    error = await refused(pubsub)
    assert isinstance(error, FailedPrecondition)
    assert f"is of the topic {other}" in str(error)
    assert (await found(pubsub)).topic == other


@pytest.mark.parametrize(
    ("method", "code", "kind", "text"),
    [
        ("CreateTopic", "PERMISSION_DENIED", PermissionDenied, "roles/pubsub.admin"),
        ("CreateSubscription", "PERMISSION_DENIED", PermissionDenied, "OSTINATO_INGESTER_PUBSUB_PREPARE"),
        ("CreateTopic", "UNAUTHENTICATED", PermissionDenied, "roles/pubsub.admin"),
        ("CreateTopic", "NOT_FOUND", FailedPrecondition, f"there is no project {PROJECT}"),
        ("CreateTopic", "INVALID_ARGUMENT", FailedPrecondition, "refuses"),
        ("CreateTopic", "UNAVAILABLE", Unavailable, "ServiceUnavailable"),
        ("CreateSubscription", "DEADLINE_EXCEEDED", Unavailable, "DeadlineExceeded"),
    ],
)
async def test_what_stands_in_the_way_is_told(
    pubsub: LocalPubSub, method: str, code: str, kind: type[OstinatoError], text: str
) -> None:
    pubsub.faults.add(Fault(method, FaultKind.REFUSED, code=code))
    error = await refused(pubsub)
    assert type(error) is kind
    assert text in str(error)


async def test_an_effect_whose_answer_was_lost_is_found_by_the_next_attempt(pubsub: LocalPubSub) -> None:
    for method in ("CreateTopic", "CreateSubscription"):
        pubsub.faults.add(Fault(method, FaultKind.ANSWER_LOST, times=1))
    assert isinstance(await refused(pubsub), Unavailable)
    assert isinstance(await refused(pubsub), Unavailable)
    await prepare(pubsub, PULLED)


async def test_an_ingester_goes_on_trying_and_says_what_it_lacks(
    pubsub: LocalPubSub, database_url: str, database: Database
) -> None:
    pubsub.faults.add(Fault("CreateTopic", FaultKind.REFUSED, code="PERMISSION_DENIED", times=2))
    with structlog.testing.capture_logs() as logged:
        async with open_ingester(pubsub.settings(database_url)):
            await pubsub.until_prepared()
    told = [entry for entry in logged if entry["event"] == "not pulled for now"]
    assert [entry["log_level"] for entry in told[:2]] == ["error", "error"]
    assert "roles/pubsub.admin" in told[0]["error"]


async def test_nothing_is_prepared_where_somebody_else_does(
    pubsub: LocalPubSub, database_url: str, database: Database
) -> None:
    pulls = pubsub.counting("StreamingPull")
    with structlog.testing.capture_logs() as logged:
        async with open_ingester(pubsub.settings(database_url, prepare=False)):

            async def tried() -> bool:
                return pulls() >= 2

            await until(tried)
    told = next(entry for entry in logged if entry["event"] == "not pulled for now")
    assert f"{SUBSCRIPTION} is not there" in told["error"]
    topics = await pubsub.clients.publisher.list_topics(project=f"projects/{PROJECT}")
    assert [topic async for topic in topics] == []


async def test_a_publisher_that_is_a_service_is_asked_for_its_account(
    pubsub: LocalPubSub, database_url: str, database: Database
) -> None:
    answers = [web.Response(status=503), web.json_response({"service_account_name": WORKER})]

    async def tell(_: web.Request) -> web.Response:
        return answers.pop(0)

    async def ready() -> None: ...

    routes = [web.get("/auth/api/v1/server/info", tell)]
    async with open_http_endpoint("127.0.0.1:0", ready=ready, routes=routes) as service:
        settings = pubsub.settings(database_url, publishers=(Publisher("http", service.url),))
        async with open_ingester(settings):
            await pubsub.until_prepared()
    assert answers == []
