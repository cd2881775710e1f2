from __future__ import annotations

import pytest

from ostinato.config.pubsub import PubSubSettings
from ostinato.errors import FailedPrecondition, InvalidArgument
from ostinato_ingester.publisher_accounts import parse_account
from ostinato_ingester.subscription_names import names_of

PULLED = PubSubSettings(project="shop-1")
PUSHED = PubSubSettings(project="shop-1", prefix="dev", push_url="https://in.shop.example/pubsub/push")


def test_names_are_prefix_kind_and_publisher() -> None:
    names = names_of(PULLED, "http", "worker@shop.example")
    assert names.topic == "projects/shop-1/topics/ostinato.http.worker~shop.example"
    assert names.subscription == "projects/shop-1/subscriptions/ostinato.http.worker~shop.example"
    assert names.endpoint == ""


def test_pushes_say_kind_and_publisher() -> None:
    names = names_of(PUSHED, "http", "work+er@shop.example")
    assert names.topic.endswith("/dev.http.work+er~shop.example")
    assert names.endpoint == "https://in.shop.example/pubsub/push?kind=http&publisher=work%2Ber%40shop.example"


def test_a_name_that_pubsub_would_refuse_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="255"):
        names_of(PULLED, "http", "w" * 200 + "@" + "s" * 60)


def test_a_service_tells_its_account() -> None:
    told = b'{"service_account_name": "builds@shop.iam.gserviceaccount.com", "app_id": "builds"}'
    assert parse_account("https://builds.example", told) == "builds@shop.iam.gserviceaccount.com"


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"service_account_name": 1}', b'{"service_account_name": "builds"}', b"[" * 100_000]
)
def test_a_service_that_tells_no_account_is_refused(body: bytes) -> None:
    with pytest.raises(FailedPrecondition, match=r"https://builds\.example does not tell"):
        parse_account("https://builds.example", body)
