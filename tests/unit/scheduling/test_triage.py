"""What triage decides, story by story."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from ostinato.scheduling.invocation import InvocationStatus
from ostinato.scheduling.invocation_id import InvocationId
from ostinato.scheduling.job_definition import PolicyKind, TriggeringPolicy
from ostinato.scheduling.occurrence import OccurrenceOutcome
from ostinato.scheduling.schedule.due_time import Delay
from ostinato.scheduling.start_limit import StartLimit
from ostinato.scheduling.triage import (
    ActiveInvocation,
    InvocationRequest,
    PendingTrigger,
    ReasonCode,
    SlotOutcome,
    TriageDecision,
    TriagePlan,
    TriageSnapshot,
    decide_triage,
)
from ostinato.scheduling.trigger import TriggerKind

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
LOGARITHMIC = PolicyKind.LOGARITHMIC_BATCHING
NOTHING = TriagePlan((), (), (), rewind_cron=True, next_wake_at=None, adds_wake=False, decisions=(), slot_outcomes=())


def trigger(name: str, age: int = 0, *, order: int = 0, by: str = "", slot: datetime | None = None) -> PendingTrigger:
    kind = TriggerKind.EVENT if slot is None else TriggerKind.CRON
    return PendingTrigger(name, kind, NOW - timedelta(seconds=age), order, by, slot)


def slot_trigger(hours_ago: int) -> PendingTrigger:
    slot = NOW - hours_ago * HOUR
    return PendingTrigger(f"cron:v1:{100 - hours_ago}", TriggerKind.CRON, slot, 0, "", slot)


def invocation(number: int, status: InvocationStatus = InvocationStatus.RUNNING) -> ActiveInvocation:
    return ActiveInvocation(InvocationId(number), status)


def decide(
    *triggers: PendingTrigger,
    active: list[ActiveInvocation] | None = None,
    concurrent: int = 1,
    batch: int = 1000,
    enabled: bool = True,
    paused: bool = False,
    max_pending: int = 1000,
) -> TriagePlan:
    policy = TriggeringPolicy(max_concurrent_invocations=concurrent, max_batch_size=batch)
    return decide_triage(TriageSnapshot(NOW, enabled, paused, policy, triggers, active or [], max_pending))


def started(plan: TriagePlan) -> list[tuple[str, ...]]:
    return [request.trigger_ids for request in plan.requests]


def reasons(plan: TriagePlan) -> list[tuple[ReasonCode, int]]:
    return [(decision.reason, decision.count) for decision in plan.decisions]


def logarithmic(count: int, *, batch: int = 1000, concurrent: int = 1) -> list[int]:
    """Sizes of the batches that start."""
    policy = TriggeringPolicy(LOGARITHMIC, concurrent, batch, log_base=2)
    triggers = [trigger(f"t{n:03}", order=n) for n in range(count)]
    return [len(taken) for taken in started(decide_triage(TriageSnapshot(NOW, True, False, policy, triggers, [])))]


class TestLogarithmicBatching:
    def test_a_batch_is_the_logarithm_of_what_waits(self) -> None:
        sizes = {count: logarithmic(count) for count in (1, 3, 4, 7, 8, 15, 16, 31, 128)}
        assert sizes == {1: [1], 3: [1], 4: [2], 7: [2], 8: [3], 15: [3], 16: [4], 31: [4], 128: [7]}

    def test_each_slot_counts_what_the_ones_before_left(self) -> None:
        assert logarithmic(8, concurrent=3) == [3, 2, 1]

    def test_a_batch_is_never_larger_than_the_job_allows(self) -> None:
        assert logarithmic(128, batch=5) == [5]
        plan = decide_triage(
            TriageSnapshot(
                NOW,
                True,
                False,
                TriggeringPolicy(LOGARITHMIC, 1, 5, log_base=2),
                [trigger(f"t{n:03}", order=n) for n in range(128)],
                [],
            )
        )
        assert reasons(plan)[-1] == (ReasonCode.AT_CONCURRENCY_LIMIT, 123)

    def test_what_was_not_read_counts(self) -> None:
        policy = TriggeringPolicy(LOGARITHMIC, log_base=2)
        read = [trigger(f"t{n:03}", order=n) for n in range(9)]
        plan = decide_triage(TriageSnapshot(NOW, True, False, policy, read, [], more_pending=503))
        assert [len(taken) for taken in started(plan)] == [9]


def newest(
    *triggers: PendingTrigger, active: int = 0, concurrent: int = 1, planned: datetime | None = None
) -> TriagePlan:
    policy = TriggeringPolicy(PolicyKind.NEWEST_FIRST, concurrent, pending_timeout=timedelta(seconds=3))
    running = [invocation(n) for n in range(active)]
    return decide_triage(TriageSnapshot(NOW, True, False, policy, triggers, running, wake_planned_at=planned))


class TestNewestFirst:
    def test_the_newest_starts_alone_and_the_others_wait_for_their_turn(self) -> None:
        plan = newest(*(trigger(f"t{n}", order=n, by="user:ana") for n in (1, 2, 3, 4)))
        assert plan.requests == (InvocationRequest(("t4",), "user:ana", None),)
        assert plan.decisions[1:] == (TriageDecision(ReasonCode.AT_CONCURRENCY_LIMIT, 3, ("t1", "t2", "t3")),)
        assert (plan.next_wake_at, plan.adds_wake) == (NOW + timedelta(seconds=3), True)

    def test_of_several_that_start_the_oldest_is_first(self) -> None:
        plan = newest(*(trigger(f"t{n}", order=n) for n in (1, 2, 3, 4)), concurrent=2)
        assert started(plan) == [("t3",), ("t4",)]

    def test_what_waited_too_long_is_discarded_though_nothing_is_free(self) -> None:
        plan = newest(trigger("old", 4), trigger("just", 3), trigger("young", 2), active=1)
        assert (plan.discarded, plan.requests) == (("old", "just"), ())
        assert reasons(plan) == [(ReasonCode.DISCARDED_EXPIRED, 2), (ReasonCode.AT_CONCURRENCY_LIMIT, 1)]
        assert plan.next_wake_at == NOW + timedelta(seconds=1)

    def test_an_expired_slot_is_in_the_ledger(self) -> None:
        plan = newest(slot_trigger(1))
        assert plan.slot_outcomes == (SlotOutcome(NOW - HOUR, OccurrenceOutcome.EXPIRED),)

    def test_a_wake_up_that_is_planned_early_enough_is_not_planned_again(self) -> None:
        planned = NOW + timedelta(seconds=1)
        assert not newest(trigger("a"), active=1, planned=planned).adds_wake

    def test_a_time_at_the_end_of_the_calendar_never_expires(self) -> None:
        far = PendingTrigger("far", TriggerKind.EVENT, datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), 0, "")
        assert newest(far, active=1).next_wake_at is None

    def test_nobody_is_woken_in_more_than_a_day(self) -> None:
        policy = TriggeringPolicy(PolicyKind.NEWEST_FIRST)
        plan = decide_triage(TriageSnapshot(NOW, True, False, policy, [trigger("a")], [invocation(1)]))
        assert plan.next_wake_at == NOW + timedelta(days=1)  # it expires in seven


class TestLeastInterval:
    """`min_triage_interval`: so long after a triage that started something nothing starts."""

    def decide(self, *triggers: PendingTrigger, seconds: int, active: int = 0, **fields: Any) -> TriagePlan:
        """`seconds` are left of the interval."""
        policy, running = TriggeringPolicy(max_batch_size=1), [invocation(n) for n in range(active)]
        until = NOW + timedelta(seconds=seconds)
        return decide_triage(
            TriageSnapshot(NOW, True, False, policy, triggers, running, start_not_before=until, **fields)
        )

    def test_what_comes_too_soon_waits_and_is_looked_at_in_time(self) -> None:
        plan = self.decide(trigger("a"), seconds=5)
        assert plan.requests == ()
        assert reasons(plan) == [(ReasonCode.MIN_INTERVAL, 1)]
        assert (plan.next_wake_at, plan.adds_wake) == (NOW + timedelta(seconds=5), True)

    def test_when_it_is_over_everything_is_as_usual(self) -> None:
        assert started(self.decide(trigger("a"), seconds=0)) == [("a",)]

    def test_a_job_at_its_limit_waits_for_that_rather(self) -> None:
        assert reasons(self.decide(trigger("a"), seconds=5, active=1)) == [(ReasonCode.AT_CONCURRENCY_LIMIT, 1)]

    def test_retries_keep_the_distance_too(self) -> None:
        retry = PendingTrigger("retry:x", TriggerKind.RETRY, NOW, 0, "", not_before=NOW)
        plan = self.decide(seconds=5, waiting=[retry])
        assert (plan.requests, reasons(plan)) == ((), [(ReasonCode.MIN_INTERVAL, 1)])
        assert plan.next_wake_at == NOW + timedelta(seconds=5)

    def test_a_schedule_that_counts_from_the_end_of_runs_waits_for_what_is_held_back(self) -> None:
        assert not self.decide(trigger("a"), seconds=5).rewind_cron
        assert self.decide(seconds=5).rewind_cron

    def test_without_anything_that_waits_nobody_is_woken(self) -> None:
        assert self.decide(seconds=5).next_wake_at is None


class TestGreedyBatching:
    def test_nothing_to_do(self) -> None:
        assert decide() == NOTHING

    def test_four_triggers_in_batches_of_three_make_two_invocations(self) -> None:
        plan = decide(*(trigger(f"t{n}", order=n) for n in (1, 2, 3, 4)), concurrent=2, batch=3)
        assert started(plan) == [("t1", "t2", "t3"), ("t4",)]
        assert plan.decisions == (
            TriageDecision(ReasonCode.STARTED, 1, ("t3",), 0),
            TriageDecision(ReasonCode.BATCHED, 2, ("t1", "t2"), 0),
            TriageDecision(ReasonCode.STARTED, 1, ("t4",), 1),
        )

    def test_what_has_no_free_slot_waits_with_a_reason(self) -> None:
        plan = decide(trigger("a", 3), trigger("b", 2), trigger("c", 1), batch=1)
        assert started(plan) == [("a",)]
        assert plan.decisions[-1] == TriageDecision(ReasonCode.AT_CONCURRENCY_LIMIT, 2, ("b", "c"))
        assert plan.discarded == ()

    def test_running_invocations_occupy_slots(self) -> None:
        plan = decide(trigger("a"), active=[invocation(1), invocation(2, InvocationStatus.RETRYING)], concurrent=2)
        assert reasons(plan) == [(ReasonCode.AT_CONCURRENCY_LIMIT, 1)]
        assert not plan.requests

    def test_more_running_than_the_policy_allows_now_is_no_obstacle(self) -> None:
        plan = decide(trigger("a"), active=[invocation(n) for n in range(1, 6)], concurrent=2)
        assert reasons(plan) == [(ReasonCode.AT_CONCURRENCY_LIMIT, 1)]

    def test_one_batch_does_not_wait_for_more(self) -> None:
        assert started(decide(trigger("a"), batch=100)) == [("a",)]

    def test_batches_of_one_start_oldest_first(self) -> None:
        plan = decide(trigger("new", 1), trigger("old", 9), trigger("middle", 5), batch=1, concurrent=2)
        assert started(plan) == [("old",), ("middle",)]


class TestOrder:
    def test_is_by_creation_then_order_in_batch_then_id(self) -> None:
        plan = decide(
            trigger("z", 5), trigger("b", 5, order=1), trigger("a", 5, order=1), trigger("y", 9, order=7), trigger("é")
        )
        assert started(plan) == [("y", "z", "a", "b", "é")]

    def test_of_ids_is_by_bytes(self) -> None:
        assert started(decide(trigger("a"), trigger("B"), trigger("é"), trigger("𐀀"), trigger("～"))) == [
            ("B", "a", "é", "～", "𐀀")
        ]


class TestRequest:
    def test_names_the_caller_when_all_triggers_have_the_same(self) -> None:
        plan = decide(trigger("a", by="user:ana"), trigger("b", by="user:ana"))
        assert plan.requests == (InvocationRequest(("a", "b"), "user:ana", None),)

    def test_names_nobody_when_callers_differ(self) -> None:
        assert decide(trigger("a", by="user:ana"), trigger("b", by="user:bo")).requests[0].triggered_by == ""
        assert decide(trigger("a", by="user:ana"), trigger("b")).requests[0].triggered_by == ""

    def test_is_scheduled_for_the_newest_slot_of_its_batch(self) -> None:
        assert decide(slot_trigger(3), slot_trigger(1), trigger("newest")).requests[0].scheduled_for == NOW - HOUR


class TestLedger:
    def test_of_several_slots_in_one_invocation_the_newest_is_started(self) -> None:
        plan = decide(slot_trigger(2), slot_trigger(3), slot_trigger(1), trigger("event"))
        assert set(plan.slot_outcomes) == {
            SlotOutcome(NOW - HOUR, OccurrenceOutcome.STARTED, 0),
            SlotOutcome(NOW - 2 * HOUR, OccurrenceOutcome.BATCHED, 0),
            SlotOutcome(NOW - 3 * HOUR, OccurrenceOutcome.BATCHED, 0),
        }

    def test_each_invocation_starts_a_slot_of_its_own(self) -> None:
        plan = decide(slot_trigger(2), slot_trigger(1), batch=1, concurrent=2)
        assert plan.slot_outcomes == (
            SlotOutcome(NOW - 2 * HOUR, OccurrenceOutcome.STARTED, 0),
            SlotOutcome(NOW - HOUR, OccurrenceOutcome.STARTED, 1),
        )

    def test_a_slot_that_waits_has_no_outcome_yet(self) -> None:
        assert decide(slot_trigger(1), active=[invocation(1)]).slot_outcomes == ()

    def test_two_triggers_of_one_slot_give_it_one_outcome(self) -> None:
        slot = NOW - HOUR
        plan = decide(trigger("a", 2, slot=slot), trigger("b", 1, slot=slot), batch=1, concurrent=2)
        assert plan.slot_outcomes == (SlotOutcome(slot, OccurrenceOutcome.STARTED, 0),)


class TestAcknowledgement:
    def test_what_ended_frees_its_slot_in_the_same_triage(self) -> None:
        plan = decide(trigger("a"), active=[invocation(2, InvocationStatus.ABORTED)])
        assert plan.acknowledged == (2,)
        assert started(plan) == [("a",)]

    def test_any_final_status_is_an_end(self) -> None:
        active = [invocation(status.value, status) for status in InvocationStatus]
        assert decide(active=active).acknowledged == (4, 5, 6, 7)

    def test_happens_for_paused_and_disabled_jobs_too(self) -> None:
        ended = [invocation(9, InvocationStatus.SUCCEEDED)]
        assert decide(active=ended, paused=True).acknowledged == (9,)
        assert decide(active=ended, enabled=False).acknowledged == (9,)


class TestPurge:
    def test_a_paused_job_starts_nothing_and_keeps_nothing(self) -> None:
        plan = decide(trigger("a", 2), slot_trigger(1), paused=True)
        assert not plan.requests
        assert plan.discarded == ("cron:v1:99", "a")
        assert reasons(plan) == [(ReasonCode.PURGED_PAUSED, 2)]
        assert plan.slot_outcomes == (SlotOutcome(NOW - HOUR, OccurrenceOutcome.PAUSED),)

    def test_a_disabled_job_starts_nothing_and_keeps_nothing(self) -> None:
        plan = decide(slot_trigger(1), enabled=False, paused=True)
        assert reasons(plan) == [(ReasonCode.PURGED_DISABLED, 1)]
        assert plan.slot_outcomes == (SlotOutcome(NOW - HOUR, OccurrenceOutcome.DISABLED),)

    def test_nothing_pending_needs_no_decision(self) -> None:
        assert decide(paused=True) == NOTHING


class TestCap:
    def test_drops_the_oldest_beyond_it_before_the_policy_is_asked(self) -> None:
        plan = decide(slot_trigger(5), *(trigger(f"t{n}", 10 - n) for n in range(4)), max_pending=3)
        assert plan.discarded == ("cron:v1:95", "t0")
        assert started(plan) == [("t1", "t2", "t3")]
        assert plan.decisions[0] == TriageDecision(ReasonCode.DROPPED_OVERFLOW, 2, ("cron:v1:95", "t0"))
        assert plan.slot_outcomes == (SlotOutcome(NOW - 5 * HOUR, OccurrenceOutcome.OVERFLOW),)

    def test_holds_while_nothing_can_start(self) -> None:
        plan = decide(*(trigger(f"t{n:02}", order=n) for n in range(5)), active=[invocation(1)], max_pending=3)
        assert reasons(plan) == [(ReasonCode.DROPPED_OVERFLOW, 2), (ReasonCode.AT_CONCURRENCY_LIMIT, 3)]

    def test_exactly_full_drops_nothing(self) -> None:
        assert decide(*(trigger(f"t{n}") for n in range(3)), max_pending=3).discarded == ()

    def test_a_decision_names_at_most_twenty(self) -> None:
        (decision,) = decide(*(trigger(f"t{n:02}", order=n) for n in range(25)), paused=True).decisions
        assert decision.count == 25
        assert decision.trigger_ids == tuple(f"t{n:02}" for n in range(20))


class TestRewind:
    def test_when_nothing_runs_and_nothing_starts(self) -> None:
        assert decide(active=[invocation(1, InvocationStatus.FAILED)]).rewind_cron

    def test_not_while_something_runs(self) -> None:
        assert not decide(active=[invocation(1), invocation(2, InvocationStatus.FAILED)]).rewind_cron

    def test_not_when_something_starts(self) -> None:
        assert not decide(trigger("a"), active=[invocation(1, InvocationStatus.FAILED)]).rewind_cron

    def test_for_inactive_jobs_as_well(self) -> None:
        """The cron machine decides that it means nothing there."""
        assert decide(trigger("a"), paused=True).rewind_cron


HALF_AN_HOUR = StartLimit(Delay("projects/p/jobs/j", offset=timedelta(minutes=10)), timedelta(minutes=30))


def late_snapshot(*triggers: PendingTrigger, active: int = 0, **fields: Any) -> TriageSnapshot:
    running = [invocation(number + 1) for number in range(active)]
    return TriageSnapshot(NOW, True, False, TriggeringPolicy(), triggers, running, start_limit=HALF_AN_HOUR, **fields)


def cron_at(name: str, minutes_ago: int) -> PendingTrigger:
    slot = NOW - timedelta(minutes=minutes_ago)
    return PendingTrigger(name, TriggerKind.CRON, slot, 0, "", slot)


def test_a_slot_that_has_not_started_in_time_is_dropped_and_recorded() -> None:
    """40 minutes: its offset, and its deadline."""
    plan = decide_triage(late_snapshot(cron_at("late", 40), cron_at("in-time", 39), trigger("event", age=9999)))
    assert plan.discarded == ("late",)
    assert started(plan) == [("event", "in-time")]
    outcomes = {outcome.slot: outcome.outcome for outcome in plan.slot_outcomes}
    assert outcomes == {
        NOW - timedelta(minutes=40): OccurrenceOutcome.START_DEADLINE,
        NOW - timedelta(minutes=39): OccurrenceOutcome.STARTED,
    }
    assert (ReasonCode.START_DEADLINE_PASSED, 1) in reasons(plan)


def test_a_slot_that_waits_for_a_free_place_is_looked_at_again_when_its_deadline_is_over() -> None:
    plan = decide_triage(late_snapshot(cron_at("a", 10), cron_at("b", 35), active=1))
    assert (plan.discarded, plan.requests) == ((), ())
    assert (plan.next_wake_at, plan.adds_wake) == (NOW + timedelta(minutes=5), True)


def test_when_only_late_slots_are_left_what_waits_for_a_run_of_its_own_starts() -> None:
    retry = PendingTrigger("retry:x", TriggerKind.RETRY, NOW, 0, "", None, NOW)
    plan = decide_triage(late_snapshot(cron_at("late", 50), waiting=[retry]))
    assert (plan.discarded, started(plan), plan.next_wake_at) == (("late",), [("retry:x",)], None)
