"""How tasks get to Cloud Tasks: names, reminders, and what is told when it does not go well."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.cloud import tasks_v2
from google.protobuf.wrappers_pb2 import StringValue

from ostinato import errors
from ostinato.clock import SystemClock
from ostinato.config.cloud_tasks import CloudTasksSettings
from ostinato.localcloud.faults import Fault, FaultKind
from ostinato.pb.internal.v1.engine_tasks_pb2 import HandleNotificationTask
from ostinato.storage.database import Database
from ostinato.taskqueue import (
    Backend,
    CustomPayload,
    Dispatcher,
    QueueSettings,
    TaskClass,
    TaskKind,
    TaskOptions,
    open_dispatcher,
)
from ostinato.taskqueue.cloud_tasks.cloud_client import open_cloud_client
from ostinato.taskqueue.cloud_tasks.cloud_tasks_queue import open_cloud_tasks_queue
from ostinato.taskqueue.cloud_tasks.remote_names import number_of
from ostinato.taskqueue.cloud_tasks.task_submitter import TaskSubmitter
from ostinato.taskqueue.reminders.submitting_port import SubmitResult, SubmitVerdict
from ostinato.taskqueue.stillborn_tasks import StillbornTasks
from ostinato.taskqueue.task_name import hex_name_of
from tests.integration.taskqueue.conftest import until
from tests.integration.taskqueue.contract.conftest import CLASSES, LETTER, ONLY_OUTSIDE, STAMP, letter
from tests.integration.taskqueue.contract.local_cloud import PUSHER, LocalCloud, open_remote_dispatcher


@pytest.fixture(autouse=True)
async def nothing_is_pushed(cloud: LocalCloud, dispatcher: Dispatcher) -> None:
    async with cloud.client as client:
        for queue in dispatcher.queues:
            await client.pause_queue(name=cloud.queue_path(queue))


async def waiting_reminders(db: Database) -> int:
    count: int = await db.fetchval("select count(*) from tq_reminder")
    return count


async def until_submitted(db: Database) -> None:
    async with asyncio.timeout(10):
        while await waiting_reminders(db):
            await asyncio.sleep(0.01)


async def test_names_of_transactions_have_32_digits_and_those_of_keys_64(
    cloud: LocalCloud, dispatcher: Dispatcher, database: Database
) -> None:
    await dispatcher.add(LETTER, letter(1), dedup_key="a")
    async with database.transaction() as tx:
        task_id = await dispatcher.add(LETTER, letter(2), tx=tx)
    await until(lambda: len(cloud.task_names()) == 2)
    keyed, transactional = sorted(cloud.task_names(), key=len, reverse=True)
    assert re.fullmatch("[0-9a-f]{64}", keyed)
    assert re.fullmatch("[0-9a-f]{32}", transactional)
    assert number_of(transactional) == task_id
    await until_submitted(database)


async def test_a_commit_whose_submit_fails_leaves_a_reminder_and_its_caller_hears_nothing(
    cloud: LocalCloud, dispatcher: Dispatcher, database: Database
) -> None:
    cloud.faults.add(Fault("CreateTask", FaultKind.REFUSED, times=3))
    async with database.transaction() as tx:
        await dispatcher.add_many(LETTER, [letter(n) for n in range(5)], tx=tx)
    await until(lambda: len(cloud.task_names()) == 2)
    assert await waiting_reminders(database) >= 3


class SlowClock(SystemClock):
    """Ten minutes behind."""

    def now(self) -> datetime:
        return super().now() - timedelta(minutes=10)


async def test_a_delay_counts_by_the_clock_of_its_transaction(cloud: LocalCloud, database: Database) -> None:
    """Whoever plans a wake-up compares with the database's time: by a slow clock of its own it came too early."""
    async with (
        open_cloud_tasks_queue(cloud.settings, database, clock=SlowClock()) as remote,
        open_dispatcher(database, classes=CLASSES, backend=Backend.CLOUD_TASKS, remote=remote) as dispatcher,
        database.transaction() as tx,
    ):
        due = await tx.now() + timedelta(minutes=5)
        await dispatcher.add(LETTER, letter(1), tx=tx, delay=timedelta(minutes=5))
    await until(lambda: len(cloud.task_names()) == 1)
    (task,) = cloud.server.snapshot()
    assert task.schedule_time.ToDatetime(tzinfo=UTC) == due


