from __future__ import annotations

import pytest

from ostinato.config.environment import EnvironmentReader, InvalidSettings
from ostinato.config.pubsub import Publisher, PubSubSettings, read_pubsub

PULL = {"PROJECT": "shop-1", "PUBLISHERS": "http=worker@shop.example"}
PUSH = PULL | {"PUSH_URL": "https://in.shop.example/pubsub/push", "PUSH_CALLERS": "pusher@shop.example"}


def read(environ: dict[str, str]) -> PubSubSettings:
    reader = EnvironmentReader({f"OSTINATO_INGESTER_PUBSUB_{name}": value for name, value in environ.items()})
    settings = read_pubsub(reader)
    reader.finish()
    return settings


def refused(environ: dict[str, str]) -> dict[str, str]:
    with pytest.raises(InvalidSettings) as caught:
        read(environ)
    return {
        violation.path.removeprefix("OSTINATO_INGESTER_PUBSUB_"): violation.rule
        for violation in caught.value.violations
    }


def test_without_settings_there_is_no_pubsub() -> None:
    assert read({}) == PubSubSettings()
    assert not read({}).subscribes


def test_publishers_are_pulled_from_unless_there_is_somewhere_to_push_to() -> None:
    pulled, pushed = read(PULL), read(PUSH)
    assert (pulled.publishers, pulled.push_url) == ((Publisher("http", "worker@shop.example"),), "")
    assert (pushed.push_url, pushed.push_callers) == ("https://in.shop.example/pubsub/push", ("pusher@shop.example",))
    assert (pulled.subscribes, pushed.subscribes) == (True, True)


def test_with_push_subscriptions_that_others_prepare_there_is_nothing_to_subscribe() -> None:
    assert not read(PUSH | {"PREPARE": "false"}).subscribes
    assert read(PULL | {"PREPARE": "false"}).subscribes


def test_pushes_may_come_from_subscriptions_of_others() -> None:
    settings = read({"PUSH_CALLERS": "a@shop.example, b@shop.example"})
    assert (settings.push_callers, settings.subscribes) == (("a@shop.example", "b@shop.example"), False)


def test_a_publisher_may_be_a_service_that_says_its_account() -> None:
    publishers = read(PULL | {"PUBLISHERS": "http = https://builds.example/, http=http://127.0.0.1:9000"}).publishers
    assert [publisher.account for publisher in publishers] == ["https://builds.example", "http://127.0.0.1:9000"]


@pytest.mark.parametrize(
    "publishers",
    [
        "worker@shop.example",
        "noop=worker@shop.example",
        "http=worker",
        "http=a/b@shop.example",
        "http=worker@shop.example@x",
        f"http={'w' * 101}@shop.example",
        "http=http://builds.example",
        "http=https://user@builds.example",
        "http=https://builds.example/path",
        "http=https://builds.example?x",
        "http=https://builds.example:99999",
        "http=https://",
        "=",
    ],
)
def test_what_is_no_publisher_is_refused(publishers: str) -> None:
    assert refused(PULL | {"PUBLISHERS": publishers})["PUBLISHERS"].startswith("must be KIND=PUBLISHER")


@pytest.mark.parametrize(
    ("environ", "named", "rule"),
    [
        ({"PROJECT": "shop-1"}, "PROJECT", "needs OSTINATO_INGESTER_PUBSUB_PUBLISHERS"),
        ({"PUBLISHERS": "http=w@shop.example"}, "PUBLISHERS", "needs OSTINATO_INGESTER_PUBSUB_PROJECT"),
        (PULL | {"PUBLISHERS": "http=w@shop.example,http=w@shop.example"}, "PUBLISHERS", "twice"),
        (PULL | {"PROJECT": "shop/1"}, "PROJECT", "id of a project"),
        (PULL | {"PREFIX": "google"}, "PREFIX", "not begin with goog"),
        (PULL | {"PREFIX": "a.b"}, "PREFIX", "a letter and up to"),
        (PULL | {"MAX_MESSAGES": "0"}, "MAX_MESSAGES", "from 1 to 1000"),
        (PULL | {"ADDRESS": "192.0.2.1:8085"}, "ADDRESS", "loopback"),
        (PUSH | {"PUSH_CALLERS": ""}, "PUSH_URL", "needs OSTINATO_INGESTER_PUBSUB_PUSH_CALLERS"),
        (PUSH | {"PUSH_CALLERS": "pusher"}, "PUSH_CALLERS", "e-mails"),
        (PUSH | {"PUSH_URL": "http://in.shop.example/pubsub/push"}, "PUSH_URL", "https://"),
        (PUSH | {"PUSH_URL": "https://in.shop.example/"}, "PUSH_URL", "https://HOST/pubsub/push"),
        (PUSH | {"PUSH_URL": "https://in.shop.example/pubsub/push?kind=http"}, "PUSH_URL", "https://HOST/pubsub/push"),
    ],
)
def test_what_could_not_work_is_refused(environ: dict[str, str], named: str, rule: str) -> None:
    assert rule in refused(environ)[named]


def test_a_local_server_may_push_in_plain_text() -> None:
    local = PUSH | {"ADDRESS": "127.0.0.1:8085", "PUSH_URL": "http://127.0.0.1:7082/pubsub/push"}
    assert read(local).server_address == "127.0.0.1:8085"
