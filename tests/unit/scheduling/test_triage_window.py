"""A triage reads only as many of the oldest triggers as it can start, drop or purge."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ostinato.scheduling.job_definition import PolicyKind, TriggeringPolicy
from ostinato.scheduling.triage import (
    InvocationRequest,
    PendingTrigger,
    ReasonCode,
    TriageDecision,
    TriageSnapshot,
    decide_triage,
)
from ostinato.scheduling.triage_window import triage_window, triggers_wanted
from ostinato.scheduling.trigger import TriggerKind

NOW = datetime(2026, 3, 1, tzinfo=UTC)
LOGARITHMIC = PolicyKind.LOGARITHMIC_BATCHING


def window(pending: int, wanted: int | None) -> int:
    return triage_window(pending=pending, wanted=wanted, max_pending=1000, most=5000)


def wanted(policy: TriggeringPolicy, *, still_active: int) -> int | None:
    return triggers_wanted(policy, still_active=still_active, takes_triggers=True, max_pending=1000)


def trigger(number: int) -> PendingTrigger:
    return PendingTrigger(f"t{number}", TriggerKind.EVENT, NOW + timedelta(seconds=number), 0, "")


def snapshot(read: int, more: int, policy: TriggeringPolicy, *, max_pending: int = 1000) -> TriageSnapshot:
    return TriageSnapshot(
        now=NOW,
        enabled=True,
        paused=False,
        policy=policy,
        triggers=[trigger(number) for number in range(read)],
        active=[],
        max_pending=max_pending,
        more_pending=more,
    )


def test_greedy_wants_a_batch_for_each_free_slot() -> None:
    policy = TriggeringPolicy(max_concurrent_invocations=3, max_batch_size=7)
    assert [wanted(policy, still_active=active) for active in (1, 3, 5)] == [14, 0, 0]


def test_logarithmic_wants_no_more_than_a_full_set_makes_of_a_batch() -> None:
    policy = TriggeringPolicy(LOGARITHMIC, max_concurrent_invocations=3, log_base=2)
    assert wanted(policy, still_active=1) == 2 * 9  # 2 ** 9 is 512
    assert wanted(replace(policy, max_batch_size=5), still_active=1) == 2 * 5


def test_newest_first_wants_them_all_because_the_oldest_may_have_expired() -> None:
    policy = TriggeringPolicy(PolicyKind.NEWEST_FIRST)
    assert [wanted(policy, still_active=active) for active in (0, 1)] == [1000, 1000]


def test_a_job_that_takes_no_triggers_wants_them_all_out() -> None:
    policy = TriggeringPolicy()
    assert triggers_wanted(policy, still_active=0, takes_triggers=False, max_pending=1000) is None


@pytest.mark.parametrize(
    ("pending", "wanted", "read"),
    [
        (900, 0, 0),  # at the limit: nothing can start, nothing exceeds the cap
        (900, 10, 10),
        (900, 1_000_000, 900),
        (1200, 10, 210),  # 200 are dropped, 10 start
        (1200, 1_000_000, 1200),
        (5000, 1_000_000, 5000),
        (5001, 1_000_000, 4001),  # the drop alone; what can start comes next time
        (9000, 10, 5000),
        (9000, None, 5000),
        (30, None, 30),
    ],
)
def test_the_window_covers_what_is_dropped_and_what_can_start(pending: int, wanted: int | None, read: int) -> None:
    assert window(pending, wanted) == read


def test_unread_triggers_count_against_the_cap_and_are_explained() -> None:
    policy = TriggeringPolicy(max_concurrent_invocations=1, max_batch_size=2)
    plan = decide_triage(snapshot(read=5, more=6, policy=policy, max_pending=8))
    assert plan.discarded == ("t0", "t1", "t2")
    assert plan.requests == (InvocationRequest(("t3", "t4"), "", None),)
    assert TriageDecision(ReasonCode.AT_CONCURRENCY_LIMIT, 6, ()) in plan.decisions


def test_a_triage_that_drops_all_it_read_starts_nothing_and_explains_nothing_else() -> None:
    plan = decide_triage(snapshot(read=5, more=20, policy=TriggeringPolicy(), max_pending=8))
    assert plan.discarded == ("t0", "t1", "t2", "t3", "t4")
    assert plan.requests == ()
    assert [decision.reason for decision in plan.decisions] == [ReasonCode.DROPPED_OVERFLOW]
