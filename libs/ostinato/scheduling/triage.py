"""Triage: look at one job, decide what starts. Pure, and the only place that decides.

Order of effects (LUCI Scheduler): acknowledge what ended, purge when the job takes no triggers, drop what exceeds
the cap and slots that are too late to start, let the policy form batches and discard what waited too long, start what
waits for a run of its own, rewind the cron machine when nothing is left running.
Invariants: no trigger is both consumed and discarded; never more active invocations than the policy allows; with a
batching policy older triggers start no later than newer ones; every slot that leaves the pending set gets exactly one
outcome; a trigger that waits for a run of its own gets it, or is purged because its job is disabled, or has an event
ahead that brings the next triage: the end of a run, a resume, or the task of `next_wake_at`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ostinato.scheduling.invocation import is_final
from ostinato.scheduling.invocation_id import InvocationId
from ostinato.scheduling.occurrence import OccurrenceOutcome
from ostinato.scheduling.policies.choice import choose
from ostinato.scheduling.triage_plan import (
    MAX_EXPLAINED_TRIGGERS,
    InvocationRequest,
    ReasonCode,
    SlotOutcome,
    TriageDecision,
    TriagePlan,
)
from ostinato.scheduling.triage_snapshot import ActiveInvocation, PendingTrigger, TriageSnapshot

__all__ = [
    "ActiveInvocation",
    "InvocationRequest",
    "OccurrenceOutcome",
    "PendingTrigger",
    "ReasonCode",
    "SlotOutcome",
    "TriageDecision",
    "TriagePlan",
    "TriageSnapshot",
    "decide_triage",
]

# Queues don't take tasks for any later time. A wake-up too early finds nothing to do and plans the next.
FARTHEST_WAKE = timedelta(days=1)


def decide_triage(snapshot: TriageSnapshot) -> TriagePlan:
    draft = _Draft(snapshot.now)
    acknowledged = tuple(invocation.id for invocation in snapshot.active if is_final(invocation.status))
    still_active = len(snapshot.active) - len(acknowledged)
    triggers = sorted(snapshot.triggers, key=lambda trigger: trigger.age_key)

    if not snapshot.enabled:
        draft.discard([*triggers, *snapshot.waiting], ReasonCode.PURGED_DISABLED, OccurrenceOutcome.DISABLED)
    elif snapshot.paused:
        draft.discard(triggers, ReasonCode.PURGED_PAUSED, OccurrenceOutcome.PAUSED)
        draft.explain(ReasonCode.WAITING_PAUSED, snapshot.waiting)
    else:
        excess = max(0, len(triggers) + snapshot.more_pending - snapshot.max_pending)
        draft.discard(triggers[:excess], ReasonCode.DROPPED_OVERFLOW, OccurrenceOutcome.OVERFLOW)
        kept = _drop_late(draft, snapshot, triggers[excess:])
        if kept or not (draft.discarded and snapshot.more_pending):  # else it drops more in the triage that follows
            _start(draft, snapshot, kept, still_active)
        _wake_later(draft, snapshot)
    # Unread triggers may start something in the triage that follows at once, and what is held back starts later: then
    # the schedule counts from the end of that.
    idle = still_active == 0 and not draft.requests and snapshot.more_pending == 0 and not draft.holds_back
    return draft.plan(acknowledged, rewind_cron=idle, planned=snapshot.wake_planned_at)


def _drop_late(draft: _Draft, snapshot: TriageSnapshot, triggers: Sequence[PendingTrigger]) -> Sequence[PendingTrigger]:
    """Those that are not too late to start."""
    limit, now = snapshot.start_limit, snapshot.now
    if limit is None:
        return triggers
    late = [trigger for trigger in triggers if trigger.slot is not None and limit.deadline(trigger.slot) <= now]
    draft.discard(late, ReasonCode.START_DEADLINE_PASSED, OccurrenceOutcome.START_DEADLINE)
    gone = {trigger.id for trigger in late}
    return [trigger for trigger in triggers if trigger.id not in gone]


def _start(draft: _Draft, snapshot: TriageSnapshot, triggers: Sequence[PendingTrigger], still_active: int) -> None:
    policy = snapshot.policy
    free_slots = policy.max_concurrent_invocations - still_active
    too_soon = snapshot.start_not_before is not None and snapshot.start_not_before > snapshot.now
    waits_for = ReasonCode.MIN_INTERVAL if too_soon and free_slots > 0 else ReasonCode.AT_CONCURRENCY_LIMIT
    if too_soon:
        free_slots = 0
        if triggers or snapshot.more_pending or snapshot.waiting:
            draft.holds_back = True
            draft.wake(snapshot.start_not_before)
    choice = choose(policy, triggers, now=snapshot.now, free_slots=free_slots, unread=snapshot.more_pending)
    draft.discard(choice.expired, ReasonCode.DISCARDED_EXPIRED, OccurrenceOutcome.EXPIRED)
    for batch in choice.batches:
        draft.start(batch)
    draft.explain(waits_for, choice.waiting, unread=snapshot.more_pending)
    draft.wake(choice.wake_at)
    draft.wake(_first_deadline(snapshot, choice.waiting))
    _start_each(draft, snapshot, free_slots=free_slots - len(choice.batches), waits_for=waits_for)


def _first_deadline(snapshot: TriageSnapshot, waiting: Sequence[PendingTrigger]) -> datetime | None:
    limit = snapshot.start_limit
    slots = [trigger.slot for trigger in waiting if trigger.slot is not None]
    return None if limit is None else min(map(limit.deadline, slots), default=None)


def _start_each(draft: _Draft, snapshot: TriageSnapshot, *, free_slots: int, waits_for: ReasonCode) -> None:
    """What the policy left of the job's concurrency is for triggers that become an invocation each."""
    due = [trigger for trigger in snapshot.waiting if not _is_early(trigger, snapshot.now)]
    room = max(0, free_slots)
    for trigger in due[:room]:
        draft.start([trigger])
    draft.explain(waits_for, due[room:])


