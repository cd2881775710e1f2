"""Bugs that somebody could make, each as small as it would be made. The random walks must catch every one of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from ostinato.jobflow import finish_invocations, fire_slots
from ostinato.jobflow.engine_tasks import TRIAGE_JOB
from ostinato.jobstore import invocation_store, trigger_store
from ostinato.jobstore.trigger_store import StoredTrigger
from ostinato.scheduling.invocation import InvocationStatus
from ostinato.scheduling.triage import TriagePlan, TriageSnapshot, decide_triage
from ostinato.storage.transaction import Tx
from ostinato.taskqueue import Dispatcher, TaskClass
from ostinato.taskqueue.embedded import ready_store, worker_store
from ostinato_engine import (
    cron_loop,
    deadline_loop,
    handle_notification,
    run_reports,
    save_launches,
    triage_applying,
    triage_jobs,
)

Plant = Callable[[pytest.MonkeyPatch], None]


def no_fence(patch: pytest.MonkeyPatch) -> None:
    """The end of a task asks for the task alone, not for whose it is."""
    fence = "where ctid = any($2::tid[]) and id = any($3::bigint[]) and claimed_by = $1"
    open_to_all = "where $2::tid[] is not null and id = any($3::bigint[]) and $1::int is not null"
    for name in ("_COMPLETE", "_RETRY", "_RELEASE"):
        sql = getattr(ready_store, name)
        assert fence in sql
        patch.setattr(ready_store, name, sql.replace(fence, open_to_all))


def no_kick_while_one_is_queued(patch: pytest.MonkeyPatch) -> None:
    """A triage task that is there already looks like enough."""
    add_many = Dispatcher.add_many

    async def add_missing(
        self: Dispatcher, task_class: TaskClass[Any], payloads: Sequence[Any], *, tx: Tx, **options: Any
    ) -> list[int]:
        if task_class is not TRIAGE_JOB:
            return await add_many(self, task_class, payloads, tx=tx, **options)
        encoded = [payload.SerializeToString() for payload in payloads]
        there = {row[0] for row in await tx.fetch("select payload from tq_ready where payload = any($1)", encoded)}
        options.pop("fair_keys", None)
        wanted = [payload for payload in payloads if payload.SerializeToString() not in there]
        return await add_many(self, task_class, wanted, tx=tx, **options)

    patch.setattr(Dispatcher, "add_many", add_missing)


def finals_do_not_absorb(patch: pytest.MonkeyPatch) -> None:
    """The compare-and-swap of invocations compares nothing."""
    sql = invocation_store._CHANGE.replace("and i.version = w.version and i.finished_at is null", "")
    assert sql != invocation_store._CHANGE
    patch.setattr(invocation_store, "_CHANGE", sql)


def forgotten_tombstone(patch: pytest.MonkeyPatch) -> None:
    """Consumed ids are deleted, all of them."""

    def all_pass(triggers: Sequence[StoredTrigger]) -> tuple[list[StoredTrigger], list[StoredTrigger]]:
        return list(triggers), []

    patch.setattr(trigger_store, "_by_memory", all_pass)


def completion_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    """A launch's task ends on its own, before the transaction that saves what it led to."""
    save = save_launches.SaveLaunches._save

    async def complete_first(self: Any, ends: Sequence[Any]) -> Collection[Any]:
        tasks = [end.task for end in ends if end.completes_task]
        if tasks:
            await ready_store.complete(self._db, tasks[0].worker_id, [task.fence for task in tasks])
        return await save(self, [replace(end, task=_Completed()) for end in ends])

    async def nothing(_: Tx, __: Sequence[Any]) -> None:
        return

    patch.setattr(save_launches, "complete_many_in", nothing)
    patch.setattr(save_launches.SaveLaunches, "_save", complete_first)


class _Completed:
    """Stands for a task that ended."""

    traceparent = None
    completed = True


def eager_reaper(patch: pytest.MonkeyPatch) -> None:
    """Who is not me is dead."""
    for name in ("BEAT_SQL", "_REAP"):
        sql = getattr(worker_store, name)
        eager = sql.replace("expires_at < (select ostinato_now())", "true").replace(
            "expires_at < ostinato_now()", "true"
        )
        assert eager != sql
        patch.setattr(worker_store, name, eager)


def no_deadline(patch: pytest.MonkeyPatch) -> None:
    """Nobody will ever look whether the run takes too long."""
    insert = triage_applying.insert_invocations

    async def insert_without(tx: Tx, invocations: Sequence[Any], *, now: datetime) -> None:
        never = now + timedelta(days=3650)
        await insert(tx, [replace(invocation, deadline_at=never) for invocation in invocations], now=now)

    patch.setattr(triage_applying, "insert_invocations", insert_without)


def slot_fires_twice(patch: pytest.MonkeyPatch) -> None:
    """Now and then the trigger is emitted and the row stays where it was."""
    save = cron_loop.save_cron_states
    calls = 0

    async def save_sometimes(tx: Tx, rows: Sequence[Any]) -> None:
        nonlocal calls
        calls += 1
        if calls % 4:
            await save(tx, rows)

    patch.setattr(cron_loop, "save_cron_states", save_sometimes)


def consumed_without_a_run(patch: pytest.MonkeyPatch) -> None:
    """Of several runs that start together one is forgotten."""
    consume = triage_applying._consume

    async def consume_more(tx: Tx, decided: Sequence[Any], now: datetime) -> Any:
        starts = await consume(tx, decided, now)
        return starts[:-1] if len(starts) > 1 else starts

    patch.setattr(triage_applying, "_consume", consume_more)


