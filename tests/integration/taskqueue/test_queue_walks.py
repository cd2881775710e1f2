"""Random walks of the queue hold what they should; and a bug that somebody planted is found by them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import Phase

from ostinato.storage.transaction import Tx
from ostinato.taskqueue.embedded import dead_letter_store, name_store, ready_store, worker_store
from tests.integration.taskqueue.queue_walk import walk

pytestmark = pytest.mark.timeout(240)  # thirty walks of hundreds of round trips each, beside other tests


def test_whatever_happens_the_queue_holds_what_it_should(virtual_database_url: str) -> None:
    walk(virtual_database_url, walks=30)


def _without(statement: str, part: str, instead: str = "") -> str:
    assert part in statement
    return statement.replace(part, instead)


@asynccontextmanager
async def _savepoint_that_forgets_nothing(tx: Tx) -> AsyncIterator[None]:
    await tx.execute("savepoint forgetful")
    try:
        yield
    except BaseException:
        await tx.execute("rollback to savepoint forgetful")
        raise


PLANTED_BUGS = {
    "completion without a fence": (
        ready_store,
        "_COMPLETE_NAMED",
        _without(ready_store._COMPLETE_NAMED, "ctid = any($2::tid[])", "$1::int is not null and $2::tid[] is not null"),
    ),
    "completion of another worker's claim": (
        ready_store,
        "_COMPLETE_NAMED",
        _without(
            _without(ready_store._COMPLETE_NAMED, "ctid = any($2::tid[])", "$2::tid[] is not null"),
            "claimed_by = $1",
            "$1::int > 0",
        ),
    ),
    "an end that keeps its name": (ready_store, "_BURY", _without(ready_store._BURY, "flags & 1 <> 0", "false")),
    "a reaping of the living": (
        worker_store,
        "_REAP",
        _without(worker_store._REAP, "and expires_at < ostinato_now()"),
    ),
    "a name that is never free again": (
        name_store,
        "_ADD_READY",
        _without(name_store._ADD_READY, "tq_name.expires_at <= ostinato_now()", "false"),
    ),
    "a requeued task without its name": (
        dead_letter_store,
        "_REQUEUE",
        _without(dead_letter_store._REQUEUE, "set expires_at = 'infinity'", "set expires_at = n.expires_at"),
    ),
    "a retry that runs at once": (ready_store, "_RETRY", _without(ready_store._RETRY, "+ u.delay", "- u.delay")),
    "a savepoint that leaves what was buffered": (Tx, "savepoint", _savepoint_that_forgets_nothing),
}


@pytest.mark.leaves_damage("a bug was planted")
@pytest.mark.parametrize("bug", PLANTED_BUGS)
def test_a_planted_bug_is_found(virtual_database_url: str, monkeypatch: pytest.MonkeyPatch, bug: str) -> None:
    monkeypatch.setattr(*PLANTED_BUGS[bug])
    with pytest.raises(AssertionError):
        walk(virtual_database_url, walks=30, phases=(Phase.generate,))
