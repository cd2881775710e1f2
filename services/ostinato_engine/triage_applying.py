"""Carries out the plans of many jobs: one statement per table, in the triage's transaction.

Order: job_cron before invocation (the jobs are locked already); an invocation's input is inserted before the
invocation, because it is what claims the id.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

from google.protobuf.message import DecodeError

from ostinato.jobflow.engine_tasks import TRIAGE_JOB
from ostinato.jobflow.kick_triage import kick_triage
from ostinato.jobflow.poke_cron import rewind
from ostinato.jobstore.invocation_store import InvocationInput
from ostinato.jobstore.occurrence_store import Occurrence, insert_occurrences
from ostinato.jobstore.triage_store import (
    NewInvocation,
    insert_inputs,
    insert_invocations,
    mark_jobs,
    move_to_history,
)
from ostinato.jobstore.trigger_store import StoredTrigger, TriggerKey, consume_triggers, discard_triggers
from ostinato.pb.internal.v1.engine_tasks_pb2 import TriageJobTask
from ostinato.pb.internal.v1.stored_pb2 import TriggerList
from ostinato.pb.scheduler.v1.triggers_pb2 import Trigger
from ostinato.scheduling.invocation_id import InvocationId, make_invocation_id
from ostinato.scheduling.names import job_name
from ostinato.scheduling.triage import InvocationRequest, PendingTrigger, TriagePlan
from ostinato.scheduling.trigger import TriggerKind
from ostinato.storage.transaction import Tx
from ostinato.taskqueue import Dispatcher
from ostinato.telemetry.tracing import is_same_trace, most_telling
from ostinato_engine.first_launches import NewRun, add_launches
from ostinato_engine.job_marks import job_marks, next_start_not_before
from ostinato_engine.retried_runs import FIRST_ATTEMPT, Lineage, load_lineages
from ostinato_engine.triage_loading import LoadedJob
from ostinato_engine.triage_record import triage_record

_log = logging.getLogger(__name__)
_IDS_OF_A_MILLISECOND = 1 << 16
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(slots=True)
class DecidedJob:
    """A job with its plan; what applying finds out is added. `traces`: those of what asked for the triage."""

    job: LoadedJob
    plan: TriagePlan
    traces: Sequence[str] = ()
    invocation_ids: list[InvocationId] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.job.terms.problem:
            self.problems.append(self.job.terms.problem)

    @property
    def name(self) -> str:
        return job_name(self.job.row.project, self.job.row.name)

    @property
    def is_unfinished(self) -> bool:
        """Of what was read so much is dropped that the rest can be dropped or started: the next triage goes on."""
        if self.job.more_waiting_to_drop:
            return len(self.plan.discarded) >= len(self.job.stored)
        if not self.job.snapshot.more_pending or not self.plan.discarded:
            return False
        return len(self.plan.discarded) >= len(self.job.stored) or self._free_places > 0

    @property
    def _free_places(self) -> int:
        snapshot = self.job.snapshot
        running = len(snapshot.active) - len(self.plan.acknowledged) + len(self.plan.requests)
        return snapshot.policy.max_concurrent_invocations - running


@dataclass(frozen=True, slots=True)
class _Start:
    """One invocation to create."""

    decided: DecidedJob
    request: InvocationRequest
    given: InvocationInput
    traceparent: str | None
    lineage: Lineage

    def run(self, invocation_id: InvocationId) -> NewRun:
        row = self.decided.job.row
        return NewRun(
            id=invocation_id,
            job_id=row.job_id,
            project_id=row.project_id,
            attempt=self.lineage.attempt,
            scheduled_for=self.request.scheduled_for or self.lineage.scheduled_for,
            input=self.given,
            traceparent=self.traceparent,
        )


async def apply_plans(tx: Tx, dispatcher: Dispatcher, random: Random, decided: Sequence[DecidedJob]) -> bool:
    """True if the schedule of any job got its next due time."""
    now = await tx.now()
    idle = [entry for entry in decided if entry.plan.rewind_cron and entry.job.row.waits_for_rewind]
    rewound = await rewind(
        tx, {entry.job.row.job_id: next_start_not_before(entry.job, entry.plan, now) for entry in idle}, now
    )
    await discard_triggers(tx, [stored for entry in decided for stored in _discarded(entry)], now=now)
    if starts := await _consume(tx, decided, now):
        await _start(tx, dispatcher, random, starts, now)
    await move_to_history(tx, [gone for entry in decided for gone in entry.plan.acknowledged])
    await insert_occurrences(tx, [row for entry in decided for row in _occurrences(entry)], now=now)
    marks = [job_marks(entry.job, entry.plan, problems=entry.problems) for entry in decided]
    await mark_jobs(tx, marks, [_record(entry) for entry in decided], now=now)
    await _ask_for_more(tx, dispatcher, decided)
    return rewound


def _discarded(entry: DecidedJob) -> list[StoredTrigger]:
    discarded = set(entry.plan.discarded)
    return [stored for stored in entry.job.all_stored if stored.trigger.id in discarded] if discarded else []


async def _consume(tx: Tx, decided: Sequence[DecidedJob], now: datetime) -> list[_Start]:
    """Takes the triggers of all requests out of the pending sets."""
    wanted: list[tuple[DecidedJob, InvocationRequest, list[StoredTrigger]]] = []
    for entry in decided:
        if entry.plan.requests:
            by_id = {stored.trigger.id: stored for stored in entry.job.all_stored}
            wanted += [
                (entry, request, [by_id[trigger_id] for trigger_id in request.trigger_ids])
                for request in entry.plan.requests
            ]
    if not wanted:
        return []
    consumed = [stored for _, _, batch in wanted for stored in batch]
    bodies = await consume_triggers(tx, consumed, now=now)
    retries = [stored.trigger.id for stored in consumed if stored.trigger.kind is TriggerKind.RETRY]
    lineages = await load_lineages(tx, retries) if retries else {}
    return [
        _planned(entry, request, batch, bodies, lineages.get(batch[0].trigger.id, FIRST_ATTEMPT))
        for entry, request, batch in wanted
    ]


def _planned(
    entry: DecidedJob,
    request: InvocationRequest,
    batch: Sequence[StoredTrigger],
    bodies: Mapping[TriggerKey, bytes],
    lineage: Lineage,
) -> _Start:
    row = entry.job.row
    incoming = [_incoming(entry, stored.trigger, bodies[row.job_id, stored.trigger.id]) for stored in batch]
    given = InvocationInput(
        entry.name, row.uid, row.definition, TriggerList(triggers=[*incoming, *lineage.triggers]).SerializeToString()
    )
    return _Start(entry, request, given, _trace_of(entry, incoming), lineage)


def _trace_of(entry: DecidedJob, incoming: Sequence[Trigger]) -> str | None:
    """The trace of the run's triggers, under this triage where the triage is part of it."""
    from_triggers = most_telling(trigger.traceparent for trigger in incoming)
    if from_triggers is None:
        return None  # what asked for the triage may be the end of an unrelated run
    return next((trace for trace in entry.traces if is_same_trace(trace, from_triggers)), from_triggers)


