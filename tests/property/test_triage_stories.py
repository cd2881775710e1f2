"""A job's life as triage sees it, step by step against a model: whatever happens in whichever order, nothing is lost,
doubled, dropped without a reason or run beside the limit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ostinato.scheduling.invocation import TRANSITIONS, InvocationStatus, is_final
from ostinato.scheduling.invocation_id import InvocationId
from ostinato.scheduling.job_definition import PolicyKind, TriggeringPolicy
from ostinato.scheduling.occurrence import OccurrenceOutcome
from ostinato.scheduling.triage import (
    ActiveInvocation,
    PendingTrigger,
    ReasonCode,
    TriagePlan,
    TriageSnapshot,
    decide_triage,
)
from ostinato.scheduling.triage_plan import DROPS
from ostinato.scheduling.triage_window import triage_window, triggers_wanted
from ostinato.scheduling.trigger import TriggerKind

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
MAX_PENDING = 6
MOST_READ = 9
PEEK = 2  # so many are read of every job
DROP_OUTCOMES = {
    ReasonCode.PURGED_DISABLED: OccurrenceOutcome.DISABLED,
    ReasonCode.PURGED_PAUSED: OccurrenceOutcome.PAUSED,
    ReasonCode.DROPPED_OVERFLOW: OccurrenceOutcome.OVERFLOW,
    ReasonCode.DISCARDED_EXPIRED: OccurrenceOutcome.EXPIRED,
}
POLICIES = st.builds(
    TriggeringPolicy,
    st.sampled_from(PolicyKind),
    max_concurrent_invocations=st.integers(1, 3),
    max_batch_size=st.integers(1, 4),
    log_base=st.just(2.0),
    pending_timeout=st.integers(1, 8).map(lambda seconds: timedelta(seconds=seconds)),
)


class JobLife(RuleBasedStateMachine):
    """`pending`, `active` and the flags are the database; the other fields are what a careful clerk would note."""

    def __init__(self) -> None:
        super().__init__()
        self.now = MONDAY
        self.enabled, self.paused = True, False
        self.pending: dict[str, PendingTrigger] = {}
        self.active: dict[InvocationId, InvocationStatus] = {}
        self.wake_at: datetime | None = None
        self.created: list[PendingTrigger] = []
        self.started: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.ledger: dict[datetime, OccurrenceOutcome] = {}
        self.limit_of: dict[InvocationId, int] = {}
        self.acknowledged: Counter[InvocationId] = Counter()

    @initialize(policy=POLICIES)
    def begin(self, policy: TriggeringPolicy) -> None:
        self.policy = policy

    # -- what happens to a job --------------------------------------------------------------------------------------

    @rule(count=st.integers(1, 5), age=st.integers(0, 3))
    def triggers_arrive(self, count: int, age: int) -> None:
        for order in range(count):
            self._add(TriggerKind.EVENT, created_at=self.now - timedelta(seconds=age), order=order)

    @rule()
    def slot_comes(self) -> None:
        self.now += timedelta(seconds=1)
        self._add(TriggerKind.CRON, slot=self.now)

    @rule(backoff=st.integers(0, 4))
    def retry_is_asked_for(self, backoff: int) -> None:
        self._add(TriggerKind.RETRY, not_before=self.now + timedelta(seconds=backoff))

    @rule(seconds=st.integers(1, 5))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @precondition(lambda self: self._running())
    @rule(data=st.data())
    def invocation_moves(self, data: st.DataObject) -> None:
        running = self._running()
        chosen = data.draw(st.sampled_from(running))
        self.active[chosen] = data.draw(st.sampled_from(sorted(TRANSITIONS[self.active[chosen]])))

    @rule(paused=st.booleans())
    def pause_or_resume(self, paused: bool) -> None:
        self.paused = paused

    @rule(enabled=st.booleans())
    def config_goes_or_comes(self, enabled: bool) -> None:
        self.enabled = enabled

    @rule(policy=POLICIES)
    def policy_changes(self, policy: TriggeringPolicy) -> None:
        self.policy = policy

    @rule()
    def triage(self) -> None:
        """Again and again while a plan leaves unread triggers that it could not start, as the engine does."""
        while self._triage_once():
            pass

    # -- what always holds ------------------------------------------------------------------------------------------

    @invariant()
    def every_trigger_is_in_one_place(self) -> None:
        for trigger in self.created:
            places = (trigger.id in self.pending) + self.started[trigger.id] + self.dropped[trigger.id]
            assert places == 1, (trigger, places)

    @invariant()
    def what_waits_for_a_run_of_its_own_is_dropped_with_its_job_only(self) -> None:
        own = [trigger.id for trigger in self.created if trigger.not_before is not None]
        assert all(self.dropped[name] == 0 or name in self._dropped_while_disabled for name in own)

    @invariant()
    def each_slot_that_left_has_one_outcome(self) -> None:
        left = {trigger.slot for trigger in self.created if trigger.slot and trigger.id not in self.pending}
        assert set(self.ledger) == left

    @invariant()
    def ends_are_acknowledged_once(self) -> None:
        assert all(count == 1 for count in self.acknowledged.values())
        assert not self.acknowledged.keys() & self.active.keys()

    def teardown(self) -> None:
        """The job is left in peace: everything that waits gets its turn."""
        self.enabled, self.paused = True, False
        for _ in range(2 + len(self.pending) + len(self.active)):
            self.now += timedelta(seconds=10)
            self.triage()
            self.active = dict.fromkeys(self.active, InvocationStatus.SUCCEEDED)
        assert not self.pending
        assert not self.active
        self.every_trigger_is_in_one_place()

    # -- the shell around the decision ------------------------------------------------------------------------------

    _dropped_while_disabled: frozenset[str] = frozenset()

    def _triage_once(self) -> bool:
        snapshot = self._snapshot()
        plan = decide_triage(snapshot)
        goes_on = snapshot.more_pending > 0 and len(plan.discarded) >= len(snapshot.triggers)
        self._check(snapshot, plan)
        if not goes_on:
            self._check_wake(snapshot, plan)
        self._apply(snapshot, plan)
        return goes_on

    def _snapshot(self) -> TriageSnapshot:
        plain = sorted((t for t in self.pending.values() if t.not_before is None), key=lambda t: t.age_key)
        waiting = sorted(
            (t for t in self.pending.values() if t.not_before is not None), key=lambda t: (t.not_before, t.id)
        )
        takes = self.enabled and not self.paused
        wanted = triggers_wanted(
            self.policy, still_active=len(self._running()), takes_triggers=takes, max_pending=MAX_PENDING
        )
        window = triage_window(pending=len(plain), wanted=wanted, max_pending=MAX_PENDING, most=MOST_READ)
        read = min(len(plain), max(window, PEEK))
        return TriageSnapshot(
            now=self.now,
            enabled=self.enabled,
            paused=self.paused,
            policy=self.policy,
            triggers=plain[:read],
            active=[ActiveInvocation(*entry) for entry in self.active.items()],
            max_pending=MAX_PENDING,
            more_pending=len(plain) - read,
            waiting=waiting[: self.policy.max_concurrent_invocations + 1] if self.enabled else waiting,
            wake_planned_at=self.wake_at,
        )

    def _check(self, snapshot: TriageSnapshot, plan: TriagePlan) -> None:
        running = len(self._running())
        room = max(0, self.policy.max_concurrent_invocations - running)
        assert len(plan.requests) <= room
        if not self.enabled or self.paused:
            assert plan.requests == ()
        self._check_sizes(plan)
        left = len(self.pending) - len(plan.discarded) - sum(len(request.trigger_ids) for request in plan.requests)
        plain_left = left - sum(trigger.not_before is not None for trigger in self.pending.values())
        assert plain_left <= MAX_PENDING or snapshot.more_pending > 0

    def _check_sizes(self, plan: TriagePlan) -> None:
        for request in plan.requests:
            own = [name for name in request.trigger_ids if self.pending[name].not_before is not None]
            assert len(request.trigger_ids) <= (1 if own else self.policy.max_batch_size)

    def _check_wake(self, snapshot: TriageSnapshot, plan: TriagePlan) -> None:
        """What waits has something ahead that brings the next triage."""
        gone = {*plan.discarded, *(name for request in plan.requests for name in request.trigger_ids)}
        expiries = self._expiries(gone) if snapshot.enabled and not snapshot.paused else []
        assert all(at > self.now for at in expiries)
        assert not expiries or plan.next_wake_at is not None
        assert plan.next_wake_at is None or plan.next_wake_at <= min(expiries, default=plan.next_wake_at)
        running = len(self._running()) + len(plan.requests)
        if not snapshot.enabled or snapshot.paused or running >= self.policy.max_concurrent_invocations:
            return
        early = [t.not_before for t in self.pending.values() if t.id not in gone and t.not_before is not None]
        assert all(at > self.now for at in early)
        assert plan.next_wake_at == min([*early, *expiries], default=None)

    def _expiries(self, gone: set[str]) -> list[datetime]:
        """When the policy discards those that stay pending."""
        if self.policy.kind is not PolicyKind.NEWEST_FIRST:
            return []
        left = [t for t in self.pending.values() if t.id not in gone and t.not_before is None]
        return [trigger.created_at + self.policy.expires_after for trigger in left]

    def _apply(self, snapshot: TriageSnapshot, plan: TriagePlan) -> None:
        self._explain(plan)
        self._note_drops(plan)
        for request in plan.requests:
            self._consume(request.trigger_ids, self.started)
            invocation = InvocationId(len(self.limit_of) + 1)
            self.limit_of[invocation] = self.policy.max_concurrent_invocations
            self.active[invocation] = InvocationStatus.STARTING
        self._account(plan)
        for gone in plan.acknowledged:
            assert is_final(self.active.pop(gone))
            self.acknowledged[gone] += 1
        if plan.adds_wake:
            self.wake_at = plan.next_wake_at
        elif self.wake_at is not None and self.wake_at <= snapshot.now:
            self.wake_at = None

    def _explain(self, plan: TriagePlan) -> None:
        """Each drop has its reason, by number and (as far as it goes) by name."""
        dropped = [decision for decision in plan.decisions if decision.reason in DROPS]
        assert sum(decision.count for decision in dropped) == len(plan.discarded)
        assert {name for decision in dropped for name in decision.trigger_ids} == set(plan.discarded)

    def _note_drops(self, plan: TriagePlan) -> None:
        reasons = {name: d.reason for d in plan.decisions if d.reason in DROPS for name in d.trigger_ids}
        for name in plan.discarded:
            if (slot := self.pending[name].slot) is not None:
                outcome = next(each.outcome for each in plan.slot_outcomes if each.slot == slot)
                assert outcome is DROP_OUTCOMES[reasons[name]]
            if reasons[name] is ReasonCode.PURGED_DISABLED:
                self._dropped_while_disabled |= {name}
        self._consume(plan.discarded, self.dropped)

    def _account(self, plan: TriagePlan) -> None:
        for each in plan.slot_outcomes:
            assert each.slot not in self.ledger
            self.ledger[each.slot] = each.outcome

    def _consume(self, names: Iterable[str], into: Counter[str]) -> None:
        for name in names:
            del self.pending[name]
            into[name] += 1

    def _running(self) -> list[InvocationId]:
        return [invocation for invocation, status in self.active.items() if not is_final(status)]

    def _add(
        self,
        kind: TriggerKind,
        *,
        created_at: datetime | None = None,
        order: int = 0,
        slot: datetime | None = None,
        not_before: datetime | None = None,
    ) -> None:
        trigger = PendingTrigger(
            id=f"{kind}:{len(self.created)}",
            kind=kind,
            created_at=created_at or self.now,
            order_in_batch=order,
            emitted_by="user:ana@shop.example",
            slot=slot,
            not_before=not_before,
        )
        self.created.append(trigger)
        self.pending[trigger.id] = trigger


TestJobLife = JobLife.TestCase
TestJobLife.settings = settings(max_examples=30, stateful_step_count=30)
