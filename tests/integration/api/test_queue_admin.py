"""Queues in the hands of administrators: seen with their limits, paused, resumed, purged; dead letters purged."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.message import Message

from ostinato.jobflow.engine_tasks import ENGINE_TASK_CLASSES, TRIAGE_JOB
from ostinato.pb.internal.v1.engine_tasks_pb2 import TriageJobTask
from ostinato.pb.scheduler.v1 import admin_pb2
from ostinato.taskqueue import QueueSettings, open_dispatcher
from ostinato.taskqueue.task_header import TaskHeader
from tests.integration.api.served_api import Client, refused
from tests.integration.engine.stage import Stage

TRACED = TaskHeader("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")


async def add_dead_letters(stage: Stage, count: int, *, payload: bytes = b"", header: bytes | None = None) -> None:
    """Ids from 1 on; each has died as many days ago."""
    await stage.db.execute(
        "insert into tq_dead"
        "       (id, died_at, strand, fair_key, class_id, attempt, failures, flags, error, payload, header)"
        " select n, ostinato_now() - n * interval '1 day', $1 << 9, 0, $2, 5, 3, 0, 'boom', $3, $4"
        "   from generate_series(1, $5) n",
        stage.dispatcher.queue_ids["triages"],
        stage.dispatcher.class_ids[TRIAGE_JOB.name],
        payload,
        header,
        count,
    )


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
    await add_dead_letters(stage, 3)
    purge = admin_pb2.PurgeDeadLettersRequest(ids=[1, 3, 3, 77, -1])
    assert (await api.send("PurgeDeadLetters", purge)).purged == 2
    assert (await api.send("PurgeDeadLetters", purge)).purged == 0
    left = await api.send("ListDeadLetters", admin_pb2.ListDeadLettersRequest())
    assert [letter.id for letter in left.dead_letters] == [2]


async def test_a_dead_letter_is_shown_with_what_it_was_to_do(api: Client, stage: Stage) -> None:
    await add_dead_letters(stage, 1, payload=TriageJobTask(job_id=7).SerializeToString(), header=TRACED.encode())
    letter = await api.send("GetDeadLetter", admin_pb2.GetDeadLetterRequest(id=1))
    assert (letter.queue, letter.task_class, letter.error) == ("triages", "triage-job", "boom")
    assert (letter.attempts, letter.failures, letter.payload_bytes) == (5, 3, 2)
    assert json.loads(letter.payload_json) == {"jobId": "7"}
    assert (letter.raw_payload, letter.traceparent) == (b"", TRACED.traceparent)
    missing = await refused(api.send("GetDeadLetter", admin_pb2.GetDeadLetterRequest(id=2)))
    assert (missing.code, missing.message) == ("NOT_FOUND", "there is no dead letter 2")


async def test_of_a_payload_that_nobody_can_read_the_beginning_is_shown(api: Client, stage: Stage) -> None:
    await add_dead_letters(stage, 1, payload=b"\xff" * 5000)
    letter = await api.send("GetDeadLetter", admin_pb2.GetDeadLetterRequest(id=1))
    assert (letter.payload_json, letter.raw_payload, letter.payload_bytes) == ("", b"\xff" * 4096, 5000)
    (listed,) = (await api.send("ListDeadLetters", admin_pb2.ListDeadLettersRequest())).dead_letters
    assert (listed.raw_payload, listed.payload_bytes) == (b"", 5000)


async def test_dead_letters_are_deleted_by_queue_and_age(api: Client, stage: Stage) -> None:
    await add_dead_letters(stage, 4)  # one per day
    for request, purged in (
        (admin_pb2.PurgeDeadLettersRequest(queue="launches"), 0),
        (admin_pb2.PurgeDeadLettersRequest(queue="nowhere"), 0),
        (admin_pb2.PurgeDeadLettersRequest(queue="triages", older_than=timedelta(days=3, hours=12)), 1),
        (admin_pb2.PurgeDeadLettersRequest(older_than=timedelta(days=2, hours=12)), 1),
        (admin_pb2.PurgeDeadLettersRequest(), 0),
        (admin_pb2.PurgeDeadLettersRequest(queue="triages"), 2),
    ):
        assert (await api.send("PurgeDeadLetters", request)).purged == purged


@pytest.mark.parametrize(
    ("request_", "field", "rule"),
    [
        (admin_pb2.PurgeDeadLettersRequest(ids=[1], queue="triages"), "ids", "must be empty where queue or"),
        (admin_pb2.PurgeDeadLettersRequest(ids=[1], older_than=timedelta(0)), "ids", "must be empty where queue or"),
        (admin_pb2.PurgeDeadLettersRequest(older_than=timedelta(seconds=-1)), "older_than", "must be from 0 to 3660"),
        (admin_pb2.PurgeDeadLettersRequest(older_than=timedelta(days=3661)), "older_than", "must be from 0 to 3660"),
        (admin_pb2.PurgeDeadLettersRequest(queue="x" * 201), "queue", "at most 200 bytes"),
    ],
)
async def test_a_purge_that_says_two_things_or_nonsense_deletes_nothing(
    api: Client, stage: Stage, request_: admin_pb2.PurgeDeadLettersRequest, field: str, rule: str
) -> None:
    await add_dead_letters(stage, 2)
    refusal = await refused(api.send("PurgeDeadLetters", request_))
    assert refusal.code == "INVALID_ARGUMENT"
    (violation,) = refusal.details["BadRequest"].field_violations
    assert violation.field == field
    assert rule in violation.description
    assert (await queue_of(api, "triages")).dead == 2


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