async def test_a_refused_add_leaves_nothing_in_the_transaction(
    cloud: LocalCloud, dispatcher: Dispatcher, database: Database
) -> None:
    async with database.transaction() as tx:
        with pytest.raises(errors.InvalidArgument, match="delay: must be at most 30 days ahead on a remote queue"):
            await dispatcher.add(LETTER, letter(1), tx=tx, delay=timedelta(days=31))
    assert (await waiting_reminders(database), cloud.task_names()) == (0, [])


@pytest.mark.parametrize(
    ("kind", "code", "error", "there"),
    [
        (FaultKind.REFUSED, "UNAVAILABLE", errors.Unavailable, 0),
        (FaultKind.REFUSED, "RESOURCE_EXHAUSTED", errors.ResourceExhausted, 0),
        (FaultKind.REFUSED, "PERMISSION_DENIED", errors.FailedPrecondition, 0),
        (FaultKind.ANSWER_LOST, "DEADLINE_EXCEEDED", errors.CommitOutcomeUnknown, 1),
        (FaultKind.ANSWER_LOST, "INTERNAL", errors.CommitOutcomeUnknown, 1),
    ],
)
async def test_without_a_transaction_the_caller_hears_of_failures_and_may_repeat(
    cloud: LocalCloud, dispatcher: Dispatcher, kind: FaultKind, code: str, error: type[Exception], there: int
) -> None:
    cloud.faults.add(Fault("CreateTask", kind, code=code, times=1))
    with pytest.raises(error):
        await dispatcher.add(LETTER, letter(1), dedup_key="a")
    assert len(cloud.task_names()) == there
    assert (await dispatcher.add(LETTER, letter(1), dedup_key="a") is None) == bool(there)
    assert len(cloud.task_names()) == 1


async def test_when_one_of_many_fails_the_others_are_added_all_the_same(
    cloud: LocalCloud, dispatcher: Dispatcher
) -> None:
    cloud.faults.add(Fault("CreateTask", FaultKind.REFUSED, skip=7, times=1))
    with pytest.raises(errors.Unavailable):
        await dispatcher.add_many(LETTER, [letter(n) for n in range(20)])
    assert len(cloud.task_names()) == 19


async def test_verdicts_of_submits(cloud: LocalCloud) -> None:
    parent = cloud.queue_path("mail")
    task = tasks_v2.Task(name=f"{parent}/tasks/a", http_request=tasks_v2.HttpRequest(url="http://127.0.0.1:1/"))
    request = tasks_v2.CreateTaskRequest.serialize(tasks_v2.CreateTaskRequest(parent=parent, task=task))
    elsewhere = cloud.queue_path("elsewhere")
    task.name = f"{elsewhere}/tasks/a"
    unknown = tasks_v2.CreateTaskRequest.serialize(tasks_v2.CreateTaskRequest(parent=elsewhere, task=task))
    async with cloud.client as client:
        submitter = TaskSubmitter(client)
        assert await submitter.submit(request) == SubmitResult(SubmitVerdict.DONE, "OK")
        assert await submitter.submit(request) == SubmitResult(SubmitVerdict.DONE, "ALREADY_EXISTS")
        assert (await submitter.submit(b"\xff")).verdict is SubmitVerdict.REFUSED
        refused = await submitter.submit(unknown)
        assert (refused.verdict, refused.code) == (SubmitVerdict.REFUSED, "NOT_FOUND")
        cloud.faults.add(Fault("CreateTask", FaultKind.REFUSED, code="ABORTED"))
        kept = await submitter.submit(request)
        assert (kept.verdict, kept.code) == (SubmitVerdict.KEEP, "ABORTED")