def _wake_later(draft: _Draft, snapshot: TriageSnapshot) -> None:
    early = [trigger for trigger in snapshot.waiting if _is_early(trigger, snapshot.now)]
    draft.explain(ReasonCode.WAITING_BACKOFF, early)
    draft.wake(early[0].not_before if early else None)


def _is_early(trigger: PendingTrigger, now: datetime) -> bool:
    return trigger.not_before is not None and trigger.not_before > now


@dataclass(slots=True)
class _Draft:
    """A plan in the making."""

    now: datetime
    requests: list[InvocationRequest] = field(default_factory=list)
    discarded: list[str] = field(default_factory=list)
    decisions: list[TriageDecision] = field(default_factory=list)
    slot_outcomes: dict[datetime, SlotOutcome] = field(default_factory=dict)
    next_wake_at: datetime | None = None
    holds_back: bool = False  # something could start but for the least interval of the job

    def discard(self, triggers: Sequence[PendingTrigger], reason: ReasonCode, outcome: OccurrenceOutcome) -> None:
        self.discarded.extend(trigger.id for trigger in triggers)
        self.explain(reason, triggers)
        for trigger in triggers:
            if trigger.slot is not None:
                self._account(trigger.slot, outcome, None)

    def wake(self, at: datetime | None) -> None:
        """The job is looked at again at `at`, or earlier."""
        if at is not None:
            at = min(at, self.now + FARTHEST_WAKE)
            self.next_wake_at = at if self.next_wake_at is None else min(self.next_wake_at, at)

    def start(self, batch: Sequence[PendingTrigger]) -> None:
        """The newest trigger is the one that starts it, the older ones are batched; likewise its slots."""
        request = len(self.requests)
        slots = sorted((trigger.slot for trigger in batch if trigger.slot is not None), reverse=True)
        self.requests.append(
            InvocationRequest(
                trigger_ids=tuple(trigger.id for trigger in batch),
                triggered_by=_common_emitter(batch),
                scheduled_for=slots[0] if slots else None,
            )
        )
        self.explain(ReasonCode.STARTED, batch[-1:], request)
        self.explain(ReasonCode.BATCHED, batch[:-1], request)
        for slot in slots[:1]:
            self._account(slot, OccurrenceOutcome.STARTED, request)
        for slot in slots[1:]:
            self._account(slot, OccurrenceOutcome.BATCHED, request)

    def explain(
        self, reason: ReasonCode, triggers: Sequence[PendingTrigger], request: int | None = None, *, unread: int = 0
    ) -> None:
        if triggers or unread:
            named = tuple(trigger.id for trigger in triggers[:MAX_EXPLAINED_TRIGGERS])
            self.decisions.append(TriageDecision(reason, len(triggers) + unread, named, request))

    def _account(self, slot: datetime, outcome: OccurrenceOutcome, request: int | None) -> None:
        # Two triggers of one slot are possible only if the clock went back; the ledger keeps the first decision.
        self.slot_outcomes.setdefault(slot, SlotOutcome(slot, outcome, request))

    def plan(
        self, acknowledged: tuple[InvocationId, ...], *, rewind_cron: bool, planned: datetime | None
    ) -> TriagePlan:
        return TriagePlan(
            acknowledged=acknowledged,
            requests=tuple(self.requests),
            discarded=tuple(self.discarded),
            rewind_cron=rewind_cron,
            next_wake_at=self.next_wake_at,
            adds_wake=self.next_wake_at is not None and (planned is None or self.next_wake_at < planned),
            decisions=tuple(self.decisions),
            slot_outcomes=tuple(self.slot_outcomes.values()),
        )


def _common_emitter(batch: Sequence[PendingTrigger]) -> str:
    emitters = {trigger.emitted_by for trigger in batch}
    return emitters.pop() if len(emitters) == 1 else ""
