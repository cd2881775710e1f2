"""Bugs that somebody could make with reminders and sweeps. The walks through orders must catch every one of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from ostinato.errors import CommitOutcomeUnknown
from ostinato.storage import database
from ostinato.storage.transaction import Tx
from ostinato.taskqueue.cloud_tasks import submit_verdicts, task_submitter
from ostinato.taskqueue.cloud_tasks.plain_messages import CreateTaskRequest
from ostinato.taskqueue.reminders import parked_store, reminder_store
from ostinato.taskqueue.reminders.happy_path import HappyPath
from ostinato.taskqueue.reminders.reminder_stats import Path
from ostinato.taskqueue.reminders.submissions import Submissions
from ostinato.taskqueue.sweeping import lease_store, lessor, scan, scanning, sweep_turn_store
from ostinato.taskqueue.sweeping.partition import Partition

Plant = Callable[[pytest.MonkeyPatch], None]


def deleted_before_it_is_submitted(patch: pytest.MonkeyPatch) -> None:
    """The reminder goes first, then the request is made."""
    submit = Submissions.submit

    async def delete_first(self: Submissions, reminder_id: UUID, *rest: Any) -> Any:
        await reminder_store.delete_reminders(self._db, [reminder_id])
        return await submit(self, reminder_id, *rest)

    patch.setattr(Submissions, "submit", delete_first)


def deleted_whatever_was_answered(patch: pytest.MonkeyPatch) -> None:
    """Every answer looks like an end."""
    patch.setattr(submit_verdicts, "_HANDED_OVER", submit_verdicts._HANDED_OVER | submit_verdicts._PASSING)


def a_taken_name_is_a_failure(patch: pytest.MonkeyPatch) -> None:
    """Of a task that the queue has already the request counts as refused."""
    patch.setattr(submit_verdicts, "_HANDED_OVER", frozenset({submit_verdicts.OK}))


def a_name_per_request(patch: pytest.MonkeyPatch) -> None:
    """Cloud Tasks makes up the names."""
    submit = task_submitter.TaskSubmitter.submit

    async def submit_nameless(self: Any, request: bytes) -> Any:
        decoded = CreateTaskRequest.FromString(request)
        decoded.task.name = ""
        return await submit(self, decoded.SerializeToString())

    patch.setattr(task_submitter.TaskSubmitter, "submit", submit_nameless)


def submitted_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    """The request is made as soon as the reminder is written."""

    async def remind_at_once(self: HappyPath, tx: Tx, reminders: Sequence[Any]) -> None:
        await reminder_store.insert_reminders(tx, reminders)
        self.after_commit(reminders)

    patch.setattr(HappyPath, "remind", remind_at_once)


def submitted_after_a_commit_in_doubt(patch: pytest.MonkeyPatch) -> None:
    """A commit without an answer counts as one that happened."""
    commit = database.commit

    async def take_for_granted(*connection: Any) -> None:
        try:
            await commit(*connection)
        except CommitOutcomeUnknown:
            return

    patch.setattr(database, "commit", take_for_granted)


def reminded_on_its_own(patch: pytest.MonkeyPatch) -> None:
    """The reminder is not part of the transaction."""
    remind = HappyPath.remind

    async def remind_apart(self: HappyPath, _: Tx, reminders: Sequence[Any]) -> None:
        async with self._submissions._db.transaction() as tx:
            await remind(self, tx, reminders)

    patch.setattr(HappyPath, "remind", remind_apart)


def savepoints_keep_what_was_buffered(patch: pytest.MonkeyPatch) -> None:
    """What is rolled back to a savepoint was added all the same."""

    @asynccontextmanager
    async def forget_nothing(tx: Tx) -> AsyncIterator[None]:
        await tx.execute("savepoint forgetful")
        try:
            yield
        except BaseException:
            await tx.execute("rollback to savepoint forgetful")
            raise

    patch.setattr(Tx, "savepoint", forget_nothing)


def happy_path_deletes_nothing(patch: pytest.MonkeyPatch) -> None:
    """What was submitted after the commit is left to the sweeps."""

    async def save_nothing(self: HappyPath) -> None:
        self._answered.clear()
        self._saving = False

    patch.setattr(HappyPath, "_save_answered", save_nothing)


def answers_go_to_an_old_list(patch: pytest.MonkeyPatch) -> None:
    """The list of answers is looked up before the request: what is saved meanwhile takes its place."""

    async def append_to_what_was(self: HappyPath, waiting: Any) -> None:
        reminder = waiting.reminder
        self._answered.append(await self._submissions.submit(reminder.id, reminder.payload, Path.HAPPY))
        if not self._saving:
            self._saving = True
            self._start(self._save_answered())

    patch.setattr(HappyPath, "_submit", append_to_what_was)


def sweeps_look_no_further(patch: pytest.MonkeyPatch) -> None:
    """What a scan leaves over is nobody's."""
    patch.setattr(scan, "_rest_of", lambda *_: ())


