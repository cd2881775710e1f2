"""Notifications: the first final one wins, none gets lost while the launch is being saved."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from prometheus_client import CollectorRegistry

from ostinato.jobflow.engine_tasks import HANDLE_NOTIFICATION, TRIAGE_JOB
from ostinato.jobstore.invocation_store import StoredInvocation
from ostinato.pb.ingest.v1.notifications_pb2 import NotifyRequest
from ostinato.pb.internal.v1.engine_tasks_pb2 import HandleNotificationTask
from ostinato.scheduling.invocation import InvocationStatus as S
from ostinato.scheduling.job_definition import Downstream
from ostinato.taskqueue import Outcome
from ostinato.taskqueue.outcome import Verdict
from ostinato_engine.engine_metrics import EngineMetrics
from ostinato_engine.handle_notification import HandleNotification
from ostinato_engine.run_reports import MAX_RESULT_BYTES
from tests.integration.engine.runs import log_of, read, row_of, set_status, start_run
from tests.integration.engine.stage import Stage

REGISTRY_NAME = "ostinato_engine_notifications_total"


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def handler(stage: Stage, registry: CollectorRegistry) -> HandleNotification:
    return HandleNotification(stage.db, stage.dispatcher, metrics=EngineMetrics(registry))


@pytest.fixture
async def run(stage: Stage) -> StoredInvocation:
    """In RUNNING, with nothing left to triage."""
    return await set_status(stage, (await start_run(stage)).id, S.RUNNING)


async def notify(stage: Stage, invocation_id: int, *messages: NotifyRequest, job_id: int | None = None) -> None:
    """With a token of the run's own job, or of `job_id`."""
    own_job = await stage.db.fetchval("select job_id from invocation where invocation_id = $1", invocation_id)
    for message in messages:
        task = HandleNotificationTask(invocation_id=invocation_id, job_id=job_id or own_job or 0, notification=message)
        await stage.dispatcher.add(HANDLE_NOTIFICATION, task)


async def handle(stage: Stage, handler: HandleNotification) -> Sequence[Outcome | None]:
    return await handler.handle_notifications(await stage.claim(HANDLE_NOTIFICATION))


def message(status: NotifyRequest.Status, **rest: object) -> NotifyRequest:
    return NotifyRequest(status=status, **rest)  # type: ignore[arg-type]


def said(*lines: str, message_id: str = "") -> NotifyRequest:
    return message(NotifyRequest.RUNNING, log_lines=list(lines), message_id=message_id)


async def tasks_left(stage: Stage) -> int:
    queue = stage.dispatcher.queue_ids["notifications"]
    return int(await stage.db.fetchval("select count(*) from tq_ready where strand >> 9 = $1", queue))


async def test_a_final_notification_ends_the_run(
    stage: Stage, handler: HandleNotification, run: StoredInvocation
) -> None:
    request = message(NotifyRequest.SUCCEEDED, log_lines=["almost", "done"])
    request.result.update({"rows": 7})
    await notify(stage, run.id, request)
    assert await handle(stage, handler) == [None]
    row = await row_of(stage, run.id)
    assert row["status"] == S.SUCCEEDED
    assert request.result.FromString(row["result"]) == request.result
    assert (await log_of(stage, run.id))[:2] == ["almost", "done"]
    assert await tasks_left(stage) == 0
    assert [task.payload.job_id for task in await stage.claim(TRIAGE_JOB)] == [run.job_id]


async def test_a_token_of_another_job_says_nothing_about_the_run(
    stage: Stage, handler: HandleNotification, run: StoredInvocation
) -> None:
    await notify(stage, run.id, message(NotifyRequest.SUCCEEDED), job_id=run.job_id + 1)
    assert await handle(stage, handler) == [None]
    assert (await row_of(stage, run.id))["status"] == run.status
    assert await tasks_left(stage) == 0


async def test_a_failure_keeps_the_message_of_the_work(
    stage: Stage, handler: HandleNotification, run: StoredInvocation
) -> None:
    await notify(stage, run.id, message(NotifyRequest.FAILED, error_message="disk full"))
    await handle(stage, handler)
    row = await row_of(stage, run.id)
    assert (row["status"], row["error_reason"], row["error_message"]) == (S.FAILED, "REPORTED_FAILURE", "disk full")


