from __future__ import annotations

import pytest

from ostinato.errors import InvalidArgument
from ostinato.localcloud.cloud_tasks.resource_names import (
    location_of,
    parse_location_name,
    parse_queue_name,
    parse_task_name,
    queue_of,
    short_name,
    task_name,
)

LOCATION = "projects/example.com:my-project/locations/europe-west1"
QUEUE = f"{LOCATION}/queues/Mail-2"


def test_names_know_what_they_lie_in() -> None:
    queue = parse_queue_name("name", QUEUE)
    task = parse_task_name("name", f"{QUEUE}/tasks/a_B-9")
    assert location_of(queue) == parse_location_name("parent", LOCATION)
    assert queue_of(task) == queue
    assert task == task_name(queue, "a_B-9")
    assert (short_name(queue), short_name(task)) == ("Mail-2", "a_B-9")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "q",
        f"{LOCATION}/queues/",
        f"{LOCATION}/queues/a_b",
        f"{LOCATION}/queues/{'q' * 101}",
        f"{LOCATION}/queues/q/tasks/t",
        f"{QUEUE}\n",
        f"/{QUEUE}",
        "projects//locations/l/queues/q",
        "projects/p/locations//queues/q",
        "projects/p/queues/q",
        f"{LOCATION}/queues/ü",
    ],
)
def test_what_is_no_name_of_a_queue(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"^queue\.name: must be projects/PROJECT"):
        parse_queue_name("queue.name", text)


@pytest.mark.parametrize("task_id", ["", "a.b", "a/b", "t" * 501, "é", "a b", "a\n"])
def test_what_is_no_name_of_a_task(task_id: str) -> None:
    with pytest.raises(InvalidArgument, match=r"^task\.name: must be .*tasks/TASK"):
        parse_task_name("task.name", f"{QUEUE}/tasks/{task_id}")


def test_the_longest_ids_are_accepted() -> None:
    queue = parse_queue_name("name", f"{LOCATION}/queues/{'q' * 100}")
    assert parse_task_name("name", f"{queue}/tasks/{'t' * 500}")
