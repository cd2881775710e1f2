"""Calls about tasks, by the official clients."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import grpc
import pytest
from google.api_core.exceptions import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from google.cloud import tasks_v2
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcTransport
from google.protobuf.timestamp_pb2 import Timestamp

from tests.integration.localcloud.served_cloud_tasks import LOCATION, QUEUE, START, Cloud, statuses

View = tasks_v2.Task.View
LATER = START + timedelta(hours=1)


def named(task_id: str) -> str:
    return f"{QUEUE}/tasks/{task_id}"


async def test_a_new_task_is_answered_with_what_the_server_added(cloud: Cloud) -> None:
    task = await cloud.create("a", http_request=cloud.http(body=b"secret"), schedule_time=LATER)
    assert task.name == named("a")
    assert (task.schedule_time, task.create_time) == (LATER, START.replace(microsecond=0))
    assert (task.view, task.http_request.body) == (View.BASIC, b"")
    assert task.http_request.http_method == tasks_v2.HttpMethod.POST
    assert task.dispatch_deadline == timedelta(minutes=10)
    assert (task.dispatch_count, task.response_count) == (0, 0)


async def test_a_task_without_a_time_or_with_one_in_the_past_is_scheduled_for_now(cloud: Cloud) -> None:
    for past in (None, START - timedelta(days=1)):
        task = await cloud.create(schedule_time=past)
        assert task.schedule_time == START


async def test_a_task_without_a_name_gets_one_of_its_own(cloud: Cloud) -> None:
    names = {(await cloud.create(schedule_time=LATER)).name for _ in range(3)}
    assert len(names) == 3
    assert all(name.removeprefix(f"{QUEUE}/tasks/").isdigit() for name in names)


async def test_the_body_is_shown_in_the_full_view_only(cloud: Cloud) -> None:
    http = cloud.http(body=b"secret", headers={"X-Mine": "1"})
    await cloud.create("a", http_request=http, schedule_time=LATER)
    basic = await cloud.client.get_task(name=named("a"))
    full = await cloud.client.get_task(request={"name": named("a"), "response_view": View.FULL})
    assert (basic.http_request.body, basic.http_request.headers["X-Mine"]) == (b"", "1")
    assert (full.http_request.body, full.view) == (b"secret", View.FULL)


async def test_a_name_in_use_is_refused(cloud: Cloud) -> None:
    await cloud.create("a", schedule_time=LATER)
    with pytest.raises(AlreadyExists):
        await cloud.create("a")


async def test_the_name_of_a_task_that_ended_stays_taken_for_an_hour(cloud: Cloud) -> None:
    await cloud.create("done")
    await cloud.create("deleted", schedule_time=LATER)
    await cloud.local.idle()
    await cloud.client.delete_task(name=named("deleted"))
    cloud.clock.advance(3599)
    for task_id in ("done", "deleted"):
        with pytest.raises(AlreadyExists, match="existed too recently"):
            await cloud.create(task_id)
        with pytest.raises(NotFound, match="no longer exists"):
            await cloud.client.get_task(name=named(task_id))
    cloud.clock.advance(1)
    for task_id in ("done", "deleted"):
        await cloud.create(task_id)


async def test_what_does_not_exist_is_not_found(cloud: Cloud) -> None:
    missing = {"name": named("missing")}
    for call in (cloud.client.get_task, cloud.client.delete_task, cloud.client.run_task):
        with pytest.raises(NotFound):
            await call(request=missing)
    with pytest.raises(NotFound):
        await cloud.create(queue=f"{LOCATION}/queues/missing")
    with pytest.raises(NotFound):
        await cloud.client.list_tasks(parent=f"{LOCATION}/queues/missing")


@pytest.mark.parametrize(
    ("task", "field"),
    [
        ({"name": "a"}, "task.name"),
        ({"name": f"{LOCATION}/queues/other/tasks/a"}, "task.name"),
        ({"name": f"{QUEUE}/tasks/a.b"}, "task.name"),
        ({"name": f"{QUEUE}/tasks/{'a' * 501}"}, "task.name"),
        ({"http_request": None}, "task.http_request"),
        ({"http_request": {"url": "ftp://a.example/"}}, "task.http_request.url"),
        ({"http_request": {"url": "http://"}}, "task.http_request.url"),
        ({"http_request": {"url": "http://a.example:99999/"}}, "task.http_request.url"),
        ({"http_request": {"url": "http://a.example/" + "a" * 2083}}, "task.http_request.url"),
        ({"http_request": {"url": "http://a.example/", "http_method": "GET", "body": b"x"}}, "task.http_request.body"),
        ({"http_request": {"url": "http://a.example/", "headers": {"A B": "1"}}}, "task.http_request.headers['A B']"),
        ({"http_request": {"url": "http://a.example/", "headers": {"A": "1\r\nB: 2"}}},
         "task.http_request.headers['A']"),
        ({"http_request": {"url": "http://a.example/", "headers": {"A": "1" * 81920}}}, "task.http_request.headers"),
        ({"http_request": {"url": "http://a.example/", "oidc_token": {}}},
         "task.http_request.oidc_token.service_account_email"),
        ({"http_request": {"url": "http://a.example/", "body": b"x" * 102_400}}, "task"),
        ({"schedule_time": START + timedelta(days=30, seconds=1)}, "task.schedule_time"),
        ({"schedule_time": Timestamp(seconds=2**50)}, "task.schedule_time"),
        ({"dispatch_deadline": timedelta(seconds=14)}, "task.dispatch_deadline"),
        ({"dispatch_deadline": timedelta(minutes=30, seconds=1)}, "task.dispatch_deadline"),
        ({"retry_config": {"max_attempts": -2}}, "task.retry_config.max_attempts"),
    ],
)  # fmt: skip
async def test_a_task_that_breaks_a_rule_is_refused_with_its_field(
    cloud: Cloud, task: dict[str, object], field: str
) -> None:
    complete = {"http_request": {"url": "http://a.example/"}} | task
    with pytest.raises(InvalidArgument) as refusal:
        await cloud.client.create_task(parent=QUEUE, task=tasks_v2.Task(complete))
    assert refusal.value.message.startswith(f"{field}: ")
    assert cloud.ids() == []


async def test_a_task_may_lie_thirty_days_ahead(cloud: Cloud) -> None:
    await cloud.create("a", schedule_time=START + timedelta(days=30))
    assert cloud.ids() == ["a"]


async def test_a_task_for_app_engine_is_refused(cloud: Cloud) -> None:
    with pytest.raises(FailedPrecondition, match="App Engine"):
        await cloud.client.create_task(
            parent=QUEUE, task=tasks_v2.Task(app_engine_http_request=tasks_v2.AppEngineHttpRequest())
        )


async def test_tasks_are_listed_page_by_page(cloud: Cloud) -> None:
    for number in range(5):
        await cloud.create(f"t{number}", http_request=cloud.http(body=b"b"), schedule_time=LATER)
    pages = await cloud.client.list_tasks(
        request={"parent": QUEUE, "page_size": 2, "response_view": tasks_v2.Task.View.FULL}
    )
    listed = [[(task.name, task.http_request.body) for task in page.tasks] async for page in pages.pages]
    assert listed == [
        [(named("t0"), b"b"), (named("t1"), b"b")],
        [(named("t2"), b"b"), (named("t3"), b"b")],
        [(named("t4"), b"b")],
    ]


async def test_a_deleted_task_is_not_dispatched(cloud: Cloud) -> None:
    await cloud.create("a", schedule_time=LATER)
    await cloud.client.delete_task(name=named("a"))
    await cloud.advance(3600)
    assert cloud.target.seen == []


async def test_run_dispatches_before_the_time_and_although_the_queue_is_paused(cloud: Cloud) -> None:
    await cloud.client.pause_queue(name=QUEUE)
    await cloud.create("a", schedule_time=LATER)
    task = await cloud.client.run_task(name=named("a"))
    assert (task.dispatch_count, task.response_count) == (1, 0)
    await cloud.local.idle()
    assert (len(cloud.target.seen), cloud.ids()) == (1, [])


async def test_a_run_that_fails_is_tried_again_by_the_queues_rules(cloud: Cloud) -> None:
    cloud.target.answer = statuses(500)
    await cloud.create("a", schedule_time=LATER)
    await cloud.client.run_task(name=named("a"))
    await cloud.local.idle()
    task = await cloud.client.get_task(name=named("a"))
    assert task.schedule_time == START + timedelta(milliseconds=100)
    await cloud.advance(1)
    assert (len(cloud.target.seen), cloud.ids()) == (2, [])


async def test_the_official_synchronous_client_works_too(cloud: Cloud) -> None:
    def call() -> list[str]:
        with grpc.insecure_channel(cloud.address) as channel:
            client = tasks_v2.CloudTasksClient(transport=CloudTasksGrpcTransport(channel=channel))
            client.create_task(
                parent=QUEUE, task={"name": named("a"), "http_request": cloud.http(), "schedule_time": LATER}
            )
            return [task.name for task in client.list_tasks(parent=QUEUE)]

    assert await asyncio.to_thread(call) == [named("a")]