async def test_a_running_notification_only_adds_to_the_log(
    stage: Stage, handler: HandleNotification, run: StoredInvocation
) -> None:
    await notify(stage, run.id, message(NotifyRequest.RUNNING, log_lines=["half way"]))
    await handle(stage, handler)
    assert (await read(stage, run.id)).status is S.RUNNING
    assert await log_of(stage, run.id) == ["half way"]
    assert await stage.claim(TRIAGE_JOB) == []


async def test_a_running_notification_without_lines_changes_nothing(
    stage: Stage, handler: HandleNotification, run: StoredInvocation, registry: CollectorRegistry
) -> None:
    await notify(stage, run.id, message(NotifyRequest.RUNNING))
    assert await handle(stage, handler) == [None]
    assert (await read(stage, run.id)).version == run.version
    assert registry.get_sample_value(REGISTRY_NAME, {"outcome": "NOTHING_NEW"}) == 1
    assert await tasks_left(stage) == 0


@pytest.mark.parametrize("status", [S.STARTING, S.RETRYING])
async def test_an_end_that_overtakes_its_launch_ends_the_run_at_once(
    stage: Stage, handler: HandleNotification, status: S
) -> None:
    """It waited for the launch to be saved: one that was saved as a failure won over it."""
    run = await set_status(stage, (await start_run(stage)).id, status)
    await notify(stage, run.id, message(NotifyRequest.SUCCEEDED, message_id="m1"))
    assert await handle(stage, handler) == [None]
    assert (await read(stage, run.id)).status is S.SUCCEEDED
    assert await tasks_left(stage) == 0


async def test_lines_that_meet_a_launch_being_tried_again_come_again_soon(
    stage: Stage, handler: HandleNotification
) -> None:
    run = await set_status(stage, (await start_run(stage)).id, S.RETRYING)
    await notify(stage, run.id, said("early"))
    (outcome,) = await handle(stage, handler)
    assert outcome is not None
    assert outcome.verdict is Verdict.RETRY_LATER
    assert 0 < outcome.delay.total_seconds() <= 5
    assert (await read(stage, run.id)).status is S.RETRYING
    assert await tasks_left(stage) == 1


async def test_lines_that_meet_a_launch_being_tried_again_are_kept_if_the_end_is_with_them(
    stage: Stage, handler: HandleNotification
) -> None:
    run = await set_status(stage, (await start_run(stage)).id, S.RETRYING)
    await notify(stage, run.id, said("early", message_id="m1"), message(NotifyRequest.SUCCEEDED), said("late"))
    assert await handle(stage, handler) == [None] * 3
    assert (await log_of(stage, run.id))[:-1] == ["early"]
    assert (await read(stage, run.id)).status is S.SUCCEEDED


async def test_the_end_of_another_job_opens_no_log(stage: Stage, handler: HandleNotification) -> None:
    run = await set_status(stage, (await start_run(stage)).id, S.RETRYING)
    await notify(stage, run.id, said("early", message_id="m1"))
    await notify(stage, run.id, message(NotifyRequest.SUCCEEDED), job_id=run.job_id + 1)
    early, foreign = await handle(stage, handler)
    assert early is not None
    assert (foreign, await log_of(stage, run.id)) == (None, [])


async def test_the_first_final_notification_wins_and_later_ones_are_counted(
    stage: Stage, handler: HandleNotification, run: StoredInvocation, registry: CollectorRegistry
) -> None:
    await notify(stage, run.id, message(NotifyRequest.SUCCEEDED))
    await handle(stage, handler)
    await notify(stage, run.id, message(NotifyRequest.FAILED, log_lines=["too late"]))
    assert await handle(stage, handler) == [None]
    assert (await read(stage, run.id)).status is S.SUCCEEDED
    assert "too late" not in await log_of(stage, run.id)
    assert registry.get_sample_value(REGISTRY_NAME, {"outcome": "IGNORED"}) == 1
    assert registry.get_sample_value(REGISTRY_NAME, {"outcome": "APPLIED"}) == 1
    assert await tasks_left(stage) == 0


