"""Ids of messages that were applied to invocations: each is applied once, whatever repeats it."""

from __future__ import annotations

from collections.abc import Collection

from ostinato.jobstore.invocation_store import storable
from ostinato.scheduling.invocation_id import InvocationId
from ostinato.storage.transaction import Tx

Message = tuple[InvocationId, str]

_RECORD = """
insert into invocation_message (invocation_id, message_id)
select * from unnest($1::bigint[], $2::text[]) as w(invocation_id, message_id)
    on conflict do nothing
returning invocation_id, message_id
"""


async def record_messages(tx: Tx, messages: Collection[Message]) -> set[Message]:
    """Which of them are new; they are known from the commit on. The caller holds the locks of their invocations."""
    if not messages:
        return set()
    stored = {message: storable(message[1]) for message in messages}
    rows = await tx.fetch(_RECORD, [run for run, _ in stored], list(stored.values()))
    new = {(row["invocation_id"], row["message_id"]) for row in rows}
    return {message for message in messages if (message[0], stored[message]) in new}