def retry_is_lost(patch: pytest.MonkeyPatch) -> None:
    """A failed task leaves the ready table and arrives nowhere."""
    sql = ready_store._RETRY
    lost = sql[: sql.index("insert into tq_later")] + "select count(*) from gone, unnest($3::bigint[], $4::interval[], "
    lost += "$5::smallint[], $6::bytea[]) u(id, delay, failures, header) where gone.id = u.id"
    patch.setattr(ready_store, "_RETRY", lost)


def the_dead_keep_their_tasks(patch: pytest.MonkeyPatch) -> None:
    """The reaper ends leases and frees nothing."""
    patch.setattr(worker_store, "_REAP", worker_store._REAP.replace("r.claimed_by = dead.worker_id", "false"))


def skipped_slots_are_not_told(patch: pytest.MonkeyPatch) -> None:
    """What was missed while nobody ran leaves no trace."""

    async def tell_nothing(*_: Any, **__: Any) -> None:
        return

    patch.setattr(fire_slots, "insert_occurrences", tell_nothing)


def pauses_do_not_count(patch: pytest.MonkeyPatch) -> None:
    """Triage does not look whether the job is paused."""
    _patch_triage(patch, lambda snapshot: replace(snapshot, paused=False))


def one_run_too_many(patch: pytest.MonkeyPatch) -> None:
    """Less or equal instead of less."""

    def with_one_more(snapshot: TriageSnapshot) -> TriageSnapshot:
        limit = snapshot.policy.max_concurrent_invocations + 1
        return replace(snapshot, policy=replace(snapshot.policy, max_concurrent_invocations=limit))

    _patch_triage(patch, with_one_more)


def _patch_triage(patch: pytest.MonkeyPatch, change: Callable[[TriageSnapshot], TriageSnapshot]) -> None:
    def decide(snapshot: TriageSnapshot) -> TriagePlan:
        return decide_triage(change(snapshot))

    patch.setattr(triage_jobs, "decide_triage", decide)


def ends_are_told_to_one_job_only(patch: pytest.MonkeyPatch) -> None:
    """Of several downstream jobs the first gets its trigger."""
    find = finish_invocations.find_downstream_jobs

    async def find_one(tx: Tx, names: Collection[tuple[str, str]]) -> Mapping[tuple[str, str], Any]:
        return dict(list((await find(tx, names)).items())[:1])

    patch.setattr(finish_invocations, "find_downstream_jobs", find_one)


def ends_ask_for_no_triage(patch: pytest.MonkeyPatch) -> None:
    """A run ends, and its job is not looked at."""

    async def kick_nobody(*_: Any) -> None:
        return

    patch.setattr(finish_invocations, "kick_triage", kick_nobody)


def backoffs_end_unseen(patch: pytest.MonkeyPatch) -> None:
    """Nobody wakes the job when a retry's time has come."""
    ask = triage_applying._ask_for_more

    async def ask_for_less(tx: Tx, dispatcher: Dispatcher, decided: Sequence[Any]) -> None:
        await ask(tx, dispatcher, [replace(entry, plan=replace(entry.plan, adds_wake=False)) for entry in decided])

    patch.setattr(triage_applying, "_ask_for_more", ask_for_less)


def message_ids_are_not_remembered(patch: pytest.MonkeyPatch) -> None:
    """Each report looks new."""

    async def all_are_new(_: Tx, messages: Collection[Any]) -> set[Any]:
        return set(messages)

    patch.setattr(handle_notification, "record_messages", all_are_new)


def the_second_end_wins(patch: pytest.MonkeyPatch) -> None:
    """What stands behind the end of a run is not late."""
    judge = run_reports._judge

    def judge_as_first(*report: Any, **options: Any) -> Any:
        return judge(*report, **options | {"ended": False})

    patch.setattr(run_reports, "_judge", judge_as_first)


def calls_know_better_than_reports(patch: pytest.MonkeyPatch) -> None:
    """A call that fails ends its run, whatever was reported."""

    async def nothing_waits(*_: Any) -> set[Any]:
        return set()

    patch.setattr(save_launches, "find_waiting_ends", nothing_waits)


def a_running_run_is_not_looked_at_sooner(patch: pytest.MonkeyPatch) -> None:
    """Who looks at a run that is being launched forgets that it may be running, and silent, right after."""
    decide = deadline_loop.decide_deadline

    def decide_as_if_it_stayed(status: Any, times: Any, timeouts: Any, now: datetime, **options: Any) -> Any:
        if status is not InvocationStatus.RUNNING:
            timeouts = replace(timeouts, heartbeat=None)
        return decide(status, times, timeouts, now, **options)

    patch.setattr(deadline_loop, "decide_deadline", decide_as_if_it_stayed)


# Each with a seed that found it; should the walks change, others are tried.
PLANTS: dict[Plant, int] = {
    no_fence: 7,
    no_kick_while_one_is_queued: 2,
    finals_do_not_absorb: 1,
    forgotten_tombstone: 1,
    completion_before_the_commit: 1,
    eager_reaper: 1,
    no_deadline: 1,
    slot_fires_twice: 2,
    consumed_without_a_run: 1,
    retry_is_lost: 2,
    the_dead_keep_their_tasks: 1,
    skipped_slots_are_not_told: 3,
    pauses_do_not_count: 1,
    one_run_too_many: 1,
    ends_are_told_to_one_job_only: 1,
    ends_ask_for_no_triage: 1,
    backoffs_end_unseen: 2,
    message_ids_are_not_remembered: 1,
    the_second_end_wins: 1,
    calls_know_better_than_reports: 6,
    a_running_run_is_not_looked_at_sooner: 13,
}
