"""Settings of the remote queue."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ostinato.config.cloud_tasks import CloudTasksSettings, read_cloud_tasks
from ostinato.config.environment import EnvironmentReader, InvalidSettings
from ostinato.config.sweeping import SweeperKind, SweepSettings

GIVEN = {
    "OSTINATO_CLOUD_PROJECT": "shop",
    "OSTINATO_CLOUD_LOCATION": "europe-west1",
    "OSTINATO_CLOUD_TARGET_URL": "https://engine.shop.example",
    "OSTINATO_CLOUD_PUSH_AS": "push@shop.example",
}


def read(environ: dict[str, str]) -> CloudTasksSettings:
    reader = EnvironmentReader(environ)
    settings = read_cloud_tasks(reader)
    reader.finish()
    return settings


def test_the_least_that_must_be_given() -> None:
    settings = read(GIVEN)
    assert settings == CloudTasksSettings("shop", "europe-west1", "https://engine.shop.example", "push@shop.example")
    assert settings.pushers == ("push@shop.example",)


def test_a_local_server_may_push_in_plain_text() -> None:
    local = {"OSTINATO_CLOUD_TASKS_ADDRESS": "127.0.0.1:8123", "OSTINATO_CLOUD_TARGET_URL": "http://127.0.0.1:7081/"}
    settings = read({**GIVEN, **local, "OSTINATO_CLOUD_AUTHORIZED_PUSHERS": "a@b.example, c@d.example"})
    assert (settings.server_address, settings.target_url) == ("127.0.0.1:8123", "http://127.0.0.1:7081")
    assert settings.pushers == ("push@shop.example", "a@b.example", "c@d.example")


def test_everything_that_is_missing_is_told_at_once() -> None:
    with pytest.raises(InvalidSettings) as caught:
        read({})
    assert {violation.path for violation in caught.value.violations} == GIVEN.keys()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("OSTINATO_CLOUD_PROJECT", "a/b"),
        ("OSTINATO_CLOUD_LOCATION", "here and there"),
        ("OSTINATO_CLOUD_TARGET_URL", "http://engine.shop.example"),
        ("OSTINATO_CLOUD_TARGET_URL", "https://engine.shop.example/path"),
        ("OSTINATO_CLOUD_TARGET_URL", "https://user@engine.shop.example"),
        ("OSTINATO_CLOUD_TARGET_URL", "ftp://engine.shop.example"),
        ("OSTINATO_CLOUD_PUSH_AS", "nobody"),
        ("OSTINATO_CLOUD_AUTHORIZED_PUSHERS", "a@b.example,nobody"),
        ("OSTINATO_CLOUD_ROUTING_PREFIX", "tasks"),
        ("OSTINATO_CLOUD_ROUTING_PREFIX", "/where/no/engine/listens"),
        ("OSTINATO_CLOUD_NAMESPACE", "9lives"),
        ("OSTINATO_CLOUD_PREPARE_QUEUES", "perhaps"),
        ("OSTINATO_CLOUD_TASKS_ADDRESS", "tasks.example:443"),
        ("OSTINATO_CLOUD_TASKS_ADDRESS", "nowhere"),
    ],
)
def test_what_breaks_a_rule_names_its_variable(name: str, text: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        read({**GIVEN, name: text})
    assert {violation.path for violation in caught.value.violations} >= {name}


def test_sweeps_have_the_documented_defaults() -> None:
    assert read(GIVEN).sweep == SweepSettings(
        SweeperKind.DISTRIBUTED, timedelta(seconds=15), 16, 2048, 16, "tq-sweep", "/internal/tasks", ""
    )
    assert (read(GIVEN).fresh_for, read(GIVEN).park_after) == (timedelta(minutes=1), timedelta(hours=1))


def test_sweeps_can_be_set() -> None:
    settings = read({**GIVEN, "OSTINATO_SWEEPER": "in_process", "OSTINATO_SWEEP_SHARDS": "4"})
    assert (settings.sweep.sweeper, settings.sweep.shards) == (SweeperKind.IN_PROCESS, 4)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("OSTINATO_SWEEPER", "nobody"),
        ("OSTINATO_SWEEP_EVERY", "0"),
        ("OSTINATO_SWEEP_SHARDS", "0"),
        ("OSTINATO_SWEEP_TASK_QUEUE", "a/b"),
        ("OSTINATO_SWEEP_TASK_PREFIX", "/elsewhere"),
        ("OSTINATO_SWEEP_TASK_HOST", "a b"),
        ("OSTINATO_SWEEP_TASK_HOST", "engine.example:65536"),
        ("OSTINATO_CLOUD_FRESH_FOR", "61"),
        ("OSTINATO_CLOUD_PARK_AFTER", "-1"),
    ],
)
def test_what_sweeps_can_not_work_with_is_refused(name: str, text: str) -> None:
    with pytest.raises(InvalidSettings, match=name):
        read({**GIVEN, name: text})
