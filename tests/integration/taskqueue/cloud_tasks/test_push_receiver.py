"""Pushes as they come over HTTP: who is let in, what is answered, and what is never told."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from ostinato import errors
from ostinato.errors import Unavailable
from ostinato.storage.database import Database
from ostinato.taskqueue import Dispatcher, Handler, TaskContext, list_dead_letters
from ostinato.taskqueue.cloud_tasks import push_store
from ostinato.taskqueue.cloud_tasks.envelope import encode_envelope
from ostinato.taskqueue.cloud_tasks.push_answers import REJECTIONS
from ostinato.taskqueue.cloud_tasks.push_receiver import PushReceiver
from ostinato.taskqueue.cloud_tasks.task_headers import format_eta
from tests.integration.taskqueue.conftest import until
from tests.integration.taskqueue.contract.conftest import LETTER, letter
from tests.integration.taskqueue.contract.local_cloud import PUSHER, LocalCloud, receiving

BODY = encode_envelope("letter", letter(1))
SECRET = "secret-of-the-handler"


class Desk:
    """A receiver whose handler ends as the test says."""

    def __init__(self, cloud: LocalCloud, receiver: PushReceiver, session: aiohttp.ClientSession) -> None:
        self.cloud = cloud
        self.receiver = receiver
        self.session = session
        self.ends: list[Exception] = []
        self.seen: list[TaskContext] = []
        self.held: asyncio.Event | None = None

    async def handle(self, task: TaskContext, _: Any) -> None:
        self.seen.append(task)
        if self.held is not None:
            await self.held.wait()
        if self.ends:
            raise self.ends.pop(0)

    async def push(
        self,
        body: bytes = BODY,
        *,
        token: str | None = "",
        eta: datetime | None = None,
        retries: int = 0,
        name: str = "0" * 32,
        path: str = "/internal/tasks/t/letter",
        headers: dict[str, str] | None = None,
    ) -> tuple[int, str]:
        url = f"{self.cloud.settings.target_url}{path}"
        sent = {
            "X-CloudTasks-TaskName": name,
            "X-CloudTasks-QueueName": "mail",
            "X-CloudTasks-TaskRetryCount": str(retries),
            "Ostinato-Expected-Eta": format_eta(eta or datetime.now(UTC)),
            **(headers or {}),
        }
        if token is not None:
            sent["Authorization"] = token or self.cloud.issuer.issue(PUSHER, url)
        async with self.session.post(url, data=body, headers=sent) as response:
            return response.status, await response.text()


@asynccontextmanager
async def _desk(cloud: LocalCloud, dispatcher: Dispatcher) -> AsyncIterator[Desk]:
    desks: list[Desk] = []

    async def handle(task: TaskContext, payload: Any) -> None:
        await desks[0].handle(task, payload)

    handler = Handler.single(LETTER, handle)
    async with receiving(cloud, dispatcher, handler, grace=0.2) as receiver, aiohttp.ClientSession() as session:
        desks.append(Desk(cloud, receiver, session))
        yield desks[0]


@pytest.fixture
async def desk(cloud: LocalCloud, dispatcher: Dispatcher) -> AsyncIterator[Desk]:
    async with _desk(cloud, dispatcher) as opened:
        yield opened


async def test_a_task_is_handled(desk: Desk) -> None:
    assert await desk.push() == (200, "OK")
    (task,) = desk.seen
    assert (task.payload, task.attempt, task.failures, task.queue, task.is_pushed) == (letter(1), 1, 0, "mail", True)


async def test_an_envelope_of_the_older_library_on_any_path(desk: Desk) -> None:
    body = json.dumps({"type": LETTER.payload.DESCRIPTOR.full_name, "body": {"jobId": "5", "moon": 1}}).encode()
    assert await desk.push(body, path="/internal/tasks/mail/whatever") == (200, "OK")
    assert desk.seen[0].payload == letter(5)


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"garbage", 400, "bad_request"),
        (b"{}", 400, "bad_request"),
        (b'{"class":"moon","body":{}}', 404, "unknown_class"),
        (b'{"type":"moon.Phase","body":{}}', 404, "unknown_class"),
        (b'{"class":"parcel","body":"no handler goes first"}', 404, "no_handler"),
        (b'{"class":"letter"}', 400, "bad_payload"),
        (b'{"class":"letter","body":{"jobId":"x"}}', 400, "bad_payload"),
    ],
)
async def test_what_can_not_be_handled_comes_again_until_an_hour_after_it_was_due(
    desk: Desk, database: Database, body: bytes, status: int, reason: str
) -> None:
    now = datetime.now(UTC)
    assert (await desk.push(body, eta=now - timedelta(minutes=59)))[0] == status
    assert await list_dead_letters(database) == []
    late = now - timedelta(hours=1)
    assert await desk.push(body, eta=late, retries=7, headers={"Ostinato-Title": "t"}) == (200, "dead letter")
    assert await desk.push(body, eta=late, retries=8) == (200, "dead letter")  # its answer was lost
    (dead,) = await list_dead_letters(database)
    assert (dead.queue, dead.payload, dead.attempts) == ("mail", body, 8)
    assert desk.receiver.rejected == {reason: 3}
    assert reason in REJECTIONS
    assert desk.seen == []


async def test_a_request_that_nobody_could_read_is_sent_again_as_it_came(
    desk: Desk, cloud: LocalCloud, dispatcher: Dispatcher, database: Database
) -> None:
    late = datetime.now(UTC) - timedelta(hours=2)
    body = b'{"class":"moon","body":{"phase":1}}'
    await desk.push(body, eta=late)
    (dead,) = await list_dead_letters(database)
    assert dead.class_name == "moon"
    async with cloud.client as client:
        await client.pause_queue(name=cloud.queue_path("mail"))
    assert await dispatcher.requeue_dead_letters([dead.id]) == 1
    await until(cloud.task_names)
    (task,) = cloud.server.snapshot()
    assert task.http_request.body == body
    assert task.http_request.url.endswith("/internal/tasks/t/moon")
    assert await list_dead_letters(database) == []


async def test_who_has_no_valid_token_is_not_let_in(desk: Desk, cloud: LocalCloud) -> None:
    url = f"{cloud.settings.target_url}/internal/tasks/t/letter"
    assert (await desk.push(token=None))[0] == 401
    assert (await desk.push(token="Bearer garbage"))[0] == 401
    assert (await desk.push(token=cloud.issuer.issue(PUSHER, "https://elsewhere.example/")))[0] == 401
    assert (await desk.push(token=cloud.issuer.issue(PUSHER, url, age=timedelta(hours=2))))[0] == 401
    assert (await desk.push(token=cloud.issuer.issue("stranger@shop.example", url)))[0] == 403
    assert desk.receiver.rejected == {"auth": 5}
    assert "auth" in REJECTIONS
    assert desk.seen == []


async def test_while_tokens_can_not_be_verified_everything_comes_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def verify(*_: Any, **__: Any) -> str:
        raise Unavailable(SECRET)

    monkeypatch.setattr(desk.receiver._verifier, "verify", verify)
    status, text = await desk.push()
    assert (status, SECRET in text) == (503, False)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.Fatal(SECRET), 202),
        (errors.Ignore(SECRET), 204),
        (errors.RetryLater(SECRET, delay=timedelta(1)), 409),
        (errors.Overloaded(SECRET), 429),
        (errors.Transient(SECRET), 500),
        (errors.StaleLease(SECRET), 500),
        (ValueError(SECRET), 500),
    ],
)
async def test_each_end_has_its_code_and_no_answer_tells_why(desk: Desk, error: Exception, status: int) -> None:
    desk.ends = [error]
    answered, text = await desk.push()
    assert answered == status
    assert SECRET not in text


async def test_the_failing_last_attempt_is_answered_when_its_dead_letter_is_written(
    desk: Desk, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.ends = [ValueError("no")] * 4
    assert (await desk.push(retries=0))[0] == 500
    assert (await desk.push(retries=1))[0] == 500

    async def away(*_: object) -> None:
        raise Unavailable("the database is away")

    with monkeypatch.context() as patched:
        patched.setattr("ostinato.taskqueue.cloud_tasks.push_letters.bury_pushed", away)
        assert (await desk.push(retries=2))[0] == 500
    assert await list_dead_letters(database) == []
    assert (await desk.push(retries=3))[0] == 200
    (dead,) = await list_dead_letters(database)
    assert (dead.attempts, dead.error) == (4, "ValueError: no")


async def test_what_is_expected_is_not_counted_although_cloud_tasks_counts_it(desk: Desk, database: Database) -> None:
    desk.ends = [errors.Overloaded("x")] * 2 + [ValueError("no")] * 3
    for retries in range(2):
        assert (await desk.push(retries=retries))[0] == 429
    assert await push_store.excused_runs(database, "0" * 32) == 2
    assert [(await desk.push(retries=retries))[0] for retries in (2, 3, 4)] == [500, 500, 200]
    assert [task.failures for task in desk.seen] == [0, 0, 0, 1, 2]
    assert await push_store.excused_runs(database, "0" * 32) == 0
    assert len(await list_dead_letters(database)) == 1


async def test_excuses_are_forgotten_when_the_task_has_ended(desk: Desk, database: Database) -> None:
    desk.ends = [errors.Overloaded("x")]
    await desk.push(name="a")
    await desk.push(name="a", retries=1)
    assert await push_store.excused_runs(database, "a") == 0


async def test_excuses_of_tasks_that_never_came_back_are_forgotten_in_the_end(database: Database) -> None:
    await push_store.excuse_run(database, "gone")
    assert await push_store.forget_old_excuses(database, timedelta(days=31)) == 0
    await database.execute("update tq_push_excuse set last_at = ostinato_now() - interval '32 days'")
    assert await push_store.forget_old_excuses(database, timedelta(days=31)) == 1


async def test_a_process_that_stops_ends_what_runs_and_takes_nothing_new(desk: Desk, database: Database) -> None:
    desk.held = asyncio.Event()
    first = asyncio.ensure_future(desk.push(name="first"))
    await until(lambda: desk.seen)
    draining = asyncio.ensure_future(desk.receiver.drain(10))
    await until(lambda: desk.receiver.draining)
    assert await desk.push(name="second") == (500, "stopping")
    desk.held.set()
    assert (await first)[0] == 200
    await draining
    assert await push_store.excused_runs(database, "second") == 1
    assert desk.receiver.stats.done == 1


async def test_what_does_not_end_in_its_grace_is_cancelled_and_comes_again(desk: Desk, database: Database) -> None:
    desk.held = asyncio.Event()
    first = asyncio.ensure_future(desk.push(name="first"))
    await until(lambda: desk.seen)
    await desk.receiver.drain(0.01)
    assert await first == (500, "stopping")
    assert await push_store.excused_runs(database, "first") == 1
    assert (desk.receiver.running, desk.receiver.stats.released) == (0, 1)


async def test_a_cancelled_request_is_not_done_and_takes_its_handler_along(desk: Desk) -> None:
    desk.held = asyncio.Event()
    request: Any = None
    task = LETTER, letter(1)

    async def take() -> None:
        from ostinato.taskqueue.cloud_tasks.task_headers import PushHeaders

        await desk.receiver._take(*task, PushHeaders(task_name="x", queue="mail"))

    request = asyncio.ensure_future(take())
    await until(lambda: desk.seen)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    await until(lambda: desk.receiver.running == 0)
    assert desk.receiver.stats.done == 0


async def test_quiet_classes_tell_nothing_of_failures(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from dataclasses import replace

    quiet = replace(LETTER, quiet_on_error=True, quiet=True)
    monkeypatch.setitem(desk.receiver._classes, "letter", quiet)
    desk.ends = [ValueError(SECRET)]
    with caplog.at_level(logging.INFO):
        assert (await desk.push())[0] == 500
    assert SECRET not in caplog.text
    assert desk.receiver.stats.retried == 1
    assert desk.seen[0].label.endswith(" (letter)")