def _incoming(entry: DecidedJob, trigger: PendingTrigger, body: bytes) -> Trigger:
    """A trigger whose body is damaged still starts its run, without its payload: a lost run would be worse.

    The triage's record, the job's `last_error` and the log say so.
    """
    try:
        message = Trigger.FromString(body)
        if message.id == trigger.id:
            return message
        problem = f"trigger {trigger.id}: the stored body is another trigger's"
    except DecodeError as error:
        problem = f"trigger {trigger.id}: the stored body can't be read: {error}"
    entry.problems.append(problem)
    _log.error("%s was started without a payload: %s", entry.name, problem)
    rest = Trigger(id=trigger.id, order_in_batch=trigger.order_in_batch, emitted_by=trigger.emitted_by)
    rest.create_time.FromDatetime(trigger.created_at)
    return rest


async def _start(tx: Tx, dispatcher: Dispatcher, random: Random, starts: Sequence[_Start], now: datetime) -> None:
    ids = await _claim_ids(tx, random, [start.given for start in starts], now)
    for start, invocation_id in zip(starts, ids, strict=True):
        start.decided.invocation_ids.append(invocation_id)
    runs = [start.run(invocation_id) for start, invocation_id in zip(starts, ids, strict=True)]
    launches = await add_launches(tx, dispatcher, runs, now)
    rows = [
        NewInvocation(
            invocation_id=run.id,
            job_id=run.job_id,
            project_id=run.project_id,
            launch_task_id=task_id,
            deadline_at=now + start.decided.job.terms.timeouts.shortest,
            scheduled_for=run.scheduled_for,
            triggered_by=start.request.triggered_by,
            revision=start.decided.job.row.revision,
            attempt=run.attempt,
            retry_of=start.lineage.retry_of,
        )
        for start, run, task_id in zip(starts, runs, launches.task_ids, strict=True)
    ]
    await insert_invocations(tx, rows, now=now, launch_line=launches.line)


async def _claim_ids(tx: Tx, random: Random, inputs: Sequence[InvocationInput], now: datetime) -> list[InvocationId]:
    """Draws distinct ids, and again those that somebody else has; each round uses a millisecond of its own."""
    claimed: dict[int, InvocationId] = {}
    waiting = list(range(len(inputs)))
    at = now
    while waiting:
        bits = random.sample(range(_IDS_OF_A_MILLISECOND), min(len(waiting), _IDS_OF_A_MILLISECOND))
        drawn = {make_invocation_id(at, part): index for part, index in zip(bits, waiting, strict=False)}
        # In their order, so that two who draw the same ids at the same time can't deadlock.
        wanted = [(invocation_id, inputs[index]) for invocation_id, index in sorted(drawn.items())]
        free = await insert_inputs(tx, wanted)
        claimed |= {drawn[invocation_id]: invocation_id for invocation_id in free}
        waiting = [index for index in waiting if index not in claimed]
        at += _MILLISECOND
    return [claimed[index] for index in range(len(inputs))]


def _occurrences(entry: DecidedJob) -> list[Occurrence]:
    return [
        Occurrence(
            job_id=entry.job.row.job_id,
            slot=decided.slot,
            outcome=decided.outcome,
            invocation_id=None if decided.request is None else entry.invocation_ids[decided.request],
        )
        for decided in entry.plan.slot_outcomes
    ]


def _record(entry: DecidedJob) -> str | None:
    return triage_record(
        entry.job, entry.plan, job_name=entry.name, invocation_ids=entry.invocation_ids, problems=entry.problems
    )


async def _ask_for_more(tx: Tx, dispatcher: Dispatcher, decided: Sequence[DecidedJob]) -> None:
    unfinished = [entry.job.row for entry in decided if entry.is_unfinished]
    await kick_triage(tx, dispatcher, [(row.job_id, row.project_id) for row in unfinished])
    for entry in decided:
        wake_at = entry.plan.next_wake_at
        if entry.plan.adds_wake and wake_at is not None:
            row = entry.job.row
            await dispatcher.add(
                TRIAGE_JOB,
                TriageJobTask(job_id=row.job_id),
                tx=tx,
                delay=wake_at - entry.job.snapshot.now,  # a worker that hears of it looks in time
                fair_key=row.project_id,
            )