async def test_what_reaches_the_server_is_what_the_official_client_sends() -> None:
    seen: list[tuple[bytes, set[tuple[str, str]]]] = []

    class EveryCall(grpc.GenericRpcHandler):
        def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
            async def answer(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
                headers = {(key, str(value)) for key, value in context.invocation_metadata() or ()}
                seen.append((request, headers | {(":path", details.method)}))
                return b""

            return grpc.unary_unary_rpc_method_handler(answer)

    parent = "projects/p/locations/l/queues/a b"
    request = tasks_v2.CreateTaskRequest(parent=parent, task=tasks_v2.Task(name=f"{parent}/tasks/a"))
    server = grpc.aio.server(handlers=[EveryCall()])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    settings = CloudTasksSettings("p", "l", "http://127.0.0.1:1", PUSHER, server_address=f"127.0.0.1:{port}")
    try:
        async with open_cloud_client(settings) as client:
            await client.create_task(request)
            await TaskSubmitter(client).submit(tasks_v2.CreateTaskRequest.serialize(request))
    finally:
        await server.stop(None)
    theirs, ours = seen
    assert ours == theirs
    assert ("x-goog-request-params", "parent=projects/p/locations/l/queues/a+b") in ours[1]


async def test_a_server_that_is_away_is_no_refusal(cloud: LocalCloud) -> None:
    away = replace(cloud.settings, server_address="127.0.0.1:1")
    async with open_cloud_client(away) as client:
        result = await TaskSubmitter(client).submit(b"")
    assert (result.verdict, result.code) == (SubmitVerdict.KEEP, "UNAVAILABLE")


async def test_queues_are_created_and_never_give_up(cloud: LocalCloud, database: Database) -> None:
    async with cloud.client as client:
        path = cloud.queue_path("mail")
        limited = tasks_v2.Queue(name=path, retry_config=tasks_v2.RetryConfig(max_attempts=5))
        await client.update_queue(queue=limited, update_mask={"paths": ["retry_config.max_attempts"]})
        async with (
            open_cloud_tasks_queue(cloud.settings, database) as remote,
            open_dispatcher(
                database,
                classes=CLASSES,
                backend=Backend.CLOUD_TASKS,
                remote=remote,
                queues=[QueueSettings("mail", max_rate=7)],
            ),
        ):
            queue = await client.get_queue(name=path)
    assert queue.retry_config.max_attempts == -1
    assert queue.rate_limits.max_dispatches_per_second == 7
    assert queue.state is tasks_v2.Queue.State.PAUSED  # as somebody wanted it


async def test_queues_that_others_look_after_are_verified(
    cloud: LocalCloud, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    theirs = replace(cloud.settings, prepare_queues=False)
    limited = tasks_v2.Queue(name=cloud.queue_path("mail"), retry_config=tasks_v2.RetryConfig(max_attempts=5))
    async with open_cloud_tasks_queue(theirs, database) as remote:
        await remote.prepare(CLASSES, [])
        assert "gives up" not in caplog.text
        async with cloud.client as client:
            await client.update_queue(queue=limited, update_mask={"paths": ["retry_config.max_attempts"]})
            await remote.prepare(CLASSES, [])
            assert "mail gives up on tasks, which are lost then: retry_config.max_attempts" in caplog.text
            await client.delete_queue(name=cloud.queue_path("parcels"))
        with pytest.raises(errors.NotFound, match="queues/parcels"):
            await remote.prepare(CLASSES, [])
        cloud.faults.add(Fault("GetQueue", FaultKind.REFUSED, code="PERMISSION_DENIED"))
        await remote.prepare(CLASSES, [])  # who may not look has to believe
    async with open_cloud_tasks_queue(theirs, database, looks_after_queues=False) as remote:
        cloud.faults.clear()
        await remote.prepare(CLASSES, [])


async def test_a_queue_that_does_not_answer_keeps_no_other_waiting(
    dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, blue_is_done, blue = TaskSubmitter.create, asyncio.Event(), 0

    async def waiting(self: TaskSubmitter, request: tasks_v2.CreateTaskRequest) -> str | None:
        nonlocal blue
        if request.parent.endswith("/red"):
            await blue_is_done.wait()
        name = await create(self, request)
        blue += request.parent.endswith("/blue")
        if blue == 150:
            blue_is_done.set()
        return name

    monkeypatch.setattr(TaskSubmitter, "create", waiting)
    stamps = [HandleNotificationTask(invocation_id=2 * n + (n < 250)) for n in range(400)]
    async with asyncio.timeout(20):
        ids = await dispatcher.add_many(STAMP, stamps)
    assert len({*ids} - {None}) == 400


async def test_a_dispatchers_namespace_keeps_its_keys_apart(
    cloud: LocalCloud, dispatcher: Dispatcher, database: Database
) -> None:
    async with (
        open_cloud_tasks_queue(cloud.settings, database) as remote,
        open_dispatcher(
            database, classes=CLASSES, backend=Backend.CLOUD_TASKS, remote=remote, namespace="other"
        ) as other,
    ):
        assert await dispatcher.add(LETTER, letter(1), dedup_key="a") is not None
        assert await other.add(LETTER, letter(2), dedup_key="a") is not None
        assert await other.delete(LETTER, ["a"]) == 1
    assert cloud.task_names() == [hex_name_of("test", "letter", "a")]


async def test_a_single_task_may_wait_here_and_comes_back_here_if_it_is_too_large_for_there(
    cloud: LocalCloud, dispatcher: Dispatcher, database: Database
) -> None:
    large = StringValue(value="x" * 110_000)
    with pytest.raises(errors.InvalidArgument, match="payload: makes a task of 11"):
        await dispatcher.add(ONLY_OUTSIDE, large)
    await dispatcher.add(ONLY_OUTSIDE, large, options=TaskOptions(here=True))
    await dispatcher.add_many(LETTER, [letter(1)], options=TaskOptions(here=True))
    assert await database.fetchval("select count(*) from tq_ready") == 2
    letters = StillbornTasks(dispatcher)
    dead = [await letters.add(ONLY_OUTSIDE, large, "x"), await letters.add(LETTER, letter(2), "x")]
    assert await dispatcher.requeue_dead_letters(dead) == 2
    assert await database.fetchval("select count(*) from tq_ready") == 3
    await until(lambda: len(cloud.task_names()) == 1)
    await until_submitted(database)


async def test_a_class_may_be_pinned_to_either_backend(cloud: LocalCloud, database: Database) -> None:
    embedded = replace(LETTER, backend=Backend.EMBEDDED)
    async with open_remote_dispatcher(cloud, database, [embedded, *CLASSES[1:]]) as (dispatcher, _):
        await dispatcher.add(embedded, letter(1))
    assert cloud.task_names() == []
    assert await database.fetchval("select count(*) from tq_ready") == 1
    with pytest.raises(errors.InvalidArgument, match="remote: must be given: `letter` waits in Cloud Tasks"):
        async with open_dispatcher(database, classes=[replace(LETTER, backend=Backend.CLOUD_TASKS)]):
            pass


async def test_a_custom_request_is_sent_as_it_is(cloud: LocalCloud, database: Database) -> None:
    custom: TaskClass[Any] = replace(
        LETTER, kind=TaskKind.FOLLOWS_CONTEXT, custom=lambda each: CustomPayload(f"/hook/{each.job_id}", "PUT")
    )
    async with open_remote_dispatcher(cloud, database, [custom]) as (dispatcher, _):
        await dispatcher.add(custom, letter(7))
    (task,) = cloud.server.snapshot()
    assert task.http_request.url == f"{cloud.settings.target_url}/hook/7"
    assert tasks_v2.HttpMethod(task.http_request.http_method) is tasks_v2.HttpMethod.PUT
