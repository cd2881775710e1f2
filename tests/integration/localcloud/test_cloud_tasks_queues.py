"""Calls about queues, by the official client."""

from __future__ import annotations

from datetime import timedelta

import pytest
from google.api_core.exceptions import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    MethodNotImplemented,
    NotFound,
)
from google.cloud import tasks_v2
from google.iam.v1.iam_policy_pb2 import GetIamPolicyRequest
from google.protobuf.field_mask_pb2 import FieldMask

from tests.integration.localcloud.served_cloud_tasks import LOCATION, QUEUE, START, Cloud

State = tasks_v2.Queue.State


async def test_a_queue_that_asks_for_nothing_gets_the_documented_defaults(cloud: Cloud) -> None:
    queue = await cloud.client.get_queue(name=QUEUE)
    limits, retry = queue.rate_limits, queue.retry_config
    assert queue.state == State.RUNNING
    assert (limits.max_dispatches_per_second, limits.max_burst_size, limits.max_concurrent_dispatches) == (
        500,
        100,
        1000,
    )
    assert (retry.max_attempts, retry.max_doublings) == (100, 16)
    assert (retry.min_backoff, retry.max_backoff) == (timedelta(milliseconds=100), timedelta(hours=1))


async def test_a_queue_that_exists_is_not_created_again(cloud: Cloud) -> None:
    with pytest.raises(AlreadyExists):
        await cloud.create_queue()


async def test_the_name_of_a_deleted_queue_stays_taken_for_three_days(cloud: Cloud) -> None:
    await cloud.client.delete_queue(name=QUEUE)
    with pytest.raises(NotFound):
        await cloud.client.get_queue(name=QUEUE)
    with pytest.raises(FailedPrecondition, match="existed recently"):
        await cloud.create("a")
    cloud.clock.advance(3 * 86_400 - 1)
    with pytest.raises(FailedPrecondition, match="existed too recently"):
        await cloud.create_queue()
    cloud.clock.advance(1)
    await cloud.create_queue()


async def test_deleting_a_queue_deletes_its_tasks(cloud: Cloud) -> None:
    await cloud.client.pause_queue(name=QUEUE)
    await cloud.create("a")
    await cloud.client.delete_queue(name=QUEUE)
    with pytest.raises(NotFound):
        await cloud.client.get_task(name=f"{QUEUE}/tasks/a")
    assert cloud.ids() == []


@pytest.mark.parametrize("method", ["get_queue", "delete_queue", "purge_queue", "pause_queue", "resume_queue"])
async def test_a_queue_that_never_existed_is_not_found(cloud: Cloud, method: str) -> None:
    with pytest.raises(NotFound):
        await getattr(cloud.client, method)(name=f"{LOCATION}/queues/other")


@pytest.mark.parametrize("method", ["get_queue", "delete_queue", "purge_queue", "pause_queue", "resume_queue"])
async def test_a_name_that_breaks_the_rules_is_refused_with_its_field(cloud: Cloud, method: str) -> None:
    with pytest.raises(InvalidArgument, match="name: must be projects/"):
        await getattr(cloud.client, method)(name="queues/q")


async def test_a_queue_is_created_in_the_location_of_the_request_only(cloud: Cloud) -> None:
    with pytest.raises(InvalidArgument, match=r"queue\.name: must lie in the location"):
        await cloud.create_queue("projects/p/locations/elsewhere/queues/q")


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"rate_limits": {"max_dispatches_per_second": 501}}, "queue.rate_limits.max_dispatches_per_second"),
        ({"rate_limits": {"max_concurrent_dispatches": 5001}}, "queue.rate_limits.max_concurrent_dispatches"),
        ({"retry_config": {"max_attempts": -2}}, "queue.retry_config.max_attempts"),
        ({"retry_config": {"max_doublings": -1}}, "queue.retry_config.max_doublings"),
        ({"retry_config": {"min_backoff": timedelta(hours=2)}}, "queue.retry_config.min_backoff"),
        ({"retry_config": {"max_retry_duration": timedelta(seconds=-1)}}, "queue.retry_config.max_retry_duration"),
        ({"stackdriver_logging_config": {"sampling_ratio": 2}}, "queue.stackdriver_logging_config.sampling_ratio"),
        ({"http_target": {"http_method": "GET"}}, "queue.http_target"),
    ],
)
async def test_a_wrong_configuration_is_refused_with_its_field(
    cloud: Cloud, config: dict[str, object], field: str
) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        await cloud.create_queue(f"{LOCATION}/queues/wrong", **config)
    assert refusal.value.message.startswith(f"{field}: ")


