"""A test of a test: the audit finds whatever is lost, doubled or stuck, and nothing where all is well."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from chaos.audit import Claims, audit
from chaos.evidence import Evidence, Run, Slots
from chaos.project import EVERY_SECOND
from ostinato.pb.scheduler.v1.triggers_pb2 import CronPayload, RetryPayload, Trigger
from ostinato.scheduling.invocation import InvocationStatus

START = datetime(2026, 5, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def cron(second: int) -> Trigger:
    trigger = Trigger(id=f"cron:{second}", cron=CronPayload(generation=second))
    trigger.cron.slot.FromDatetime(START + second * SECOND)
    return trigger


def run(run_id: int, job: str, *triggers: Trigger, status: InvocationStatus = InvocationStatus.SUCCEEDED) -> Run:
    return Run(run_id, job, status, triggers, None)


# Two triggers in one run; of the reporting run an end; of three seconds the first two in runs, the third skipped.
CALLING = run(1, "calling-0", Trigger(id="a"), Trigger(id="b"))
AFTER_CALLING = run(2, "after-calling-0", Trigger(id=f"upstream:{CALLING.name}"))
AFTER_THAT = run(3, "after-that-0", Trigger(id=f"upstream:{AFTER_CALLING.name}"))
REPORTING = run(4, "reporting-0", Trigger(id="a"))
AFTER_REPORTING = run(5, "after-reporting-0", Trigger(id=f"upstream:{REPORTING.name}"))
TICKS = [run(10 + n, job, cron(1), cron(2)) for n, job in enumerate(EVERY_SECOND)]
AFTER_TICK = run(20, "after-tick", Trigger(id=f"upstream:{TICKS[0].name}"))
LEDGER = {
    tick.job: [
        Slots(START + SECOND, None, tick.id),
        Slots(START + 2 * SECOND, None, tick.id),
        Slots(START + 3 * SECOND, START + 4 * SECOND, None),
    ]
    for tick in TICKS
}
WELL = Evidence(
    runs=[CALLING, AFTER_CALLING, AFTER_THAT, REPORTING, AFTER_REPORTING, AFTER_TICK, *TICKS],
    doubly_stored=[],
    ends_logged={REPORTING.id: 1},
    ledger=LEDGER,
    planned=dict.fromkeys(EVERY_SECOND, (START, START + 3.5 * SECOND)),
    waiting={},
)
CLAIMS = Claims(
    accepted=frozenset({("calling-0", "a"), ("calling-0", "b"), ("reporting-0", "a")}),
    ended=frozenset({REPORTING.name}),
)


def broken(evidence: Evidence, claims: Claims = CLAIMS) -> list[str]:
    return [name for name, found in audit(evidence, claims).items() if found]


def without(*gone: Run) -> list[Run]:
    return [kept for kept in WELL.runs if kept not in gone]


def test_nothing_is_found_where_all_is_well() -> None:
    assert broken(WELL) == []


@pytest.mark.parametrize(
    ("evidence", "rules"),
    [
        (replace(WELL, runs=[*without(CALLING), replace(CALLING, triggers=[Trigger(id="a")])]), ["lost triggers"]),
        (replace(WELL, runs=[*WELL.runs, run(9, "noop-0", Trigger(id="x"), Trigger(id="x"))]), ["doubled triggers"]),
        (replace(WELL, waiting={"claimed tasks": 1}), ["stuck"]),
        (replace(WELL, doubly_stored=[1]), ["accepted more than one end"]),
        (replace(WELL, ends_logged={REPORTING.id: 2}), ["accepted more than one end"]),
        (replace(WELL, ends_logged={}), ["lost ends"]),
        (
            replace(WELL, runs=[*without(REPORTING), replace(REPORTING, status=InvocationStatus.TIMED_OUT)]),
            ["runs with a result that nobody asked for"],
        ),
        (replace(WELL, runs=without(AFTER_TICK)), ["lost followers"]),
    ],
)
def test_what_is_lost_doubled_or_stuck_is_found(evidence: Evidence, rules: list[str]) -> None:
    assert broken(evidence) == rules


@pytest.mark.parametrize(
    "slots",
    [
        LEDGER["tick-noop"][:2],
        LEDGER["tick-noop"][1:],
        [*LEDGER["tick-noop"], Slots(START + 2 * SECOND, START + 3 * SECOND, None)],
        [*LEDGER["tick-noop"], Slots(START + 4 * SECOND, None, None)],
    ],
    ids=["the last is missing", "the first is missing", "one has two outcomes", "one was never planned"],
)
def test_a_slot_without_exactly_one_outcome_is_found(slots: list[Slots]) -> None:
    assert "ledger: slots without exactly one outcome" in broken(replace(WELL, ledger={**LEDGER, "tick-noop": slots}))


def test_a_job_whose_schedule_was_not_ended_is_found() -> None:
    assert broken(replace(WELL, planned={})) == ["ledger: slots without exactly one outcome"]


def test_a_slot_that_ran_twice_is_found_although_the_ledger_knows_one() -> None:
    again = run(30, "tick-calling", cron(2))
    assert "ledger: slots that contradict the runs" in broken(replace(WELL, runs=[*WELL.runs, again]))


FAILING = run(31, "failing-0", Trigger(id="a"), status=InvocationStatus.FAILED)
AFTER_FAILING = run(32, "after-failing-0", Trigger(id=f"upstream:{FAILING.name}"))
RETRY_TRIGGER = Trigger(id="retry:1", retry=RetryPayload(invocation=FAILING.name))
RETRY = run(33, "failing-0", RETRY_TRIGGER, *FAILING.triggers, status=InvocationStatus.FAILED)
AFTER_RETRY = run(34, "after-failing-0", Trigger(id=f"upstream:{RETRY.name}"))


def test_a_retry_repeats_the_triggers_of_its_run_and_doubles_none() -> None:
    assert broken(replace(WELL, runs=[*WELL.runs, FAILING, AFTER_FAILING, RETRY, AFTER_RETRY])) == []


def test_a_retry_that_was_lost_or_made_twice_is_found() -> None:
    assert broken(replace(WELL, runs=[*WELL.runs, FAILING, AFTER_FAILING])) == ["retries not made once"]
    twice = [FAILING, AFTER_FAILING, RETRY, RETRY, AFTER_RETRY]
    assert "retries not made once" in broken(replace(WELL, runs=[*WELL.runs, *twice]))
