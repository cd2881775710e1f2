"""Queues in the hands of administrators: seen with their limits, paused, resumed, purged; dead letters purged."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.message import Message

from ostinato.jobflow.engine_tasks import ENGINE_TASK_CLASSES, TRIAGE_JOB
from ostinato.pb.internal.v1.engine_tasks_pb2 import TriageJobTask
from ostinato.pb.scheduler.v1 import admin_pb2
from ostinato.taskqueue import QueueSettings, open_dispatcher
from tests.integration.api.served_api import Client, refused
from tests.integration.engine.stage import Stage


async def queue_of(api: Client, name: str) -> admin_pb2.Queue:
    queues = (await api.send("ListQueues", admin_pb2.ListQueuesRequest())).queues
    return next(queue for queue in queues if queue.name == name)


async def test_a_queue_is_paused_and_resumed_as_often_as_one_likes(api: Client) -> None:
    before = datetime.now(UTC) - timedelta(minutes=1)
    paused = await api.send("PauseQueue", admin_pb2.PauseQueueRequest(name="launches"))
    assert (paused.name, paused.paused) == ("launches", True)
    assert paused.pause_time.ToDatetime(tzinfo=UTC) > before
    again = await api.send("PauseQueue", admin_pb2.PauseQueueRequest(name="launches"))
    assert again == paused
    assert await queue_of(api, "launches") == paused
    assert not (await queue_of(api, "triages")).paused
    resumed = await api.send("ResumeQueue", admin_pb2.ResumeQueueRequest(name="launches"))
    assert (resumed.paused, resumed.HasField("pause_time")) == (False, False)
    assert await api.send("ResumeQueue", admin_pb2.ResumeQueueRequest(name="launches")) == resumed


async def test_a_purge_tells_how_much_it_deleted(api: Client, stage: Stage) -> None:
    await stage.dispatcher.add_many(TRIAGE_JOB, [TriageJobTask(job_id=n) for n in range(5)])
    await stage.dispatcher.add(TRIAGE_JOB, TriageJobTask(job_id=9), delay=timedelta(hours=1))
    purge = admin_pb2.PurgeQueueRequest(name="triages")
    assert (await api.send("PurgeQueue", purge)).purged == 6
    assert (await api.send("PurgeQueue", purge)).purged == 0


async def test_limits_are_shown(api: Client, stage: Stage) -> None:
    limits = [QueueSettings("launches", max_rate=50, burst=100, max_concurrent=200), QueueSettings("triages")]
    async with open_dispatcher(stage.db, classes=ENGINE_TASK_CLASSES, notify=False, queues=limits):
        pass
    launches = await queue_of(api, "launches")
    assert (launches.max_rate, launches.max_burst, launches.max_concurrent) == (50, 100, 200)
    triages = await queue_of(api, "triages")
    assert (triages.max_rate, triages.max_burst, triages.max_concurrent) == (0, 0, 0)


async def test_dead_letters_are_deleted_for_good(api: Client, stage: Stage) -> None:
    await stage.db.execute(
        "insert into tq_dead (id, died_at, strand, fair_key, class_id, attempt, failures, flags, error, payload) "
        "select n, ostinato_now(), $1 << 9, 0, $2, 3, 3, 0, 'boom', '' from generate_series(1, 3) n",
        stage.dispatcher.queue_ids["triages"],
        stage.dispatcher.class_ids[TRIAGE_JOB.name],
    )
    purge = admin_pb2.PurgeDeadLettersRequest(ids=[1, 3, 3, 77, -1])
    assert (await api.send("PurgeDeadLetters", purge)).purged == 2
    assert (await api.send("PurgeDeadLetters", purge)).purged == 0
    left = await api.send("ListDeadLetters", admin_pb2.ListDeadLettersRequest())
    assert [letter.id for letter in left.dead_letters] == [2]


CHANGES: tuple[tuple[str, type[Message]], ...] = (
    ("PauseQueue", admin_pb2.PauseQueueRequest),
    ("ResumeQueue", admin_pb2.ResumeQueueRequest),
    ("PurgeQueue", admin_pb2.PurgeQueueRequest),
)


@pytest.mark.parametrize(("method", "request_type"), CHANGES)
async def test_queues_that_nobody_has_are_refused(api: Client, method: str, request_type: type[Message]) -> None:
    missing = await refused(api.send(method, request_type(name="nowhere")))
    assert (missing.code, missing.message) == ("NOT_FOUND", "there is no queue 'nowhere'")
    for name, rule in (("", "must be given"), ("x" * 201, "at most 200 bytes"), ("a\0b", "NUL")):
        refusal = await refused(api.send(method, request_type(name=name)))
        assert refusal.code == "INVALID_ARGUMENT"
        (violation,) = refusal.details["BadRequest"].field_violations
        assert violation.field == "name"
        assert rule in violation.description


async def test_no_more_than_500_dead_letters_are_purged_by_one_call(api: Client) -> None:
    refusal = await refused(api.send("PurgeDeadLetters", admin_pb2.PurgeDeadLettersRequest(ids=range(501))))
    assert refusal.code == "INVALID_ARGUMENT"
