"""Why a job is not running, in words. Pure: from what is known of it to what a person should read first.

Each finding has a code for programs and a sentence for people. The first one is the answer; the others matter too, in
the order in which somebody would have to look at them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from ostinato.scheduling.invocation import InvocationStatus
from ostinato.scheduling.launching import MAX_LAUNCH_ATTEMPTS
from ostinato.scheduling.occurrence import OccurrenceOutcome
from ostinato.scheduling.schedule.instant import format_instant

# Later than that is not the usual way from one step to the next.
_USUAL_DELAY = timedelta(seconds=5)


class Cause(StrEnum):
    """What keeps a job from running, what it waits for, or what became of one slot."""

    DISABLED = "DISABLED"
    PAUSED = "PAUSED"
    DEFINITION_UNREADABLE = "DEFINITION_UNREADABLE"
    NO_ENGINE = "NO_ENGINE"
    QUEUE_PAUSED = "QUEUE_PAUSED"
    LAUNCH_RETRYING = "LAUNCH_RETRYING"
    AT_CONCURRENCY_LIMIT = "AT_CONCURRENCY_LIMIT"
    RUNNING = "RUNNING"
    TRIAGE_FAILING = "TRIAGE_FAILING"
    TRIAGE_LATE = "TRIAGE_LATE"
    WAITING_INTERVAL = "WAITING_INTERVAL"
    WAITING_BACKOFF = "WAITING_BACKOFF"
    TICK_LATE = "TICK_LATE"
    SCHEDULED = "SCHEDULED"
    SCHEDULE_ENDED = "SCHEDULE_ENDED"
    UPSTREAM_DISABLED = "UPSTREAM_DISABLED"
    UPSTREAM_NEVER_SUCCEEDED = "UPSTREAM_NEVER_SUCCEEDED"
    NOTHING_ASKED = "NOTHING_ASKED"
    TRIGGERS_DROPPED = "TRIGGERS_DROPPED"
    TARGET_FAILING = "TARGET_FAILING"
    # Of a slot: beside these the names of the outcomes in the ledger.
    NOT_THERE_YET = "NOT_THERE_YET"
    NO_SLOT = "NO_SLOT"
    STILL_WAITING = "STILL_WAITING"
    AHEAD = "AHEAD"
    NOT_RECORDED = "NOT_RECORDED"
    STARTED = "STARTED"
    BATCHED = "BATCHED"
    EXPIRED = "EXPIRED"
    OVERFLOW = "OVERFLOW"
    SKIPPED_CATCHUP = "SKIPPED_CATCHUP"
    SKIPPED_DST_GAP = "SKIPPED_DST_GAP"
    SKIPPED_BLACKOUT = "SKIPPED_BLACKOUT"
    START_DEADLINE = "START_DEADLINE"


@dataclass(frozen=True, slots=True)
class Finding:
    """`since`: from when on it has been so, where that is known. `text` is one sentence or a few, in one line."""

    cause: Cause
    text: str
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class KnownRun:
    """One that is not final. `since`: when it was started, or made if it has not been. `error` of the last launch."""

    name: str
    status: InvocationStatus
    since: datetime
    launch_attempts: int
    error: str = ""


@dataclass(frozen=True, slots=True)
class Upstream:
    """A job whose end triggers this one; `on` is the condition, such as SUCCESS."""

    name: str
    on: str
    enabled: bool
    paused: bool
    last_success_at: datetime | None
    last_completed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Drop:
    """So many triggers started nothing, for one reason, at one triage."""

    at: datetime
    reason: str
    count: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """Triggers that policies see, and the oldest of them; those that become a run each, and when the earliest may."""

    pending: int = 0
    oldest_at: datetime | None = None
    own_runs: int = 0
    earliest_at: datetime | None = None

    @property
    def count(self) -> int:
        return self.pending + self.own_runs


@dataclass(frozen=True, slots=True)
class JobSituation:
    """All that is known of a job at `now`.

    `schedule` is the text of its definition; `next_due_at` when its next slot fires, None if none is planned.
    `paused_queues`: since when, by name, of the queues that a run passes. `live_engines` is None where nobody can tell.
    `interval_until`: the last triage found that min_triage_interval lasts until then. `triage_error` is of the last
    triage, `drops` newest first. `running` is oldest first, and may leave some out.
    """

    now: datetime
    enabled: bool
    schedule: str
    max_concurrent: int
    revision: str = ""
    changed_at: datetime | None = None
    paused: bool = False
    paused_by: str = ""
    paused_at: datetime | None = None
    pause_reason: str = ""
    problem: str = ""
    next_due_at: datetime | None = None
    counts_from_end_of_run: bool = False
    end_before: datetime | None = None
    interval_until: datetime | None = None
    running: Sequence[KnownRun] = ()
    running_count: int = 0
    waiting: Waiting = field(default_factory=Waiting)
    paused_queues: Mapping[str, datetime] = field(default_factory=dict)
    live_engines: int | None = None
    triage_error: str = ""
    triage_error_at: datetime | None = None
    last_status: InvocationStatus | None = None
    last_error: str = ""
    last_completed_at: datetime | None = None
    last_success_at: datetime | None = None
    upstreams: Sequence[Upstream] = ()
    drops: Sequence[Drop] = ()

    @property
    def is_only_triggered(self) -> bool:
        return self.schedule == "triggered"


def explain_now(situation: JobSituation) -> list[Finding]:
    """At least one finding, the most telling first."""
    return [
        *_switched_off(situation),
        *_held_up(situation),
        *_what_it_does(situation),
        *_dropped(situation),
        *_failing(situation),
    ]


def _switched_off(s: JobSituation) -> Iterator[Finding]:
    if not s.enabled:
        text = "It is disabled: the config of its project no longer has it"
        yield Finding(Cause.DISABLED, f"{text}{_as_of_revision(s.revision)}.", s.changed_at)
    if s.paused:
        by = f" by {s.paused_by}" if s.paused_by else ""
        why = f": {s.pause_reason}" if s.pause_reason else ", without a reason given"
        waits = f" {_runs(s.waiting.own_runs)} of its own will go on when it is resumed." if s.waiting.own_runs else ""
        yield Finding(Cause.PAUSED, f"It was paused{by} at {_at(s.paused_at)}{why}.{waits}", s.paused_at)


def _held_up(s: JobSituation) -> Iterator[Finding]:
    if s.problem:
        yield Finding(Cause.DEFINITION_UNREADABLE, f"It starts nothing: {s.problem}.")
    if s.live_engines == 0:
        yield Finding(Cause.NO_ENGINE, "No engine is alive: nothing is started until one comes back.")
    for queue, since in sorted(s.paused_queues.items()):
        text = f"The queue {queue} is paused since {_at(since)}: {_QUEUE_EFFECTS.get(queue, 'its tasks wait')}."
        yield Finding(Cause.QUEUE_PAUSED, text, since)


_QUEUE_EFFECTS = {
    "launches": "no run of any job is started",
    "triages": "no job is looked at",
    "notifications": "what running work reports is not applied",
    "timers": "no timer of a run goes off",
}


def _what_it_does(s: JobSituation) -> Iterator[Finding]:
    yield from _launching(s)
    if s.running_count:
        yield _running(s)
    elif s.waiting.pending and s.enabled and not s.paused:
        yield from _waiting_for_triage(s)
    if s.triage_error:
        text = f"Its triage at {_at(s.triage_error_at)} failed, and is repeated: {s.triage_error}"
        yield Finding(Cause.TRIAGE_FAILING, text, s.triage_error_at)
    if s.enabled and not s.paused:
        yield from _coming(s)


def _launching(s: JobSituation) -> Iterator[Finding]:
    for run in s.running:
        if run.status is InvocationStatus.RETRYING:
            attempts = f"attempt {run.launch_attempts} of {MAX_LAUNCH_ATTEMPTS} failed on our side"
            why = f": {run.error}" if run.error else ""
            yield Finding(Cause.LAUNCH_RETRYING, f"Run {run.name} can't be launched, {attempts}{why}.", run.since)


def _running(s: JobSituation) -> Finding:
    names = ", ".join(f"{run.name} since {_at(run.since)}" for run in s.running[:3])
    others = s.running_count - min(len(s.running), 3)
    told = f"{names}{f' and {others} more' if others else ''}"
    since = s.running[0].since if s.running else None
    if s.running_count < s.max_concurrent or not s.waiting.count:
        return Finding(Cause.RUNNING, f"It is running: {told}.", since)
    text = f"{_wait(_triggers(s.waiting.count))}: it runs as often at once as it may, {s.max_concurrent}: {told}."
    return Finding(Cause.AT_CONCURRENCY_LIMIT, text, since)


def _waiting_for_triage(s: JobSituation) -> Iterator[Finding]:
    """Usually it takes milliseconds."""
    if s.interval_until is not None and s.interval_until > s.now:
        text = f"{_wait(_triggers(s.waiting.pending))} until {_at(s.interval_until)}: min_triage_interval is not over."
        yield Finding(Cause.WAITING_INTERVAL, text, s.waiting.oldest_at)
        return
    oldest = s.waiting.oldest_at
    late = oldest is not None and s.now - oldest > _USUAL_DELAY
    text = f"{_wait(_triggers(s.waiting.pending))} for a triage, the oldest since {_at(oldest)}"
    yield Finding(Cause.TRIAGE_LATE, f"{text}{'; that is late' if late else ''}.", oldest)


def _coming(s: JobSituation) -> Iterator[Finding]:
    if s.waiting.own_runs and s.waiting.earliest_at is not None and s.waiting.earliest_at > s.now:
        text = f"{_wait(_runs(s.waiting.own_runs))} until {_at(s.waiting.earliest_at)} at least, as each has its time."
        yield Finding(Cause.WAITING_BACKOFF, text)
    if s.next_due_at is not None:
        yield _due(s, s.next_due_at)
    elif s.is_only_triggered:
        yield from _only_triggered(s)
    elif s.counts_from_end_of_run:
        if not s.running_count and not s.waiting.count:
            yield Finding(Cause.TRIAGE_LATE, "Its interval begins when a triage has seen that nothing runs any more.")
    else:
        ended = s.end_before is not None and s.end_before <= s.now
        why = f": end_before was {_at(s.end_before)}" if ended else ""
        yield Finding(Cause.SCHEDULE_ENDED, f"Its schedule `{s.schedule}` has no slot any more{why}.")


def _due(s: JobSituation, due_at: datetime) -> Finding:
    late = s.now - due_at
    if late > _USUAL_DELAY:
        text = f"Its slot of {_at(due_at)} has not fired, which is {late // timedelta(seconds=1)} s late"
        return Finding(Cause.TICK_LATE, f"{text}: no engine fires schedules.", due_at)
    return Finding(Cause.SCHEDULED, f"It runs next at {_at(due_at)}, by its schedule `{s.schedule}`.")


def _only_triggered(s: JobSituation) -> Iterator[Finding]:
    for upstream in s.upstreams:
        if not upstream.enabled or upstream.paused:
            state = "paused" if upstream.enabled else "disabled"
            yield Finding(Cause.UPSTREAM_DISABLED, f"It runs after {upstream.name}, which is {state}.")
        elif upstream.on == "SUCCESS" and upstream.last_success_at is None:
            ran = "has never ended" if upstream.last_completed_at is None else "has never succeeded"
            text = f"It runs after {upstream.name} succeeds, which {ran}."
            yield Finding(Cause.UPSTREAM_NEVER_SUCCEEDED, text)
    if not s.running_count and not s.waiting.count:
        after = ", ".join(upstream.name for upstream in s.upstreams)
        means = f"a trigger or the end of {after}" if after else "a trigger"
        yield Finding(Cause.NOTHING_ASKED, f"Nothing asks it to run: it has no schedule and waits for {means}.")


def _dropped(s: JobSituation) -> Iterator[Finding]:
    for drop in s.drops[:3]:
        told = _DROPPED_FOR.get(drop.reason, drop.reason)
        text = f"At {_at(drop.at)} {_triggers(drop.count)} started nothing: {told}."
        yield Finding(Cause.TRIGGERS_DROPPED, text, drop.at)


_DROPPED_FOR = {
    "PURGED_PAUSED": "the job was paused",
    "PURGED_DISABLED": "the job was disabled",
    "DROPPED_OVERFLOW": "too many were waiting, the oldest went",
    "DISCARDED_EXPIRED": "they had waited longer than pending_timeout",
    "START_DEADLINE_PASSED": "they had not started by their start_deadline",
}


def _failing(s: JobSituation) -> Iterator[Finding]:
    if s.last_status in (InvocationStatus.FAILED, InvocationStatus.TIMED_OUT):
        good = f"the last success was at {_at(s.last_success_at)}" if s.last_success_at else "it has never succeeded"
        why = f": {s.last_error}" if s.last_error else ""
        text = f"Its last run {s.last_status.name} at {_at(s.last_completed_at)}, {good}{why}"
        yield Finding(Cause.TARGET_FAILING, text if text.endswith(".") else f"{text}.", s.last_completed_at)


@dataclass(frozen=True, slots=True)
class SlotSituation:
    """What is known of the instant `at` in a job's life.

    `in_force`: whether a schedule was there at all, and `schedule` the one that was in force, `since` when. `is_slot`:
    `at` is one of it; `next_slot` the first that is not before it. `outcome` is what the ledger has, with the run, if
    any, and when it was decided. `waits`: a trigger of the slot is pending, or its time has not come.
    """

    now: datetime
    at: datetime
    in_force: bool
    schedule: str = ""
    since: datetime | None = None
    paused: bool = False
    enabled: bool = True
    is_slot: bool = False
    in_blackout: bool = False
    next_slot: datetime | None = None
    outcome: OccurrenceOutcome | None = None
    reason: str = ""
    run: str = ""
    decided_at: datetime | None = None
    waits: bool = False


def explain_slot(slot: SlotSituation) -> Finding:
    """Why it did not run at that time, or that it did."""
    if slot.outcome is not None:
        words = _SKIPPED_PAUSED if _is_skipped_of_a_pause(slot) else _OUTCOMES[slot.outcome]
        text = words.format(at=_at(slot.at), run=slot.run, decided=_at(slot.decided_at))
        return Finding(Cause(slot.outcome.name), f"{text}{f' ({slot.reason})' if slot.reason else ''}", slot.decided_at)
    if not slot.in_force:
        return Finding(Cause.NOT_THERE_YET, f"At {_at(slot.at)} the job did not exist yet.")
    if not slot.enabled:
        return Finding(Cause.DISABLED, f"At {_at(slot.at)} it was disabled, since {_at(slot.since)}.", slot.since)
    if slot.paused and not (slot.is_slot and slot.waits and slot.at <= slot.now):
        return Finding(Cause.PAUSED, f"At {_at(slot.at)} it was paused, since {_at(slot.since)}.", slot.since)
    if not slot.is_slot:
        following = f"the next one is {_at(slot.next_slot)}" if slot.next_slot else "it has no later one"
        text = f"{_at(slot.at)} is no slot of the schedule that was in force, `{slot.schedule}`; {following}."
        return Finding(Cause.NO_SLOT, text, slot.since)
    if slot.in_blackout:
        text = f"The slot of {_at(slot.at)} lies in a blackout: it starts nothing."
        return Finding(Cause.SKIPPED_BLACKOUT, text)
    if slot.at > slot.now:
        return Finding(Cause.AHEAD, f"{_at(slot.at)} is a slot of its schedule `{slot.schedule}`, and lies ahead.")
    if slot.waits:
        return Finding(Cause.STILL_WAITING, f"The slot of {_at(slot.at)} has not started anything yet: it still waits.")
    return Finding(Cause.NOT_RECORDED, f"Nothing is recorded of the slot of {_at(slot.at)}, which must not be.")


def _is_skipped_of_a_pause(slot: SlotSituation) -> bool:
    return slot.paused and slot.outcome is OccurrenceOutcome.SKIPPED_CATCHUP


_SKIPPED_PAUSED = "The slot of {at} came while the job was paused, and its catch_up skipped it at {decided}."
_OUTCOMES = {
    OccurrenceOutcome.STARTED: "The slot of {at} did start a run: {run}.",
    OccurrenceOutcome.BATCHED: "The slot of {at} was taken together with newer ones by the run {run}.",
    OccurrenceOutcome.EXPIRED: "The slot of {at} waited longer than pending_timeout, and was discarded at {decided}.",
    OccurrenceOutcome.OVERFLOW: "The slot of {at} was dropped at {decided}: too many triggers were waiting.",
    OccurrenceOutcome.PAUSED: "The slot of {at} was dropped at {decided}, because the job was paused by then.",
    OccurrenceOutcome.DISABLED: "The slot of {at} was dropped at {decided}, because the job was disabled by then.",
    OccurrenceOutcome.SKIPPED_CATCHUP: (
        "The slot of {at} was missed: no engine fired it in time, and what was missed was skipped at {decided}."
    ),
    OccurrenceOutcome.SKIPPED_DST_GAP: "The clocks went forward over the slot, which would have been {at}.",
    OccurrenceOutcome.SKIPPED_BLACKOUT: "The slot of {at} lay in a blackout of the job's calendar.",
    OccurrenceOutcome.START_DEADLINE: "The slot of {at} could not start in time: start_deadline, {decided}.",
}


def _as_of_revision(revision: str) -> str:
    return f", as of revision {revision}" if revision else ""


def _triggers(count: int) -> str:
    return "1 trigger" if count == 1 else f"{count:,} triggers"


def _wait(what: str) -> str:
    return f"{what} {'waits' if what.startswith('1 ') else 'wait'}"


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count:,} runs"


def _at(at: datetime | None) -> str:
    return "an unknown time" if at is None else format_instant(at)
