"""A sweep whose queue refuses its tasks is done by the process that began it; one whose queue is away is not."""

from __future__ import annotations

import pytest

from ostinato.clock import SystemClock
from ostinato.errors import FailedPrecondition, NotFound, OstinatoError, Unavailable
from ostinato.pb.taskqueue.v1.sweep_pb2 import SweepTask
from ostinato.storage.database import Database
from ostinato.taskqueue.reminders.submissions import Submissions
from ostinato.taskqueue.reminders.submitting_port import SubmitResult, SubmitVerdict
from ostinato.taskqueue.sweeping.distributed_sweeper import DistributedSweeper
from ostinato.taskqueue.sweeping.in_process_sweeper import InProcessSweeper
from ostinato.taskqueue.sweeping.undeterred_sweeper import UndeterredSweeper


class RefusingQueue:
    def __init__(self, error: OstinatoError) -> None:
        self._error = error

    async def add(self, tasks: list[SweepTask]) -> None:
        assert tasks
        raise self._error


class Nobody:
    """Is never asked: there are no reminders."""

    async def submit(self, request: bytes) -> SubmitResult:
        return SubmitResult(SubmitVerdict.DONE, "OK")


def sweepers(database: Database, error: OstinatoError) -> tuple[UndeterredSweeper, InProcessSweeper]:
    clock = SystemClock()
    submissions = Submissions(database, Nobody(), clock)
    in_process = InProcessSweeper(database, submissions, clock)
    distributed = DistributedSweeper(database, submissions, RefusingQueue(error), clock, lessors={})
    return UndeterredSweeper(distributed, in_process), in_process


@pytest.mark.parametrize("error", [FailedPrecondition("PERMISSION_DENIED"), NotFound("no such queue")])
async def test_a_queue_that_refuses_does_not_end_sweeping(database: Database, error: OstinatoError) -> None:
    sweeper, in_process = sweepers(database, error)
    await sweeper.sweep()
    assert sum(in_process.stats.sweeps.counts) == 1


async def test_a_queue_that_is_away_is_waited_for(database: Database) -> None:
    sweeper, in_process = sweepers(database, Unavailable("away"))
    with pytest.raises(Unavailable):
        await sweeper.sweep()
    assert sum(in_process.stats.sweeps.counts) == 0
