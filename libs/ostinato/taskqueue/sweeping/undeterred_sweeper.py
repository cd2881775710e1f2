"""A distributed sweep, unless its queue refuses: then one of this process.

Without the queue of sweeps, or without the right to it, nobody else would ever look for what was left behind, and what
is refused like the sweep itself would never become a dead letter. A queue that is only away is waited for.
"""

from __future__ import annotations

import logging

from ostinato.errors import FailedPrecondition, InvalidArgument, NotFound
from ostinato.taskqueue.sweeping.distributed_sweeper import DistributedSweeper
from ostinato.taskqueue.sweeping.in_process_sweeper import InProcessSweeper

_log = logging.getLogger(__name__)
_REFUSALS = (FailedPrecondition, InvalidArgument, NotFound)


class UndeterredSweeper:
    def __init__(self, distributed: DistributedSweeper, in_process: InProcessSweeper) -> None:
        self.stats = distributed.stats
        self._distributed = distributed
        self._in_process = in_process

    async def sweep(self) -> None:
        """Raises FailedPrecondition if a sweep of this process is running, and what passes by itself."""
        try:
            await self._distributed.sweep()
        except _REFUSALS as error:
            _log.error("the queue of sweeps refuses, this process sweeps by itself: %s", error)
            await self._in_process.sweep()