async def test_an_update_changes_what_its_mask_names_only(cloud: Cloud) -> None:
    changed = tasks_v2.Queue(
        name=QUEUE, rate_limits={"max_dispatches_per_second": 5}, retry_config={"max_attempts": 7, "max_doublings": 3}
    )
    mask = FieldMask(paths=["rate_limits", "retry_config.max_attempts"])
    updated = await cloud.client.update_queue(queue=changed, update_mask=mask)
    assert (updated.rate_limits.max_dispatches_per_second, updated.rate_limits.max_burst_size) == (5, 10)
    assert (updated.retry_config.max_attempts, updated.retry_config.max_doublings) == (7, 16)
    assert await cloud.client.get_queue(name=QUEUE) == updated


async def test_an_update_without_a_mask_changes_everything_that_can_be(cloud: Cloud) -> None:
    await cloud.client.pause_queue(name=QUEUE)
    await cloud.client.update_queue(
        queue=tasks_v2.Queue(name=QUEUE, retry_config={"max_attempts": 7}, state=State.RUNNING)
    )
    updated = await cloud.client.update_queue(queue=tasks_v2.Queue(name=QUEUE, retry_config={"max_doublings": 2}))
    assert (updated.retry_config.max_attempts, updated.retry_config.max_doublings) == (100, 2)
    assert updated.state == State.PAUSED


async def test_an_update_creates_a_queue_that_does_not_exist(cloud: Cloud) -> None:
    name = f"{LOCATION}/queues/new"
    queue = await cloud.client.update_queue(queue=tasks_v2.Queue(name=name, retry_config={"max_attempts": -1}))
    assert (queue.name, queue.state, queue.retry_config.max_attempts) == (name, State.RUNNING, -1)


async def test_an_update_of_what_does_not_exist_is_refused(cloud: Cloud) -> None:
    with pytest.raises(InvalidArgument, match=r"update_mask: names rate_limits\.colour"):
        await cloud.client.update_queue(
            queue=tasks_v2.Queue(name=QUEUE), update_mask=FieldMask(paths=["rate_limits.colour"])
        )


async def test_queues_are_listed_by_name_and_page_by_page(cloud: Cloud) -> None:
    for letter in "cab":
        await cloud.create_queue(f"{LOCATION}/queues/{letter}")
    await cloud.client.create_queue(
        parent="projects/p/locations/z", queue=tasks_v2.Queue(name="projects/p/locations/z/queues/z")
    )
    pages = await cloud.client.list_queues(request=tasks_v2.ListQueuesRequest(parent=LOCATION, page_size=3))
    sizes = [[queue.name.rpartition("/")[2] for queue in page.queues] async for page in pages.pages]
    assert sizes == [["a", "b", "c"], ["q"]]


async def test_a_page_token_of_another_list_is_refused(cloud: Cloud) -> None:
    with pytest.raises(InvalidArgument, match="page_token"):
        await cloud.client.list_queues(request={"parent": LOCATION, "page_token": "x"})


async def test_a_purge_deletes_what_was_created_before_and_says_when(cloud: Cloud) -> None:
    await cloud.client.pause_queue(name=QUEUE)
    await cloud.create("a")
    cloud.clock.advance(5)
    queue = await cloud.client.purge_queue(name=QUEUE)
    assert queue.purge_time == START + timedelta(seconds=5)
    await cloud.create("b")
    assert cloud.ids() == ["b"]
    with pytest.raises(AlreadyExists):
        await cloud.create("a")


async def test_a_paused_queue_takes_tasks_and_keeps_them_until_it_is_resumed(cloud: Cloud) -> None:
    assert (await cloud.client.pause_queue(name=QUEUE)).state == State.PAUSED
    await cloud.create("a")
    await cloud.advance(60)
    assert (cloud.ids(), cloud.target.seen) == (["a"], [])
    assert (await cloud.client.resume_queue(name=QUEUE)).state == State.RUNNING
    await cloud.local.idle()
    assert (cloud.ids(), len(cloud.target.seen)) == ([], 1)


async def test_methods_about_iam_are_not_implemented(cloud: Cloud) -> None:
    with pytest.raises(MethodNotImplemented):
        await cloud.client.get_iam_policy(request=GetIamPolicyRequest(resource=QUEUE))


async def test_a_call_with_a_deadline_too_far_ahead_is_refused_as_cloud_tasks_does(cloud: Cloud) -> None:
    with pytest.raises(InvalidArgument, match="30 s"):
        await cloud.client.get_queue(name=QUEUE, timeout=60)
