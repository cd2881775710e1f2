"""The one door through which an invocation changes: state, log, triggers for others and the next triage in one commit.

What has ended stays as it is, and a change made from an outdated read is not applied: at most one finish of an
invocation is accepted. The job is never locked here, it gets a triage task instead (lock order: job before invocation).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ostinato.jobflow.change_log import Followed, write_change_log
from ostinato.jobflow.emit_retries import emit_retries
from ostinato.jobflow.emit_triggers import Emission, emit_triggers
from ostinato.jobflow.invocation_change import (
    ChangePlan,
    InvocationChange,
    check_move,
    plan_change,
    retry_of,
    stamped,
    update_of,
)
from ostinato.jobflow.invocation_timers import SetTimers, end_timers, set_timers
from ostinato.jobflow.kick_triage import kick_triage
from ostinato.jobstore.downstream_store import find_downstream_jobs
from ostinato.jobstore.invocation_store import (
    ChangedInvocation,
    InvocationInput,
    change_invocations,
    load_invocation_inputs,
)
from ostinato.scheduling.invocation import is_final
from ostinato.scheduling.invocation_id import InvocationId
from ostinato.storage.transaction import Tx
from ostinato.taskqueue import Dispatcher


async def apply_changes(
    tx: Tx, dispatcher: Dispatcher, changes: Sequence[InvocationChange]
) -> dict[InvocationId, ChangedInvocation]:
    """Applies what still is as it was read; at most one change per invocation. Returns those that were applied.

    For the others the caller finds out by a fresh read whether they ended or only changed.
    """
    if not changes:
        return {}
    plans = {plan.change.invocation.id: plan for plan in await _make_plans(tx, changes)}
    applied = {row.id: row for row in await change_invocations(tx, [update_of(plan) for plan in plans.values()])}
    done = [plans[invocation_id] for invocation_id in applied]
    missing = await _emit(tx, dispatcher, done)
    refused = await emit_retries(tx, [retry for plan in done if (retry := retry_of(plan, applied)) is not None])
    timers_set = await set_timers(tx, dispatcher, [_timers_of(plan, applied) for plan in done if plan.change.timers])
    timers_dropped = await end_timers(tx, [plan.change.invocation.id for plan in done if plan.may_leave_timers])
    followed = Followed(missing, {retry.invocation for retry in refused}, timers_set, timers_dropped)
    await write_change_log(tx, done, applied, followed)
    ended = [row for row in applied.values() if plans[row.id].ends]
    traces = {row.job_id: trace for row in ended if (trace := plans[row.id].change.traceparent)}
    await kick_triage(tx, dispatcher, ((row.job_id, row.project_id) for row in ended), traces)
    return applied


async def _make_plans(tx: Tx, changes: Sequence[InvocationChange]) -> list[ChangePlan]:
    inputs = await _load_missing_inputs(tx, changes)
    for change in changes:
        check_move(change)
    plans = [plan_change(change, inputs) for change in changes]
    if not any(plan.triggers for plan in plans):
        return plans
    now = await tx.now()
    return [replace(plan, triggers=stamped(plan, now)) for plan in plans]


async def _load_missing_inputs(tx: Tx, changes: Sequence[InvocationChange]) -> Mapping[InvocationId, InvocationInput]:
    known = {change.invocation.id: change.input for change in changes if change.input is not None}
    unknown = [
        change.invocation.id for change in changes if is_final(change.to_status) and change.invocation.id not in known
    ]
    return known | await load_invocation_inputs(tx, unknown) if unknown else known


def _timers_of(plan: ChangePlan, applied: Mapping[InvocationId, ChangedInvocation]) -> SetTimers:
    return SetTimers(applied[plan.change.invocation.id], plan.change.timers, plan.change.traceparent)


async def _emit(tx: Tx, dispatcher: Dispatcher, plans: Sequence[ChangePlan]) -> set[tuple[str, str]]:
    """Gives the triggers to the downstream jobs; returns the jobs that don't exist (any more)."""
    wanted = {receiver for plan in plans if plan.triggers for receiver in plan.receivers}
    if not wanted:
        return set()
    found = await find_downstream_jobs(tx, wanted)
    emissions = [
        Emission(found[receiver].job_id, found[receiver].project_id, trigger)
        for plan in plans
        for receiver in plan.receivers
        if receiver in found
        for trigger in plan.triggers
    ]
    await emit_triggers(tx, dispatcher, emissions)
    return wanted - found.keys()
