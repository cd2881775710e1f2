"""Invocations on a stage, made by a real triage."""

from __future__ import annotations

from typing import Any

from ostinato.jobstore.invocation_store import StoredInvocation, load_invocations
from ostinato.pb.internal.v1.stored_pb2 import TriggerList
from ostinato.scheduling.invocation import InvocationStatus
from ostinato.scheduling.invocation_id import InvocationId
from ostinato.storage.transaction import Row
from tests.integration.engine.stage import Stage


async def start_run(stage: Stage, name: str = "report", **definition: Any) -> StoredInvocation:
    """A new job with one invocation in STARTING; the triage that made it is done."""
    job_id = await stage.add_job(name, **definition)
    return await start_run_of(stage, job_id)


async def start_run_of(stage: Stage, job_id: int) -> StoredInvocation:
    before = {row["invocation_id"] for row in await stage.active(job_id)}
    await stage.emit_ids(job_id, f"t{len(before)}")
    await stage.triage()
    (created,) = {row["invocation_id"] for row in await stage.active(job_id)} - before
    return await read(stage, created)


async def read(stage: Stage, invocation_id: int) -> StoredInvocation:
    return (await load_invocations(stage.db, [InvocationId(invocation_id)]))[InvocationId(invocation_id)]


async def row_of(stage: Stage, invocation_id: int) -> Row:
    row = await stage.db.fetchrow("select * from invocation where invocation_id = $1", invocation_id)
    assert row is not None
    return row


async def set_status(stage: Stage, invocation_id: int, status: InvocationStatus) -> StoredInvocation:
    """Puts an invocation where a test wants it, past the door."""
    await stage.db.execute(
        "update invocation set status = $2, version = version + 1, started_at = ostinato_now() "
        "where invocation_id = $1",
        invocation_id,
        status,
    )
    return await read(stage, invocation_id)


async def log_of(stage: Stage, invocation_id: int) -> list[str]:
    rows = await stage.db.fetch(
        "select line from invocation_log where invocation_id = $1 order by version, line_no", invocation_id
    )
    return [row[0] for row in rows]


async def outgoing_of(stage: Stage, invocation_id: int) -> list[str]:
    row = await row_of(stage, invocation_id)
    return [trigger.id for trigger in TriggerList.FromString(row["outgoing"] or b"").triggers]
