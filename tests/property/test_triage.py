"""What holds for every triage, whatever is pending and whatever runs."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import assume, given
from hypothesis import strategies as st

from ostinato.scheduling.invocation import InvocationStatus, is_final
from ostinato.scheduling.invocation_id import InvocationId
from ostinato.scheduling.job_definition import PolicyKind, TriggeringPolicy
from ostinato.scheduling.occurrence import OccurrenceOutcome
from ostinato.scheduling.policies.batching import decide_batches, greedy_size, logarithmic_size
from ostinato.scheduling.schedule.due_time import Delay
from ostinato.scheduling.start_limit import StartLimit
from ostinato.scheduling.triage import (
    ActiveInvocation,
    PendingTrigger,
    ReasonCode,
    TriageSnapshot,
    decide_triage,
)
from ostinato.scheduling.trigger import TriggerKind

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def not_before(trigger: PendingTrigger) -> datetime:
    assert trigger.not_before is not None
    return trigger.not_before


def _trigger(number: int, age: int, order: int, emitted_by: str, *, is_cron: bool) -> PendingTrigger:
    return PendingTrigger(
        id=f"t{number}",
        kind=TriggerKind.CRON if is_cron else TriggerKind.EVENT,
        created_at=NOW - timedelta(seconds=age),
        order_in_batch=order,
        emitted_by=emitted_by,
        slot=NOW - timedelta(hours=number) if is_cron else None,
    )


TRIGGERS = st.lists(
    st.builds(
        _trigger,
        st.integers(0, 999),
        st.integers(0, 5),
        st.integers(0, 2),
        st.sampled_from(["", "user:ana", "user:bo"]),
        is_cron=st.booleans(),
    ),
    unique_by=lambda trigger: trigger.id,
    max_size=40,
)
WAITING = st.lists(
    st.builds(
        lambda number, early: PendingTrigger(
            id=f"retry:{number}",
            kind=TriggerKind.RETRY,
            created_at=NOW,
            order_in_batch=0,
            emitted_by="engine",
            not_before=NOW + timedelta(seconds=early),
        ),
        st.integers(0, 999),
        st.integers(-5, 5),
    ),
    unique_by=lambda trigger: trigger.id,
    max_size=8,
).map(lambda waiting: sorted(waiting, key=not_before))
ACTIVE = st.lists(
    st.builds(ActiveInvocation, st.integers(1, 10**6).map(InvocationId), st.sampled_from(InvocationStatus)),
    unique_by=lambda invocation: invocation.id,
    max_size=8,
)
NEWEST = TriggeringPolicy(PolicyKind.NEWEST_FIRST, pending_timeout=timedelta(seconds=3))
POLICIES = st.one_of(
    st.builds(TriggeringPolicy, max_concurrent_invocations=st.integers(1, 6), max_batch_size=st.integers(1, 9)),
    st.builds(
        TriggeringPolicy,
        st.just(PolicyKind.LOGARITHMIC_BATCHING),
        max_concurrent_invocations=st.integers(1, 6),
        max_batch_size=st.integers(1, 9),
        log_base=st.floats(1.0001, 8),
    ),
    st.builds(
        TriggeringPolicy,
        st.just(PolicyKind.NEWEST_FIRST),
        max_concurrent_invocations=st.integers(1, 6),
        pending_timeout=st.integers(1, 6).map(lambda seconds: timedelta(seconds=seconds)),
    ),
)
SNAPSHOTS = st.builds(
    TriageSnapshot,
    now=st.just(NOW),
    enabled=st.sampled_from([True, True, True, False]),
    paused=st.sampled_from([False, False, False, True]),
    policy=POLICIES,
    triggers=TRIGGERS,
    active=ACTIVE,
    max_pending=st.sampled_from([5, 20, 1000]),
    waiting=WAITING,
    start_limit=st.none()
    | st.integers(1, 400).map(lambda hours: StartLimit(Delay("projects/p/jobs/j"), timedelta(hours=hours))),
    wake_planned_at=st.none() | st.integers(1, 5).map(lambda seconds: NOW + timedelta(seconds=seconds)),
)


def age(trigger: PendingTrigger) -> tuple[datetime, int, str]:
    return trigger.created_at, trigger.order_in_batch, trigger.id


@given(SNAPSHOTS)
def test_a_trigger_is_consumed_once_or_discarded_once_or_stays(snapshot: TriageSnapshot) -> None:
    plan = decide_triage(snapshot)
    taken = [name for request in plan.requests for name in request.trigger_ids] + list(plan.discarded)
    assert all(count == 1 for count in Counter(taken).values())
    assert set(taken) <= {trigger.id for trigger in [*snapshot.triggers, *snapshot.waiting]}
    assert all(request.trigger_ids for request in plan.requests)


@given(SNAPSHOTS)
def test_never_more_active_invocations_than_allowed(snapshot: TriageSnapshot) -> None:
    plan = decide_triage(snapshot)
    still_active = len(snapshot.active) - len(plan.acknowledged)
    assert len(plan.requests) <= max(0, snapshot.policy.max_concurrent_invocations - still_active)
    assert all(len(request.trigger_ids) <= snapshot.policy.max_batch_size for request in plan.requests)


@given(SNAPSHOTS)
def test_no_free_slot_is_left_while_a_trigger_waits(snapshot: TriageSnapshot) -> None:
    plan = decide_triage(snapshot)
    taken = len(plan.discarded) + sum(len(request.trigger_ids) for request in plan.requests)
    due = [trigger for trigger in snapshot.waiting if not_before(trigger) <= snapshot.now]
    if taken < len(snapshot.triggers) + (0 if snapshot.paused else len(due)):
        running = len(snapshot.active) - len(plan.acknowledged) + len(plan.requests)
        assert running >= snapshot.policy.max_concurrent_invocations


def too_late(snapshot: TriageSnapshot) -> set[str]:
    limit = snapshot.start_limit
    slots = {trigger.id: trigger.slot for trigger in snapshot.triggers if trigger.slot is not None}
    return {name for name, slot in slots.items() if limit is not None and slot + limit.limit <= NOW}


@given(SNAPSHOTS)
def test_what_is_too_late_never_starts_and_what_waits_is_looked_at_before_it_is(snapshot: TriageSnapshot) -> None:
    plan = decide_triage(snapshot)
    started = {name for request in plan.requests for name in request.trigger_ids}
    assert not started & too_late(snapshot)
    if not snapshot.enabled or snapshot.paused or snapshot.start_limit is None:
        return
    left = [trigger for trigger in snapshot.triggers if trigger.id not in started.union(plan.discarded)]
    deadlines = [snapshot.start_limit.deadline(trigger.slot) for trigger in left if trigger.slot is not None]
    assert all(plan.next_wake_at is not None and NOW < plan.next_wake_at <= deadline for deadline in deadlines)


@given(SNAPSHOTS)
def test_what_leaves_a_batching_policy_is_the_oldest_in_order(snapshot: TriageSnapshot) -> None:
    assume(snapshot.policy.kind is not PolicyKind.NEWEST_FIRST)
    plan = decide_triage(snapshot)
    left = [*plan.discarded, *(name for request in plan.requests for name in request.trigger_ids)]
    oldest_first = [trigger.id for trigger in sorted(snapshot.triggers, key=age)]
    earliest_first = [trigger.id for trigger in snapshot.waiting]
    batched = [name for name in left if name not in earliest_first]
    single = [name for name in left if name in earliest_first]
    assert left == batched + single
    late = too_late(snapshot)
    in_time = [name for name in batched if name not in late]
    assert in_time == [name for name in oldest_first if name not in late][: len(in_time)]
    assert single == earliest_first[: len(single)]


@given(SNAPSHOTS, st.randoms())
def test_the_order_in_which_things_were_read_does_not_matter(snapshot: TriageSnapshot, random: object) -> None:
    shuffled = list(snapshot.triggers)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert decide_triage(replace(snapshot, triggers=shuffled)) == decide_triage(snapshot)


@given(SNAPSHOTS)
def test_exactly_the_final_invocations_are_acknowledged(snapshot: TriageSnapshot) -> None:
    expected = {invocation.id for invocation in snapshot.active if is_final(invocation.status)}
    assert set(decide_triage(snapshot).acknowledged) == expected


@given(SNAPSHOTS)
def test_a_slot_has_one_outcome_exactly_if_its_trigger_leaves(snapshot: TriageSnapshot) -> None:
    plan = decide_triage(snapshot)
    left = {*plan.discarded, *(name for request in plan.requests for name in request.trigger_ids)}
    expected = sorted(trigger.slot for trigger in snapshot.triggers if trigger.slot is not None and trigger.id in left)
    assert sorted(outcome.slot for outcome in plan.slot_outcomes) == expected


@given(SNAPSHOTS)
def test_each_invocation_with_slots_starts_exactly_its_newest(snapshot: TriageSnapshot) -> None:
    plan = decide_triage(snapshot)
    slots = {trigger.id: trigger.slot for trigger in [*snapshot.triggers, *snapshot.waiting]}
    for index, request in enumerate(plan.requests):
        own = [slot for name in request.trigger_ids if (slot := slots[name]) is not None]
        outcomes = {o.slot: o.outcome for o in plan.slot_outcomes if o.request == index}
        started = [slot for slot, outcome in outcomes.items() if outcome is OccurrenceOutcome.STARTED]
        assert set(outcomes) == set(own)
        assert started == ([max(own)] if own else [])
        assert request.scheduled_for == max(own, default=None)


@given(SNAPSHOTS)
def test_every_trigger_is_explained_once(snapshot: TriageSnapshot) -> None:
    plan = decide_triage(snapshot)
    assert sum(decision.count for decision in plan.decisions) == len(snapshot.triggers) + len(snapshot.waiting)
    for decision in plan.decisions:
        assert len(decision.trigger_ids) == min(decision.count, 20)
        assert (decision.request is not None) == (decision.reason in {ReasonCode.STARTED, ReasonCode.BATCHED})


@given(SNAPSHOTS)
def test_a_second_triage_finds_nothing_more_to_do(snapshot: TriageSnapshot) -> None:
    plan = decide_triage(snapshot)
    gone = {*plan.discarded, *(name for request in plan.requests for name in request.trigger_ids)}
    started = [
        ActiveInvocation(InvocationId(10**7 + number), InvocationStatus.STARTING)
        for number in range(len(plan.requests))
    ]
    after = replace(
        snapshot,
        triggers=[trigger for trigger in snapshot.triggers if trigger.id not in gone],
        waiting=[trigger for trigger in snapshot.waiting if trigger.id not in gone],
        wake_planned_at=plan.next_wake_at if plan.adds_wake else snapshot.wake_planned_at,
        active=[*(a for a in snapshot.active if a.id not in plan.acknowledged), *started],
    )
    again = decide_triage(after)
    assert (again.acknowledged, again.requests, again.discarded, again.slot_outcomes) == ((), (), (), ())
    assert not again.adds_wake


@given(SNAPSHOTS)
def test_a_trigger_that_waits_for_its_own_run_is_never_batched_dropped_or_purged_by_a_pause(
    snapshot: TriageSnapshot,
) -> None:
    plan = decide_triage(snapshot)
    own = {trigger.id for trigger in snapshot.waiting}
    for request in plan.requests:
        assert len(request.trigger_ids) == 1 or not own & set(request.trigger_ids)
    if snapshot.enabled:
        assert not own & set(plan.discarded)
    else:
        assert own <= set(plan.discarded)


@given(SNAPSHOTS)
def test_what_waits_for_its_own_run_has_an_event_ahead_that_brings_a_triage(snapshot: TriageSnapshot) -> None:
    """The end of a run, a resume, or a planned task: nothing waits for an unrelated event."""
    plan = decide_triage(snapshot)
    started = {name for request in plan.requests for name in request.trigger_ids}
    left = [trigger for trigger in snapshot.waiting if trigger.id not in {*started, *plan.discarded}]
    running = len(snapshot.active) - len(plan.acknowledged) + len(plan.requests)
    planned = [at for at in (snapshot.wake_planned_at, plan.next_wake_at if plan.adds_wake else None) if at is not None]
    for trigger in left:
        if not_before(trigger) <= snapshot.now:
            assert snapshot.paused or running >= snapshot.policy.max_concurrent_invocations
        else:
            assert snapshot.paused or min(planned) <= not_before(trigger)


@given(SNAPSHOTS)
def test_no_run_of_its_own_starts_before_its_time(snapshot: TriageSnapshot) -> None:
    early = {trigger.id for trigger in snapshot.waiting if not_before(trigger) > snapshot.now}
    plan = decide_triage(snapshot)
    assert not early & {name for request in plan.requests for name in request.trigger_ids}


@given(SNAPSHOTS)
def test_a_wake_up_is_planned_once(snapshot: TriageSnapshot) -> None:
    plan = decide_triage(snapshot)
    if plan.adds_wake:
        assert plan.next_wake_at is not None
        assert plan.next_wake_at > snapshot.now
        assert snapshot.wake_planned_at is None or plan.next_wake_at < snapshot.wake_planned_at


@given(SNAPSHOTS)
def test_newest_first_discards_exactly_what_is_too_old_and_starts_the_newest_of_the_rest(
    snapshot: TriageSnapshot,
) -> None:
    policy = replace(NEWEST, max_concurrent_invocations=3)
    snapshot = replace(snapshot, policy=policy, enabled=True, paused=False, start_limit=None)
    plan = decide_triage(snapshot)
    ordered = sorted(snapshot.triggers, key=age)[max(0, len(snapshot.triggers) - snapshot.max_pending) :]
    old = [trigger.id for trigger in ordered if snapshot.now - trigger.created_at >= NEWEST.expires_after]
    young = [trigger.id for trigger in ordered if trigger.id not in old]
    assert list(plan.discarded[len(snapshot.triggers) - len(ordered) :]) == old
    own = {trigger.id for trigger in snapshot.waiting}
    started = [request.trigger_ids for request in plan.requests if not own & set(request.trigger_ids)]
    free = max(0, 3 - len(snapshot.active) + len(plan.acknowledged))
    assert started == [(name,) for name in (young[-free:] if free else [])]


@given(SNAPSHOTS)
def test_what_will_expire_is_looked_at_in_time(snapshot: TriageSnapshot) -> None:
    snapshot = replace(snapshot, policy=NEWEST, enabled=True, paused=False)
    plan = decide_triage(snapshot)
    gone = {*plan.discarded, *(name for request in plan.requests for name in request.trigger_ids)}
    left = [trigger.created_at + NEWEST.expires_after for trigger in snapshot.triggers if trigger.id not in gone]
    planned = [at for at in (snapshot.wake_planned_at, plan.next_wake_at if plan.adds_wake else None) if at is not None]
    if left:
        assert min(planned) <= min(left)


@given(st.integers(1, 5000), st.integers(2, 50))
def test_logarithmic_size_is_the_whole_part_of_the_logarithm(waiting: int, base: int) -> None:
    """Against whole numbers: the largest power of the base that is not above it."""
    power = 0
    while base ** (power + 1) <= waiting:
        power += 1
    assert logarithmic_size(waiting, base) == max(1, power)


@given(st.integers(1, 5000), st.floats(1.0001, 1e6))
def test_a_logarithmic_batch_is_never_empty_and_never_more_than_there_is(waiting: int, base: float) -> None:
    assert 1 <= logarithmic_size(waiting, base) <= waiting


@given(TRIGGERS, st.integers(0, 10), st.integers(1, 10))
def test_greedy_takes_full_batches_until_triggers_or_slots_run_out(
    triggers: list[PendingTrigger], free_slots: int, size: int
) -> None:
    batches = decide_batches(triggers, unread=0, free_slots=free_slots, max_batch_size=size, size_for=greedy_size)
    assert [trigger for batch in batches for trigger in batch] == triggers[: free_slots * size]
    assert all(len(batch) == size for batch in batches[:-1])
