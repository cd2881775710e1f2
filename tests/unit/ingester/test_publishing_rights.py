"""The right to publish is given by read, change and write; the local Pub/Sub knows no rights."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from google.api_core import exceptions as google_errors
from google.iam.v1 import iam_policy_pb2, policy_pb2
from google.pubsub_v1 import types

from ostinato.config.pubsub import PubSubSettings
from ostinato.errors import OstinatoError, Unavailable
from ostinato_ingester.prepare_subscription import prepare_subscription
from ostinato_ingester.subscription_names import names_of

ROLE = "roles/pubsub.publisher"
SERVICE, PERSON = "worker@shop.iam.gserviceaccount.com", "ana@shop.example"
SETTINGS = PubSubSettings(project="shop-1")


@dataclass
class FakePubSub:
    """Topics and subscriptions are there; a policy with an etag, which somebody else may change in between."""

    policy: policy_pb2.Policy = field(default_factory=policy_pb2.Policy)
    others: int = 0
    writes: int = 0

    async def create_topic(self, *_: object, **__: object) -> types.Topic:
        raise google_errors.AlreadyExists("there")

    async def create_subscription(self, wanted: types.Subscription, **_: object) -> types.Subscription:
        return wanted

    async def get_iam_policy(self, _: iam_policy_pb2.GetIamPolicyRequest, **__: object) -> policy_pb2.Policy:
        read = policy_pb2.Policy()
        read.CopyFrom(self.policy)
        if self.others:
            self.others -= 1
            self.policy.etag += b"x"
        return read

    async def set_iam_policy(self, asked: iam_policy_pb2.SetIamPolicyRequest, **_: object) -> policy_pb2.Policy:
        if asked.policy.etag != self.policy.etag:
            raise google_errors.Aborted("changed meanwhile")
        self.writes += 1
        self.policy.CopyFrom(asked.policy)
        self.policy.etag += b"x"
        return self.policy


async def prepare(pubsub: FakePubSub, account: str = SERVICE) -> None:
    clients: Any = SimpleNamespace(publisher=pubsub, subscriber=pubsub)
    await prepare_subscription(clients, SETTINGS, names_of(SETTINGS, "http", account), account)


def members(pubsub: FakePubSub) -> list[str]:
    return [member for binding in pubsub.policy.bindings if binding.role == ROLE for member in binding.members]


async def test_services_and_people_get_the_right_once() -> None:
    pubsub = FakePubSub()
    for account in (SERVICE, PERSON, SERVICE):
        await prepare(pubsub, account)
    assert members(pubsub) == [f"serviceAccount:{SERVICE}", f"user:{PERSON}"]
    assert pubsub.writes == 2


async def test_what_others_may_stays() -> None:
    pubsub = FakePubSub()
    pubsub.policy.bindings.add(role="roles/owner", members=["user:boss@shop.example"])
    pubsub.policy.bindings.add(role=ROLE, members=["user:guest@shop.example"]).condition.expression = "false"
    await prepare(pubsub)
    assert len(pubsub.policy.bindings) == 3
    assert members(pubsub) == ["user:guest@shop.example", f"serviceAccount:{SERVICE}"]


async def test_a_change_that_meets_another_one_is_made_again_once() -> None:
    pubsub = FakePubSub(others=1)
    await prepare(pubsub)
    assert members(pubsub) == [f"serviceAccount:{SERVICE}"]


async def test_a_policy_that_changes_all_the_time_is_told() -> None:
    with pytest.raises(OstinatoError) as caught:
        await prepare(FakePubSub(others=2))
    assert isinstance(caught.value, Unavailable)
