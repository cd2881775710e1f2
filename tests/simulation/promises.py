"""What must be true once everything has come to rest: the promises, checked against all that the database remembers."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import asyncpg

from ostinato.jobflow.timetables import cached_timetable
from ostinato.jobstore.job_definition_codec import decode_definition
from ostinato.pb.internal.v1.stored_pb2 import TriggerList
from ostinato.scheduling.downstream import triggered_jobs
from ostinato.scheduling.invocation import InvocationStatus
from ostinato.scheduling.job_definition import JobDefinition
from ostinato.scheduling.names import invocation_name, job_name
from ostinato.scheduling.occurrence import OccurrenceOutcome
from ostinato.scheduling.retrying import decide_retry
from ostinato.scheduling.slot_history import InForce, Recorded, SlotHistory, Window
from ostinato.scheduling.targets import can_report
from ostinato.scheduling.triage_plan import DROPS
from ostinato.scheduling.trigger import upstream_trigger_id
from ostinato.scheduling.verifying import verify_slots
from tests.simulation.outside import ReportedEnd
from tests.simulation.random_jobs import PROJECT

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Row: TypeAlias = asyncpg.Record
_ALL = 1_000_000

_RUNS = r"""
select h.*, n.incoming, n.definition,
       (select count(*) from invocation_log l where l.invocation_id = h.invocation_id and l.line like 'Ended with%')
           as ends_told,
       (select min(substring(l.line from 'Ended with status (\w+)')) from invocation_log l
         where l.invocation_id = h.invocation_id) as end_told
  from invocation_history h join invocation_input n using (invocation_id)
