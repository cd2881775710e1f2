"""Names in Cloud Tasks."""

from __future__ import annotations

import pytest

from ostinato.taskqueue.cloud_tasks.remote_names import number_of, queue_path, short_name
from ostinato.taskqueue.task_name import hex_name_of, name_of


@pytest.mark.parametrize(
    ("namespace", "name"),
    [
        ("", "ca0a124846df4b453ae63e3ad7c63073b0d25941c6e63e5708fd590c016edcef"),
        ("prod", "df1722bd19b4b7c5fca0f3285759d18d716cc985024a73e72a04ed22fd59d309"),
    ],
)
def test_a_dedup_key_makes_the_name_that_it_always_made(namespace: str, name: str) -> None:
    assert hex_name_of(namespace, "test-dur", "key") == name
    assert hex_name_of(namespace, "test-dur", "key", "mine") == f"mine-{name}"


def test_on_the_embedded_queue_prefixes_keep_keys_apart() -> None:
    names = [name_of(namespace, "c", "k", prefix) for namespace in ("", "a", "a_b") for prefix in ("", "a", "a-a")]
    assert len({*names}) == len(names)
    assert name_of("a", "b", "c\0d") != name_of("b", "c", "d", "a")


def test_queues_have_short_and_full_names() -> None:
    path = queue_path("p", "l", "mail")
    assert path == "projects/p/locations/l/queues/mail"
    assert queue_path("x", "y", path) == path
    assert short_name(path) == "mail"


@pytest.mark.parametrize("name", ["0" * 31 + "f", "f" * 64, "mine-" + "a" * 64, "1234567890123456789", "any name"])
def test_a_task_has_one_number_for_all(name: str) -> None:
    assert number_of(f"projects/p/locations/l/queues/q/tasks/{name}") == number_of(name)
    assert 0 <= number_of(name) < 1 << 63
    assert number_of("8" + "0" * 31) == 1 << 62