async def test_a_notification_for_a_run_in_the_history_is_ignored(
    stage: Stage, handler: HandleNotification, run: StoredInvocation
) -> None:
    await notify(stage, run.id, message(NotifyRequest.SUCCEEDED))
    await handle(stage, handler)
    await stage.triage_until_quiet()
    await notify(stage, run.id, message(NotifyRequest.FAILED))
    assert await handle(stage, handler) == [None]
    assert await tasks_left(stage) == 0
    history = await stage.db.fetchval("select status from invocation_history where invocation_id = $1", run.id)
    assert history == S.SUCCEEDED


async def test_notifications_of_one_run_that_come_together_are_one_change_in_their_order(
    stage: Stage, handler: HandleNotification, run: StoredInvocation
) -> None:
    expected = [f"line {number}" for number in range(30)]
    await notify(stage, run.id, *(message(NotifyRequest.RUNNING, log_lines=[line]) for line in expected))
    await notify(stage, run.id, message(NotifyRequest.SUCCEEDED), message(NotifyRequest.RUNNING, log_lines=["late"]))
    tasks = await stage.claim(HANDLE_NOTIFICATION)
    assert await handler.handle_notifications(tasks[::-1]) == [None] * 32
    assert (await log_of(stage, run.id))[:-1] == expected
    assert (await row_of(stage, run.id))["version"] == run.version + 1
    assert await tasks_left(stage) == 0


async def test_a_run_that_is_talked_about_too_much_for_one_change_gets_several(
    stage: Stage, handler: HandleNotification, run: StoredInvocation
) -> None:
    for number in range(5):
        await notify(stage, run.id, message(NotifyRequest.RUNNING, log_lines=[f"{number}"] * 1000))
    tasks = sorted(await stage.claim(HANDLE_NOTIFICATION), key=lambda task: task.eta)
    outcomes = await handler.handle_notifications(tasks)
    assert [outcome is None for outcome in outcomes] == [True] * 3 + [False] * 2
    assert all(outcome.verdict is Verdict.AGAIN for outcome in outcomes if outcome is not None)
    assert await handler.handle_notifications(tasks[3:]) == [None] * 2
    assert await log_of(stage, run.id) == [f"{number}" for number in range(5) for _ in range(1000)]


async def test_repetitions_that_come_together_are_told_apart(
    stage: Stage, handler: HandleNotification, run: StoredInvocation, registry: CollectorRegistry
) -> None:
    await notify(stage, run.id, *(said("once", message_id="m1") for _ in range(4)), said("other", message_id="m2"))
    assert await handle(stage, handler) == [None] * 5
    assert await log_of(stage, run.id) == ["once", "other"]
    assert registry.get_sample_value(REGISTRY_NAME, {"outcome": "REPEATED"}) == 3


async def test_runs_that_are_notified_together_end_in_one_transaction(
    stage: Stage, handler: HandleNotification
) -> None:
    runs = [await set_status(stage, (await start_run(stage, f"job-{number}")).id, S.RUNNING) for number in range(5)]
    for run in runs:
        await notify(stage, run.id, message(NotifyRequest.SUCCEEDED))
    assert await handle(stage, handler) == [None] * 5
    writers = await stage.db.fetch("select distinct xmin::text from invocation")
    assert len(writers) == 1


async def test_a_result_that_is_too_large_is_left_out_but_the_end_counts(
    stage: Stage, handler: HandleNotification, run: StoredInvocation
) -> None:
    request = message(NotifyRequest.SUCCEEDED)
    request.result.update({"text": "x" * MAX_RESULT_BYTES})
    await notify(stage, run.id, request)
    await handle(stage, handler)
    row = await row_of(stage, run.id)
    assert (row["status"], row["result"]) == (S.SUCCEEDED, None)
    assert any("left out" in line for line in await log_of(stage, run.id))


async def test_a_notified_end_triggers_downstream_jobs(stage: Stage, handler: HandleNotification) -> None:
    next_job = await stage.add_job("next")
    run = await set_status(stage, (await start_run(stage, downstream=(Downstream("next"),))).id, S.RUNNING)
    await notify(stage, run.id, message(NotifyRequest.SUCCEEDED))
    await handle(stage, handler)
    assert len(await stage.pending(next_job)) == 1


# What senders and networks do to messages. Each order of arrival ends in the same state.


async def arrive(stage: Stage, handler: HandleNotification, run: StoredInvocation, *messages: NotifyRequest) -> None:
    """Each as a task of its own, applied before the next one comes."""
    for each in messages:
        await notify(stage, run.id, each)
        assert await handle(stage, handler) == [None]


