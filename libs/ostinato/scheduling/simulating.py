"""Replays triggers and a schedule against a triggering policy, in virtual time. Pure: same input, same output.

What starts is decided by triage and what fires by the cron machine, as in an engine. Simpler than there: each triage
comes in the very instant that asks for it, every run succeeds after the time it is given, and nobody edits or pauses
the job. Within an instant runs end, triggers arrive and slots fire before the triage looks.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum
from itertools import count, islice

from ostinato.scheduling.cron_machine import (
    CronState,
    CronStep,
    SkippedRange,
    enable,
    on_due,
    rewind_if_necessary,
)
from ostinato.scheduling.invocation import InvocationStatus
from ostinato.scheduling.invocation_id import InvocationId
from ostinato.scheduling.job_definition import Intake, Overflow, TriggeringPolicy
from ostinato.scheduling.schedule import Timetable
from ostinato.scheduling.schedule.hashed_choice import hashed_choice
from ostinato.scheduling.start_limit import StartLimit
from ostinato.scheduling.triage import decide_triage
from ostinato.scheduling.triage_plan import DROPS, InvocationRequest, TriagePlan
from ostinato.scheduling.triage_snapshot import ActiveInvocation, PendingTrigger, TriageSnapshot
from ostinato.scheduling.triage_window import triage_window, triggers_wanted
from ostinato.scheduling.trigger import TriggerKind

# Slots included. So many take about a minute.
MAX_TRIGGERS = 100_000
# A call that brings more than the job takes, where the job says so.
REJECTED = "REJECTED"
# Ids of the triggers that slots bring begin with it.
SLOT_PREFIX = "slot:"
_MILLISECOND = timedelta(milliseconds=1)
# A triage reads so many of the oldest in any case.
_LEAST_READ = 32


class TooManyTriggersError(ValueError):
    """More come than can be simulated; the message says from when on."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """Triggers that come in one call. `takes`: how long a run with one of them takes; None: as any other."""

    at: datetime
    trigger_ids: tuple[str, ...]
    takes: timedelta | None = None


@dataclass(frozen=True, slots=True)
class RunLength:
    """Runs take from `shortest` to `longest`, spread evenly: which of it follows from the seed and a run's number."""

    shortest: timedelta
    longest: timedelta
    seed: int = 0

    def of(self, run: int) -> timedelta:
        choices = (self.longest - self.shortest) // _MILLISECOND + 1
        return self.shortest + hashed_choice(f"{self.seed}\n{run}", choices) * _MILLISECOND


@dataclass(frozen=True, slots=True)
class Scenario:
    """From `start` to `until`, both included; slots come after `start`."""

    start: datetime
    until: datetime
    timetable: Timetable
    arrivals: Sequence[Arrival]
    run_length: RunLength
    start_limit: StartLimit | None = None


@dataclass(frozen=True, slots=True)
class SimulatedRun:
    """`number` counts from 1. `trigger_ids` is oldest first, `waits` how long each of them had waited."""

    number: int
    started_at: datetime
    ends_at: datetime
    trigger_ids: tuple[str, ...]
    waits: tuple[timedelta, ...]


