"""The rules that hold however much was killed. Each looks at the evidence and tells what breaks it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from chaos.evidence import Evidence, Run, Slots
from chaos.project import EVERY_SECOND, FOLLOWS, MEANT_TO_FAIL
from ostinato.scheduling.invocation import InvocationStatus

SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Claims:
    """What the outside world was told: triggers the api took, as (job, id), and runs whose end the ingester took."""

    accepted: frozenset[tuple[str, str]]
    ended: frozenset[str]


Rule = Callable[[Evidence, Claims], Iterator[str]]


def lost_triggers(evidence: Evidence, claims: Claims) -> Iterator[str]:
    consumed = _consumptions(evidence)
    yield from (f"{job}: {trigger}" for job, trigger in sorted(claims.accepted) if not consumed[job, trigger])


def doubled_triggers(evidence: Evidence, _: Claims) -> Iterator[str]:
    yield from (f"{job}: {trigger} x {n}" for (job, trigger), n in _consumptions(evidence).items() if n > 1)


def stuck(evidence: Evidence, _: Claims) -> Iterator[str]:
    yield from (f"{count} {what}" for what, count in evidence.waiting.items())


def doubly_ended(evidence: Evidence, _: Claims) -> Iterator[str]:
    yield from (f"run {run_id} is stored twice" for run_id in evidence.doubly_stored)
    yield from (f"run {run_id}: {count} ends accepted" for run_id, count in evidence.ends_logged.items() if count > 1)


def lost_ends(evidence: Evidence, claims: Claims) -> Iterator[str]:
    """A run whose end the ingester has taken has that end in its log."""
    yield from (f"{name}: no end logged" for name in sorted(claims.ended) if not evidence.ends_logged.get(_id(name)))


def unexpected_results(evidence: Evidence, _: Claims) -> Iterator[str]:
    """What killed us is none of the run's business."""
    for run in evidence.runs:
        wanted = InvocationStatus.FAILED if run.job in MEANT_TO_FAIL else InvocationStatus.SUCCEEDED
        if run.status is not wanted:
            yield f"{run.name} is {run.status.name}"


def lost_followers(evidence: Evidence, _: Claims) -> Iterator[str]:
    """Every end that triggers another job is the reason of one run of that job (twice: see the doubled triggers)."""
    consumed = _consumptions(evidence)
    for upstream, downstream in FOLLOWS:
        for run in evidence.runs:
            if run.job == upstream and not consumed[downstream, f"upstream:{run.name}"]:
                yield f"{run.name} was not followed by {downstream}"


def retries_not_made_once(evidence: Evidence, _: Claims) -> Iterator[str]:
    """Of two attempts the first has failed, so there is the second."""
    retried = Counter(run.triggers[0].retry.invocation for run in evidence.runs if run.repeats_another)
    for run in evidence.runs:
        expected = 1 if run.job in MEANT_TO_FAIL and not run.repeats_another else 0
        if retried[run.name] != expected:
            yield f"{run.name} was retried {retried[run.name]} times"


def ledger_gaps(evidence: Evidence, _: Claims) -> Iterator[str]:
    """Every second of a job's time has exactly one outcome."""
    for job in EVERY_SECOND:
        if job not in evidence.planned:
            yield f"{job} was not paused in the end"
            continue
        told = Counter(_slots(evidence.ledger.get(job, ())))
        expected = set(_seconds(*evidence.planned[job]))
        yield from (f"{job}: nothing about {slot}" for slot in sorted(expected - told.keys()))
        yield from (f"{job}: {slot} was never planned" for slot in sorted(told.keys() - expected))
        yield from (f"{job}: {count} outcomes of {slot}" for slot, count in sorted(told.items()) if count > 1)


def ledger_against_runs(evidence: Evidence, _: Claims) -> Iterator[str]:
    """A slot that was started is in the run that the ledger names, and in no other."""
    by_slot = _runs_by_slot(evidence)
    for job in EVERY_SECOND:
        for slots in evidence.ledger.get(job, ()):
            found = by_slot.get((job, slots.start), [])
            expected = [] if slots.run_id is None else [slots.run_id]
            if found != expected:
                yield f"{job}: {slots.start} is of runs {expected} in the ledger, {found} by their triggers"


RULES: Mapping[str, Rule] = {
    "lost triggers": lost_triggers,
    "doubled triggers": doubled_triggers,
    "stuck": stuck,
    "accepted more than one end": doubly_ended,
    "lost ends": lost_ends,
    "runs with a result that nobody asked for": unexpected_results,
    "lost followers": lost_followers,
    "retries not made once": retries_not_made_once,
    "ledger: slots without exactly one outcome": ledger_gaps,
    "ledger: slots that contradict the runs": ledger_against_runs,
}


def audit(evidence: Evidence, claims: Claims) -> dict[str, list[str]]:
    """What breaks each rule; every rule is there."""
    return {name: list(rule(evidence, claims)) for name, rule in RULES.items()}


def _consumptions(evidence: Evidence) -> Counter[tuple[str, str]]:
    return Counter(
        (run.job, trigger.id) for run in evidence.runs if not run.repeats_another for trigger in run.triggers
    )


def _runs_by_slot(evidence: Evidence) -> dict[tuple[str, datetime], list[int]]:
    found: dict[tuple[str, datetime], list[int]] = {}
    for run in evidence.runs:
        for slot in _cron_slots(run):
            found.setdefault((run.job, slot), []).append(run.id)
    return found


def _cron_slots(run: Run) -> Iterator[datetime]:
    for trigger in run.triggers:
        if trigger.WhichOneof("payload") == "cron":
            yield trigger.cron.slot.ToDatetime(tzinfo=UTC)


def _slots(rows: Sequence[Slots]) -> Iterator[datetime]:
    for row in rows:
        yield from _seconds(row.start - SECOND, (row.end or row.start + SECOND) - SECOND)


def _seconds(after: datetime, until: datetime) -> Iterator[datetime]:
    """Whole seconds in (after, until]."""
    second = after.replace(microsecond=0) + SECOND
    while second <= until:
        yield second
        second += SECOND


def _id(name: str) -> int:
    return int(name.rpartition("/")[2])