async def test_a_message_that_comes_twice_is_applied_once_and_counted(
    stage: Stage, handler: HandleNotification, run: StoredInvocation, registry: CollectorRegistry
) -> None:
    await arrive(stage, handler, run, said("one", message_id="m1"), said("two", message_id="m2"))
    await arrive(stage, handler, run, said("one", message_id="m1"), said("other text", message_id="m2"))
    assert await log_of(stage, run.id) == ["one", "two"]
    assert registry.get_sample_value(REGISTRY_NAME, {"outcome": "REPEATED"}) == 2
    assert await tasks_left(stage) == 0


async def test_messages_without_an_id_are_all_applied(
    stage: Stage, handler: HandleNotification, run: StoredInvocation
) -> None:
    await arrive(stage, handler, run, said("same"), said("same"))
    assert await log_of(stage, run.id) == ["same", "same"]


async def test_an_id_is_known_per_run(stage: Stage, handler: HandleNotification, run: StoredInvocation) -> None:
    other = await set_status(stage, (await start_run(stage, "other")).id, S.RUNNING)
    for each in (run, other):
        await arrive(stage, handler, each, said("here", message_id="m1"))
        assert await log_of(stage, each.id) == ["here"]


async def test_a_final_message_that_comes_twice_ends_the_run_once(
    stage: Stage, handler: HandleNotification, run: StoredInvocation
) -> None:
    end = message(NotifyRequest.SUCCEEDED, log_lines=["done"], message_id="m1")
    await arrive(stage, handler, run, end, end)
    assert (await log_of(stage, run.id)).count("done") == 1
    assert len(await stage.claim(TRIAGE_JOB)) == 1


async def test_the_end_that_overtakes_a_running_message_stays_the_end(
    stage: Stage, handler: HandleNotification, run: StoredInvocation, registry: CollectorRegistry
) -> None:
    await arrive(stage, handler, run, message(NotifyRequest.SUCCEEDED), said("half way", message_id="m1"))
    assert (await read(stage, run.id)).status is S.SUCCEEDED
    assert "half way" not in await log_of(stage, run.id)
    assert registry.get_sample_value(REGISTRY_NAME, {"outcome": "IGNORED"}) == 1


async def test_lines_and_the_end_from_before_the_launch_is_saved_count_at_once(
    stage: Stage, handler: HandleNotification
) -> None:
    run = await start_run(stage)
    await notify(stage, run.id, said("early", message_id="m1"))
    assert await handle(stage, handler) == [None]
    assert ((await read(stage, run.id)).status, await log_of(stage, run.id)) == (S.STARTING, ["early"])
    await notify(stage, run.id, message(NotifyRequest.SUCCEEDED), said())
    assert await handle(stage, handler) == [None] * 2
    assert (await read(stage, run.id)).status is S.SUCCEEDED


async def test_a_message_from_before_a_repeated_launch_is_saved_is_applied_once_it_is(
    stage: Stage, handler: HandleNotification
) -> None:
    run = await set_status(stage, (await start_run(stage)).id, S.RETRYING)
    await notify(stage, run.id, said("early", message_id="m1"))
    tasks = await stage.claim(HANDLE_NOTIFICATION)
    (outcome,) = await handler.handle_notifications(tasks)
    assert outcome is not None
    await set_status(stage, run.id, S.RUNNING)
    assert await handler.handle_notifications(tasks) == [None]
    assert await log_of(stage, run.id) == ["early"]


async def test_the_same_message_at_two_engines_at_once_is_applied_once(
    stage: Stage, handler: HandleNotification, run: StoredInvocation
) -> None:
    for _ in range(2):
        await notify(stage, run.id, said("once", message_id="m1"))
    first, second = await stage.claim(HANDLE_NOTIFICATION)
    outcomes = await asyncio.gather(handler.handle_notifications([first]), handler.handle_notifications([second]))
    assert outcomes == [[None], [None]]
    assert await log_of(stage, run.id) == ["once"]
    assert await tasks_left(stage) == 0