def sweeps_forget_the_last_shard(patch: pytest.MonkeyPatch) -> None:
    """The end of the ids is searched by nobody."""
    split = Partition.split
    patch.setattr(Partition, "split", lambda self, count: split(self, count)[:-1])


def sweeps_read_what_they_found_as_text(patch: pytest.MonkeyPatch) -> None:
    """Those of the second half of the ids are compared as if they were smaller."""
    scan_reminders = scanning.scan_reminders

    async def scan_some(*arguments: Any) -> Any:
        return [found for found in await scan_reminders(*arguments) if found.id.int < 1 << 127]

    patch.setattr(scanning, "scan_reminders", scan_some)


def leases_never_expire(patch: pytest.MonkeyPatch) -> None:
    """A sweeper that dies keeps its section."""
    insert = lease_store.insert_lease

    async def insert_for_ever(tx: Tx, section: str, parts: Sequence[Partition], _: timedelta) -> int:
        return await insert(tx, section, parts, timedelta(days=3650))

    patch.setattr(lessor.lease_store, "insert_lease", insert_for_ever)


def expired_leases_count(patch: pytest.MonkeyPatch) -> None:
    """Nobody looks whether a lease is over."""
    _replace(patch, lease_store, "_LOAD", "expires_at > (select ostinato_now()) as alive", "true as alive")


def leases_are_shared(patch: pytest.MonkeyPatch) -> None:
    """Who takes a lease does not look who has one."""
    patch.setattr(lessor, "exclude_all", lambda parts, _: tuple(parts))


def turns_are_kept(patch: pytest.MonkeyPatch) -> None:
    """Who takes a turn to sweep keeps it."""
    _replace(patch, sweep_turn_store, "_TAKE", "set taken_at = ostinato_now()", "set taken_at = ostinato_now() + '1 d'")
    _replace(patch, sweep_turn_store, "_TAKE", "or taken_at > (select ostinato_now())", "")


def refusals_are_for_ever(patch: pytest.MonkeyPatch) -> None:
    """Who was refused often is tried never again."""
    _replace(patch, reminder_store, "_NOTE", "least($5::interval * 2 ^ least(r.attempts, 20), $6::interval)", "'1 day'")


def what_is_parked_stays(patch: pytest.MonkeyPatch) -> None:
    """A parked reminder is still one that waits."""
    _replace(
        patch,
        reminder_store,
        "_NOTE",
        "delete from tq_reminder r using refused u where r.id = u.id and u.parks",
        "update tq_reminder r set attempts = r.attempts + 1 from refused u where r.id = u.id and u.parks",
    )


def refused_is_dropped(patch: pytest.MonkeyPatch) -> None:
    """What the queue does not want is deleted."""
    save = Submissions._save_refusals

    async def drop(self: Submissions, refused: Sequence[Any]) -> None:
        await save(self, [])
        await reminder_store.delete_reminders(self._db, [attempt.id for attempt in refused])

    patch.setattr(Submissions, "_save_refusals", drop)


def what_one_requeues_is_lost(patch: pytest.MonkeyPatch) -> None:
    """Reminders that were parked are fresh for ever when they are tried again."""
    _replace(patch, parked_store, "_REQUEUE", "select id, ostinato_now(), payload", "select id, 'infinity', payload")


def freshness_does_not_matter(patch: pytest.MonkeyPatch) -> None:
    """A harmless one: sweeps take what is still its writer's. The names of the tasks see to it that nothing doubles."""
    scan_reminders = scanning.scan_reminders

    async def scan_all_as_due(*arguments: Any) -> Any:
        return [replace(found, is_due=True) for found in await scan_reminders(*arguments)]

    patch.setattr(scanning, "scan_reminders", scan_all_as_due)


def _replace(patch: pytest.MonkeyPatch, module: Any, name: str, part: str, instead: str) -> None:
    statement = getattr(module, name)
    assert part in statement
    patch.setattr(module, name, statement.replace(part, instead))


# Each with the seed of a short walk that found it.
REMINDER_PLANTS: dict[Plant, int] = {
    deleted_before_it_is_submitted: 1,
    deleted_whatever_was_answered: 1,
    a_taken_name_is_a_failure: 1,
    a_name_per_request: 1,
    submitted_before_the_commit: 1,
    submitted_after_a_commit_in_doubt: 1,
    reminded_on_its_own: 1,
    savepoints_keep_what_was_buffered: 1,
    happy_path_deletes_nothing: 1,
    answers_go_to_an_old_list: 1,
    sweeps_look_no_further: 6,
    sweeps_forget_the_last_shard: 1,
    sweeps_read_what_they_found_as_text: 1,
    leases_never_expire: 1,
    expired_leases_count: 5,
    leases_are_shared: 5,
    turns_are_kept: 1,
    refusals_are_for_ever: 1,
    what_is_parked_stays: 1,
    refused_is_dropped: 1,
    what_one_requeues_is_lost: 1,
}