@dataclass(frozen=True, slots=True)
class Dropped:
    """Triggers that start nothing. `reason`: as in triage records, or REJECTED."""

    reason: str
    trigger_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Moment:
    """An instant in which something happened. `waiting` and `running`: how many do afterwards."""

    at: datetime
    arrived: tuple[str, ...]
    ended: tuple[int, ...]
    started: tuple[SimulatedRun, ...]
    dropped: tuple[Dropped, ...]
    skipped: tuple[SkippedRange, ...]
    waiting: int
    running: int

    @property
    def is_quiet(self) -> bool:
        return not (self.arrived or self.ended or self.started or self.dropped or self.skipped)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Every trigger that arrived is in one run, dropped once, or among `waiting`, oldest first."""

    moments: Sequence[Moment]
    waiting: Sequence[str]

    @property
    def runs(self) -> Iterator[SimulatedRun]:
        return (run for moment in self.moments for run in moment.started)


@dataclass(frozen=True, slots=True)
class Totals:
    """Waits are those of triggers that started. `busy_share`: of the time, in which at least one run was under way."""

    triggers: int
    runs: int
    mean_batch: float
    largest_batch: int
    mean_wait: timedelta
    longest_wait: timedelta
    most_waiting: int
    dropped: Mapping[str, int]
    left_waiting: int
    left_running: int
    busy_share: float


def simulate(scenario: Scenario, policy: TriggeringPolicy, intake: Intake) -> Outcome:
    """Raises TooManyTriggersError."""
    return _SimulatedJob(scenario, policy, intake).live()


def add_up(scenario: Scenario, outcome: Outcome) -> Totals:
    moments, runs = outcome.moments, list(outcome.runs)
    dropped: Counter[str] = Counter()
    for drop in (drop for moment in moments for drop in moment.dropped):
        dropped[drop.reason] += len(drop.trigger_ids)
    waits = [wait for run in runs for wait in run.waits]
    return Totals(
        triggers=sum(len(moment.arrived) for moment in moments),
        runs=len(runs),
        mean_batch=len(waits) / len(runs) if runs else 0.0,
        largest_batch=max((len(run.trigger_ids) for run in runs), default=0),
        mean_wait=sum(waits, timedelta(0)) / max(1, len(waits)),
        longest_wait=max(waits, default=timedelta(0)),
        most_waiting=max((moment.waiting for moment in moments), default=0),
        dropped=dict(sorted(dropped.items())),
        left_waiting=len(outcome.waiting),
        left_running=moments[-1].running if moments else 0,
        busy_share=_busy(runs, scenario.until) / (scenario.until - scenario.start),
    )


def _busy(runs: Sequence[SimulatedRun], until: datetime) -> timedelta:
    """`runs` in the order of their starts."""
    busy = timedelta(0)
    covered: datetime | None = None
    for run in runs:
        begin = run.started_at if covered is None else max(run.started_at, covered)
        end = min(run.ends_at, until)
        if end > begin:
            busy += end - begin
            covered = end
    return busy


class _Kind(IntEnum):
    """What comes first within an instant."""

    BEGINNING = 0
    RUN_ENDS = 1
    TRIGGERS_ARRIVE = 2
    SLOT_IS_DUE = 3
    WAKE_UP = 4


@dataclass(slots=True)
class _Happening:
    """A moment in the making."""

    arrived: list[str] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)
    started: list[SimulatedRun] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    skipped: list[SkippedRange] = field(default_factory=list)


class _SimulatedJob:
    """`pending` is oldest first; `active` has the runs that no triage has acknowledged as ended, by number."""

    def __init__(self, scenario: Scenario, policy: TriggeringPolicy, intake: Intake) -> None:
        self._scenario, self._policy, self._intake = scenario, policy, intake
        self._pending: list[PendingTrigger] = []
        self._takes: dict[str, timedelta] = {}
        self._active: dict[int, InvocationStatus] = {}
        self._numbers = count(1)
        self._started_at: datetime | None = None
        self._wake_at: datetime | None = None
        self._arrived = 0
        self._cron = CronState()
        self._events: list[tuple[datetime, _Kind, int]] = []
        self._moments: list[Moment] = []

    def live(self) -> Outcome:
        self._plan(self._scenario.start, _Kind.BEGINNING)
        for index, arrival in enumerate(self._scenario.arrivals):
            self._plan(arrival.at, _Kind.TRIGGERS_ARRIVE, index)
        while self._events and self._events[0][0] <= self._scenario.until:
            self._live_through(self._events[0][0])
        return Outcome(self._moments, [trigger.id for trigger in self._pending])

    def _plan(self, at: datetime, kind: _Kind, what: int = 0) -> None:
        heapq.heappush(self._events, (at, kind, what))

    def _live_through(self, now: datetime) -> None:
        happening = _Happening()
        while self._events and self._events[0][0] == now:
            _, kind, what = heapq.heappop(self._events)
            match kind:
                case _Kind.BEGINNING:
                    self._follow(enable(self._cron, self._scenario.timetable, now), now, happening)
                case _Kind.RUN_ENDS:
                    self._active[what] = InvocationStatus.SUCCEEDED
                    happening.ended.append(what)
                case _Kind.TRIGGERS_ARRIVE:
                    self._receive(self._scenario.arrivals[what], happening)
                case _Kind.SLOT_IS_DUE:
                    self._follow(on_due(self._cron, self._scenario.timetable, now), now, happening)
                case _Kind.WAKE_UP:
                    pass
        self._triage(now, happening)
        moment = Moment(
            now,
            tuple(happening.arrived),
            tuple(happening.ended),
            tuple(happening.started),
            tuple(happening.dropped),
            tuple(happening.skipped),
            waiting=len(self._pending),
            running=len(self._active),
        )
        if not moment.is_quiet:
            self._moments.append(moment)

    def _receive(self, arrival: Arrival, happening: _Happening) -> None:
        ids, intake = arrival.trigger_ids, self._intake
        happening.arrived += ids
        first = self._count(len(ids), arrival.at)
        if intake.overflow is Overflow.REJECT and len(self._pending) + len(ids) > intake.max_pending:
            happening.dropped.append(Dropped(REJECTED, ids))
            return
        for order, trigger_id in enumerate(ids, first):
            self._pending.append(PendingTrigger(trigger_id, TriggerKind.EVENT, arrival.at, order, ""))
            if arrival.takes is not None:
                self._takes[trigger_id] = arrival.takes

    def _follow(self, step: CronStep, now: datetime, happening: _Happening) -> None:
        """What the cron machine decided."""
        for fired in step.fired:
            order = self._count(1, now)
            slot = fired.slot if self._scenario.timetable.is_absolute else None
            trigger_id = f"{SLOT_PREFIX}{fired.slot:%Y-%m-%dT%H:%M:%SZ}"
            happening.arrived.append(trigger_id)
            self._pending.append(PendingTrigger(trigger_id, TriggerKind.CRON, now, order, "", slot=slot))
        happening.skipped += step.skipped
        due_at = step.state.due_at
        if due_at is not None and step.state != self._cron:
            self._plan(max(due_at, now), _Kind.SLOT_IS_DUE)  # a slot may have had to wait for the one before it
        self._cron = step.state

    def _count(self, arriving: int, now: datetime) -> int:
        """The place of the first of them among all: what comes later is newer, within an instant as well."""
        first, self._arrived = self._arrived, self._arrived + arriving
        if self._arrived > MAX_TRIGGERS:
            raise TooManyTriggersError(f"more than {MAX_TRIGGERS} triggers come up to {now:%Y-%m-%dT%H:%M:%SZ}")
        return first

    def _triage(self, now: datetime, happening: _Happening) -> None:
        snapshot = self._snapshot(now)
        plan = decide_triage(snapshot)
        self._apply(plan, snapshot, happening)

    def _snapshot(self, now: datetime) -> TriageSnapshot:
        """With all that the triage can drop or start, so that none has to be repeated."""
        pending, most = len(self._pending), self._intake.max_pending
        running = sum(status is InvocationStatus.RUNNING for status in self._active.values())
        wanted = triggers_wanted(self._policy, still_active=running, takes_triggers=True, max_pending=most)
        read = max(triage_window(pending=pending, wanted=wanted, max_pending=most, most=pending), _LEAST_READ)
        not_before = None if self._started_at is None else self._started_at + self._intake.min_interval
        return TriageSnapshot(
            now=now,
            enabled=True,
            paused=False,
            policy=self._policy,
            triggers=self._pending[:read],
            active=[ActiveInvocation(InvocationId(number), status) for number, status in self._active.items()],
            max_pending=most,
            more_pending=max(0, pending - read),
            wake_planned_at=self._wake_at if self._wake_at is not None and self._wake_at > now else None,
            start_not_before=not_before,
            start_limit=self._scenario.start_limit,
        )

    def _apply(self, plan: TriagePlan, snapshot: TriageSnapshot, happening: _Happening) -> None:
        now, read = snapshot.now, snapshot.triggers
        for number in plan.acknowledged:
            del self._active[number]
        started = {each for request in plan.requests for each in request.trigger_ids}
        since = {trigger.id: trigger.created_at for trigger in read if trigger.id in started}
        happening.started += [self._start(request, since, now) for request in plan.requests]
        happening.dropped += _drops(plan)
        if gone := started.union(plan.discarded):
            self._pending[: len(read)] = [trigger for trigger in read if trigger.id not in gone]
        if plan.requests:
            self._started_at = now
        if plan.adds_wake and plan.next_wake_at is not None:
            self._wake_at = plan.next_wake_at
            self._plan(plan.next_wake_at, _Kind.WAKE_UP)
        if plan.rewind_cron:
            self._follow(rewind_if_necessary(self._cron, self._scenario.timetable, now), now, happening)

    def _start(self, request: InvocationRequest, since: Mapping[str, datetime], now: datetime) -> SimulatedRun:
        number = next(self._numbers)
        ids = request.trigger_ids
        given = [self._takes[each] for each in ids if each in self._takes]
        takes = max(given) if given else self._scenario.run_length.of(number)
        self._active[number] = InvocationStatus.RUNNING
        self._plan(now + takes, _Kind.RUN_ENDS, number)
        waits = tuple(now - since[each] for each in ids)
        return SimulatedRun(number, now, now + takes, ids, waits)


def _drops(plan: TriagePlan) -> Iterator[Dropped]:
    """A decision names the first few of its triggers; `discarded` has all of them, in the order of the decisions."""
    discarded = iter(plan.discarded)
    for decision in plan.decisions:
        if decision.reason in DROPS:
            yield Dropped(decision.reason.value, tuple(islice(discarded, decision.count)))