async def test_messages_of_overlapping_sets_of_runs_do_not_deadlock(stage: Stage, handler: HandleNotification) -> None:
    runs = [await set_status(stage, (await start_run(stage, f"job-{number}")).id, S.RUNNING) for number in range(4)]
    for _ in range(2):
        for run in runs:
            await notify(stage, run.id, said("once", message_id="m1"))
    tasks = await stage.claim(HANDLE_NOTIFICATION)
    halves = tasks[:4], tasks[:3:-1]
    assert await asyncio.gather(*map(handler.handle_notifications, halves)) == [[None] * 4] * 2
    assert [await log_of(stage, run.id) for run in runs] == [["once"]] * 4


async def test_lines_that_meet_a_launch_being_given_up_for_now_are_not_taken_for_a_repetition_later(
    stage: Stage, handler: HandleNotification
) -> None:
    """Their id was recorded for a run that takes lines, and they were not applied, because it did not any more."""
    run = await start_run(stage)
    await notify(stage, run.id, said("early", message_id="m1"))
    tasks = await stage.claim(HANDLE_NOTIFICATION)
    async with stage.db.transaction() as saving:
        await saving.execute("update invocation set status = $1, version = version + 1", S.RETRYING)
        handling = asyncio.ensure_future(handler.handle_notifications(tasks))
        await stage.until_somebody_waits()
    (outcome,) = await handling
    assert outcome is not None
    await set_status(stage, run.id, S.RUNNING)
    assert await handler.handle_notifications(tasks) == [None]
    assert await log_of(stage, run.id) == ["early"]


async def test_lines_of_one_run_and_signs_of_life_of_another_do_not_deadlock(
    stage: Stage, handler: HandleNotification
) -> None:
    runs = [await set_status(stage, (await start_run(stage, f"job-{number}")).id, S.RUNNING) for number in range(2)]
    for _ in range(4):
        for talking, quiet in (runs, runs[::-1]):
            await notify(stage, talking.id, said("a line"))
            await notify(stage, quiet.id, said())
        tasks = sorted(await stage.claim(HANDLE_NOTIFICATION), key=lambda task: task.eta)
        halves = tasks[:2], tasks[2:]
        assert await asyncio.gather(*map(handler.handle_notifications, halves)) == [[None] * 2] * 2


@pytest.mark.parametrize("text", [(), ("a line",)], ids=["without lines", "with lines"])
async def test_a_running_message_is_a_sign_of_life(
    stage: Stage, handler: HandleNotification, run: StoredInvocation, text: tuple[str, ...]
) -> None:
    await stage.db.execute("update invocation set last_heartbeat_at = '2026-01-01T00:00:00Z'")
    await arrive(stage, handler, run, said(*text))
    assert await stage.db.fetchval("select last_heartbeat_at > '2026-02-01T00:00:00Z' from invocation")


async def test_a_foreign_token_is_no_sign_of_life(
    stage: Stage, handler: HandleNotification, run: StoredInvocation
) -> None:
    before = (await row_of(stage, run.id))["last_heartbeat_at"]
    await notify(stage, run.id, said("x"), job_id=run.job_id + 1)
    await handle(stage, handler)
    assert (await row_of(stage, run.id))["last_heartbeat_at"] == before


async def test_what_was_refused_when_it_came_is_a_dead_letter_again_and_others_are_applied(
    stage: Stage, handler: HandleNotification, run: StoredInvocation
) -> None:
    refused = HandleNotificationTask.Refused(reason="INVALID_ARGUMENT: status: must be one")
    await stage.dispatcher.add(HANDLE_NOTIFICATION, HandleNotificationTask(refused=refused))
    await notify(stage, run.id, message(NotifyRequest.SUCCEEDED))
    outcomes = {outcome and (outcome.verdict, outcome.error) for outcome in await handle(stage, handler)}
    again = "Fatal: refused when it came: INVALID_ARGUMENT: status: must be one"
    assert outcomes == {None, (Verdict.DEAD, again)}
    assert (await read(stage, run.id)).status is S.SUCCEEDED


async def test_nothing_but_refused_reports_may_come(stage: Stage, handler: HandleNotification) -> None:
    task = HandleNotificationTask(refused=HandleNotificationTask.Refused(reason="no JSON"))
    await stage.dispatcher.add(HANDLE_NOTIFICATION, task)
    (outcome,) = await handle(stage, handler)
    assert outcome
    assert outcome.verdict is Verdict.DEAD
