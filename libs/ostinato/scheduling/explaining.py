"""Why a job is not running, in words. Pure: from what is known of it to what a person should read first.

Each finding has a code for programs and a sentence for people. The first one is the answer; the others matter too, in
the order in which somebody would have to look at them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ostinato.scheduling.finding import Cause, Finding
from ostinato.scheduling.finding import told_instant as _at
from ostinato.scheduling.invocation import InvocationStatus
from ostinato.scheduling.launching import MAX_LAUNCH_ATTEMPTS

# Later than that is not the usual way from one step to the next.
_USUAL_DELAY = timedelta(seconds=5)


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
class RejectedReports:
    """What came for `run` with a token that was rejected for one `fault`, and when the first and the last did."""

    run: str
    fault: str
    count: int
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True)
class JobSituation:
    """All that is known of a job at `now`.

    `schedule` is the text of its definition; `next_due_at` when its next slot fires, None if none does. Then
    `never_matches`: it has had none and never will; `is_blacked_out`: some come, all in blackouts.
    `paused_queues`: since when, by name, of the queues that a run passes. `live_engines` is None where nobody can tell.
    `interval_until`: the last triage found that min_triage_interval lasts until then. `triage_error` is of the last
    triage, `drops` newest first. `running` is oldest first, and may leave some out. `rejected` is of those, and
    `rejected_of_last` of the run that ended last if it did not succeed.
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
    never_matches: bool = False
    is_blacked_out: bool = False
    interval_until: datetime | None = None
    running: Sequence[KnownRun] = ()
    running_count: int = 0
    rejected: Sequence[RejectedReports] = ()
    waiting: Waiting = field(default_factory=Waiting)
    paused_queues: Mapping[str, datetime] = field(default_factory=dict)
    live_engines: int | None = None
    triage_error: str = ""
    triage_error_at: datetime | None = None
    last_status: InvocationStatus | None = None
    last_error: str = ""
    last_completed_at: datetime | None = None
    last_success_at: datetime | None = None
    rejected_of_last: Sequence[RejectedReports] = ()
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
        *_rejected(situation.rejected_of_last, "were"),
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
        yield from _rejected(s.rejected, "are")
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


def _rejected(reports: Sequence[RejectedReports], are: str) -> Iterator[Finding]:
    """One for each fault, the latest first. It is not said that the run sent them: whoever knows its id may have."""
    by_fault: dict[str, list[RejectedReports]] = {}
    for each in sorted(reports, key=lambda each: each.last_at, reverse=True):
        by_fault.setdefault(each.fault, []).append(each)
    for fault, group in by_fault.items():
        what, why = _REJECTED_FOR[fault]
        count, first = sum(each.count for each in group), min(each.first_at for each in group)
        sent = f"1 was sent at {_at(first)}"
        if count > 1:
            sent = f"{count:,} were sent from {_at(first)} to {_at(group[0].last_at)}"
        text = f"{what} {_named([each.run for each in group])} {are} rejected: {sent} {why}."
        yield Finding(Cause.TOKEN_REJECTED, text, first)


_SAME_KEYS = "do engine, ingester and api have the same OSTINATO_NOTIFICATION_KEYS, or the same OSTINATO_SECRET?"
_SAME_TIME = "do the clocks of engine, ingester and api agree?"
_REJECTED_FOR = {
    "WRONG_KEY": (
        "Reports for",
        f"with a token that no notification key of this installation signed, or that was altered ({_SAME_KEYS})",
    ),
    "EXPIRED": ("Reports for", f"with a token that had expired ({_SAME_TIME})"),
    "FROM_THE_FUTURE": ("Reports for", f"with a token that was not issued yet by the receiver's clock ({_SAME_TIME})"),
    "OTHER_RUN": ("Reports with the token of", "for another run (does the work name its own run?)"),
}


def _named(runs: Sequence[str]) -> str:
    others = len(runs) - 3
    return f"run{'' if len(runs) == 1 else 's'} {', '.join(runs[:3])}{f' and {others} more' if others > 0 else ''}"


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
        yield Finding(Cause.SCHEDULE_ENDED, f"Its schedule `{s.schedule}` {_why_ended(s)}.")


def _why_ended(s: JobSituation) -> str:
    if s.never_matches:
        return "never matches: there is no such time"
    if s.is_blacked_out:
        return "has slots to come, but all of them lie in blackouts"
    if s.end_before is not None and s.end_before <= s.now:
        return f"has no slot any more: end_before was {_at(s.end_before)}"
    return "has no slot any more"


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


def _as_of_revision(revision: str) -> str:
    return f", as of revision {revision}" if revision else ""


def _triggers(count: int) -> str:
    return "1 trigger" if count == 1 else f"{count:,} triggers"


def _wait(what: str) -> str:
    return f"{what} {'waits' if what.startswith('1 ') else 'wait'}"


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count:,} runs"