"""
_LEFT = """
select * from (
    select 'invocation ' || invocation_id || ' in status ' || status from invocation
    union all select 'task ' || id || ' ready, claimed by ' || claimed_by from tq_ready
    union all select 'task ' || id || ' later' from tq_later
    union all select 'dead letter ' || id || ': ' || error from tq_dead
    union all select 'trigger ' || trigger_id || ' of job ' || job_id from trigger where consumed_at is null
) t(what) limit 20
"""


@dataclass(frozen=True, slots=True)
class History:
    """All that was kept, up to `now`."""

    now: datetime
    jobs: Mapping[int, str]
    runs: Sequence[Row]
    spans: Mapping[int, Sequence[Row]]
    ledger: Mapping[int, Sequence[Row]]
    remembered: frozenset[tuple[int, str]]  # (job id, trigger id), consumed
    reports: Mapping[int, Sequence[str]]  # by run: the lines that its reports left in its log
    dropped: Mapping[int, Counter[str]]  # by job: trigger ids named in the records of drops; "" counts the unnamed

    def incoming(self, run: Row) -> Sequence[Any]:
        return TriggerList.FromString(run["incoming"]).triggers

    def definition(self, run: Row) -> JobDefinition:
        return decode_definition(run["definition"])

    def name(self, run: Row) -> str:
        return invocation_name(job_name(PROJECT, self.jobs[run["job_id"]]), run["invocation_id"])


async def find_broken_promises(
    connection: Connection, accepted: Mapping[tuple[str, str], int], reported: Mapping[int, ReportedEnd]
) -> list[str]:
    """`accepted`: (job, trigger id) of what callers were told is accepted, or a duplicate. `reported`: by run."""
    history = await _load(connection)
    return [
        *await find_left_over(connection),
        *of_slots(history),
        *_of_triggers(history, accepted),
        *_of_ends(history),
        *_of_reports(history, reported),
        *_of_downstream(history),
        *_of_retries(history),
    ]


async def find_left_over(connection: Connection) -> list[str]:
    return [f"left over: {row[0]}" for row in await connection.fetch(_LEFT)]


def of_slots(history: History) -> Iterator[str]:
    """P1: each slot of each schedule has one outcome, and no outcome is without a slot, as VerifyJob sees it."""
    for job_id, spans in history.spans.items():
        known = SlotHistory(
            spans=[_in_force(span, job_name(PROJECT, history.jobs[job_id])) for span in spans],
            rows=[_recorded(row) for row in history.ledger.get(job_id, ())],
        )
        window = Window(spans[0]["from_at"] - timedelta(days=2), history.now, history.now)
        for found in verify_slots(known, window, late_after=timedelta.max, most=_ALL).faults:
            yield f"P1: {found.fault} of {history.jobs[job_id]}: {found.text}"
    yield from _of_slot_runs(history)


def _in_force(span: Row, name: str) -> InForce:
    timetable = cached_timetable(span["schedule"], span["terms"], name)
    return InForce(span["from_at"], span["schedule"], timetable, span["paused"], span["enabled"])


def _recorded(row: Row) -> Recorded:
    run = "" if row["invocation_id"] is None else str(row["invocation_id"])
    return Recorded(row["slot"], OccurrenceOutcome(row["outcome"]), row["decided_at"], row["until_slot"], run)


def _of_slot_runs(history: History) -> Iterator[str]:
    outcomes = {
        (job_id, row["slot"]): row
        for job_id, rows in history.ledger.items()
        for row in rows
        if row["outcome"] != OccurrenceOutcome.SKIPPED_DST_GAP
    }
    started: Counter[tuple[int, datetime]] = Counter()
    for run in history.runs:
        slots = _slots_in(history, run) if run["retry_of"] is None else []
        started.update((run["job_id"], slot) for slot in slots)
        for slot in slots:
            row = outcomes.get((run["job_id"], slot))
            outcome = OccurrenceOutcome.STARTED if slot == max(slots) else OccurrenceOutcome.BATCHED
            if row is None or (row["outcome"], row["invocation_id"]) != (outcome, run["invocation_id"]):
                yield f"P1: {history.name(run)} was given slot {slot}, the ledger says {row}"
    for (job_id, slot), row in outcomes.items():
        if row["invocation_id"] is not None and started[job_id, slot] != 1:
            yield f"P1: slot {slot} of {history.jobs[job_id]} is in {started[job_id, slot]} runs"


def _slots_in(history: History, run: Row) -> list[datetime]:
    times = [t.cron.slot.ToDatetime(tzinfo=UTC) for t in history.incoming(run) if t.HasField("cron")]
    return times if run["scheduled_for"] is not None else []


def _of_triggers(history: History, accepted: Mapping[tuple[str, str], int]) -> Iterator[str]:
    """P2, P4: what was accepted is in one run, or was dropped by name."""
    used: Counter[tuple[str, str]] = Counter()
    for run in history.runs:
        if run["retry_of"] is None:
            used.update((history.jobs[run["job_id"]], trigger.id) for trigger in history.incoming(run))
    for (job, name), count in used.items():
        if count > 1:
            yield f"P2: trigger {name} of {job} is in {count} runs"
    by_name = {name: job_id for job_id, name in history.jobs.items()}
    for job, name in sorted(accepted):
        dropped = history.dropped.get(by_name[job], Counter())
        if not used[job, name] and not dropped[name] and not dropped[""]:
            yield f"P2: trigger {name} of {job} was accepted, is in no run and was not dropped"
        if used[job, name] and dropped[name]:
            yield f"P4: trigger {name} of {job} is in a run and was dropped"


def _of_ends(history: History) -> Iterator[str]:
    """P3: one accepted finish per invocation."""
    for run in history.runs:
        status = InvocationStatus(run["status"]).name
        if (run["ends_told"], run["end_told"]) != (1, status):
            yield f"P3: {history.name(run)} is {status}, its log tells {run['ends_told']} ends, {run['end_told']}"


def _of_reports(history: History, reported: Mapping[int, ReportedEnd]) -> Iterator[str]:
    """P3: a report counts once, the first end that is reported wins, and only people and time win over one."""
    for run in history.runs:
        name, status = history.name(run), InvocationStatus(run["status"]).name
        told = history.reports.get(run["invocation_id"], ())
        for line, times in Counter(told).items():
            if times > 1:
                yield f"P3: the log of {name} has {line!r} {times} times"
        ends = [line for line in told if not line.endswith("says RUNNING")]
        if ends and (len(ends) > 1 or not ends[0].endswith(f"says {status}")):
            yield f"P3: {name} is {status}, its log tells the reports {ends}"
        end = reported.get(run["invocation_id"]) if can_report(history.definition(run).target) else None
        was_first = end is not None and end.accepted_at is not None and end.accepted_at < run["finished_at"]
        if was_first and not ends and status not in {"ABORTED", "TIMED_OUT"}:
            yield f"P3: {name} is {status} ({run['error_reason']}), but {end} was accepted before"


def _of_downstream(history: History) -> Iterator[str]:
    by_name = {name: job_id for job_id, name in history.jobs.items()}
    for run in history.runs:
        trigger_id = upstream_trigger_id(history.name(run))
        told = set(triggered_jobs(history.definition(run).downstream, InvocationStatus(run["status"])))
        for name, job_id in by_name.items():
            if ((job_id, trigger_id) in history.remembered) != (name in told):
                yield f"P2: the end of {history.name(run)} was {'not ' * (name in told)}told to {name}"


def _of_retries(history: History) -> Iterator[str]:
    """What its policy wants tried again is tried again, unless its job was disabled."""
    tried_again = {run["retry_of"] for run in history.runs}
    for run in history.runs:
        again = decide_retry(
            InvocationStatus(run["status"]),
            run["attempt"],
            history.definition(run).retry,
            error_retryable=run["error_retryable"],
            jitter=0,
        )
        dropped = history.dropped.get(run["job_id"], Counter())
        trigger_id = f"retry:{history.name(run)}"
        if (
            again is not None
            and run["invocation_id"] not in tried_again
            and not dropped[trigger_id]
            and not dropped[""]
        ):
            yield f"P2: {history.name(run)} should have been tried again"


async def _load(connection: Connection) -> History:
    dropped: dict[int, Counter[str]] = defaultdict(Counter)
    for row in await connection.fetch("select job_id, record from triage_log"):
        for decision in json.loads(row["record"]).get("decisions", ()):
            if decision["reason"] in DROPS:
                dropped[row["job_id"]].update(decision["trigger_ids"])
                dropped[row["job_id"]][""] += decision["count"] - len(decision["trigger_ids"])
    reports: dict[int, list[str]] = defaultdict(list)
    for row in await connection.fetch("select invocation_id, line from invocation_log where line like '% says %'"):
        reports[row["invocation_id"]].append(row["line"])
    consumed = await connection.fetch("select job_id, trigger_id from trigger where consumed_at is not null")
    return History(
        now=await connection.fetchval("select ostinato_now()"),
        jobs=await load_job_names(connection),
        runs=await connection.fetch(_RUNS),
        spans=await load_spans(connection),
        ledger=await load_ledger(connection),
        remembered=frozenset((row[0], row[1]) for row in consumed),
        reports=reports,
        dropped=dropped,
    )


async def load_job_names(connection: Connection) -> dict[int, str]:
    return {row[0]: row[1] for row in await connection.fetch("select job_id, name from job")}


async def load_spans(connection: Connection) -> dict[int, list[Row]]:
    return _by_job(await connection.fetch("select * from job_schedule_span order by from_at"))


async def load_ledger(connection: Connection) -> dict[int, list[Row]]:
    return _by_job(await connection.fetch("select * from occurrence order by slot"))


def _by_job(rows: Sequence[Row]) -> dict[int, list[Row]]:
    grouped: dict[int, list[Row]] = {}
    for row in rows:
        grouped.setdefault(row["job_id"], []).append(row)
    return grouped
