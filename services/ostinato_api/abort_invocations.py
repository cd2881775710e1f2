"""Ends running invocations at once, on behalf of a person."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from ostinato.errors import Contention
from ostinato.jobflow.finish_invocations import apply_changes
from ostinato.jobflow.invocation_change import InvocationChange, RunError
from ostinato.jobstore.invocation_log_store import LogLine
from ostinato.jobstore.invocation_store import StoredInvocation, load_invocations
from ostinato.scheduling.invocation import InvocationStatus, is_final
from ostinato.scheduling.invocation_id import InvocationId
from ostinato.storage.transaction import Tx
from ostinato.taskqueue import Dispatcher

REASON = "ABORTED"
# Each round that leaves something over was overtaken by another change of the same invocation.
_ROUNDS = 10


async def abort_invocations(
    tx: Tx, dispatcher: Dispatcher, ids: Sequence[InvocationId], *, by: str, reason: str
) -> None:
    """Those that have ended stay as they are. Raises Contention if others keep changing one of them."""
    left = list(ids)
    for _ in range(_ROUNDS):
        running = [row for row in (await load_invocations(tx, left)).values() if not is_final(row.status)]
        if not running:
            return
        now = await tx.now()
        applied = await apply_changes(tx, dispatcher, [_abort(row, by, reason, now) for row in running])
        left = [row.id for row in running if row.id not in applied]
    if left:
        raise Contention(f"invocation {left[0]} keeps changing")


def _abort(row: StoredInvocation, by: str, reason: str, now: datetime) -> InvocationChange:
    message = f"aborted by {by}: {reason}" if reason else f"aborted by {by}"
    return InvocationChange(
        invocation=row,
        to_status=InvocationStatus.ABORTED,
        error=RunError(REASON, message),
        log_lines=[LogLine(now, message)],
    )
