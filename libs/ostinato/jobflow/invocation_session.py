"""Edits invocations: read, decide, compare-and-swap, and again from a fresh read where somebody was faster.

Used by everything that changes an invocation. Whoever loses the race decides anew with what the winner left, so
two edits never mix.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ostinato.errors import Contention
from ostinato.jobflow.finish_invocations import apply_changes
from ostinato.jobflow.invocation_change import InvocationChange
from ostinato.jobstore.invocation_store import ChangedInvocation, StoredInvocation, load_invocations
from ostinato.scheduling.invocation_id import InvocationId
from ostinato.storage.transaction import Tx
from ostinato.taskqueue import Dispatcher

MAX_ROUNDS = 10

# None leaves the invocation as it is. Called again with a newer read after a lost race; must have no effects.
Decide = Callable[[StoredInvocation], InvocationChange | None]


async def edit_invocations(
    tx: Tx,
    dispatcher: Dispatcher,
    edits: Mapping[InvocationId, Decide],
    *,
    known: Mapping[InvocationId, StoredInvocation] | None = None,
) -> dict[InvocationId, ChangedInvocation]:
    """Returns what was changed. What is in the history or gone is left out without asking its `Decide`.

    `known` are reads that the caller has already; they cost a round where they are outdated, never correctness.
    Raises Contention when others kept winning.
    """
    applied: dict[InvocationId, ChangedInvocation] = {}
    current = known if known is not None else await load_invocations(tx, edits)
    for _ in range(MAX_ROUNDS):
        changes = [change for found in current.values() if (change := edits[found.id](found)) is not None]
        applied |= await apply_changes(tx, dispatcher, changes)
        lost = [change.invocation.id for change in changes if change.invocation.id not in applied]
        if not lost:
            return applied
        current = await load_invocations(tx, lost)
    raise Contention(f"{len(lost)} invocations changed faster than they could be edited")
