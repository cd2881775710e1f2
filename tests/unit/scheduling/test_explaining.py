"""What a person reads first when a job is not running, cause by cause."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ostinato.scheduling.explaining import (
    Cause,
    Drop,
    JobSituation,
    KnownRun,
    SlotSituation,
    Upstream,
    Waiting,
    explain_now,
    explain_slot,
)
from ostinato.scheduling.invocation import InvocationStatus
from ostinato.scheduling.occurrence import OccurrenceOutcome

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
AGO = NOW - 5 * MINUTE
RUN = KnownRun("shop/j/7", InvocationStatus.RUNNING, AGO, 1)
RETRYING = KnownRun("shop/j/7", InvocationStatus.RETRYING, AGO, 3, "connection refused")
UPSTREAM = Upstream("shop/up", "SUCCESS", enabled=True, paused=False, last_success_at=None, last_completed_at=AGO)


def situation(**fields: Any) -> JobSituation:
    return JobSituation(**({"now": NOW, "enabled": True, "schedule": "triggered", "max_concurrent": 1} | fields))


def run(**fields: Any) -> JobSituation:
    """One that is running, with what else is given."""
    return situation(**({"running": [RUN], "running_count": 1} | fields))


@pytest.mark.parametrize(
    ("known", "cause", "words"),
    [
        (situation(enabled=False, revision="r7"), Cause.DISABLED, "no longer has it, as of revision r7"),
        (
            situation(paused=True, paused_by="user:ana", paused_at=AGO, pause_reason="stock-taking"),
            Cause.PAUSED,
            "It was paused by user:ana at 2026-03-01T11:55:00Z: stock-taking.",
        ),
        (
            situation(paused=True, waiting=Waiting(own_runs=2, earliest_at=AGO)),
            Cause.PAUSED,
            "without a reason given. 2 runs of its own will go on when it is resumed",
        ),
        (situation(problem="the stored definition can't be read: x"), Cause.DEFINITION_UNREADABLE, "starts nothing"),
        (situation(live_engines=0), Cause.NO_ENGINE, "No engine is alive"),
        (
            situation(paused_queues={"launches": AGO}),
            Cause.QUEUE_PAUSED,
            "launches is paused since 2026-03-01T11:55:00Z",
        ),
        (run(running=[RETRYING]), Cause.LAUNCH_RETRYING, "attempt 3 of 50 failed on our side: connection refused"),
        (run(), Cause.RUNNING, "It is running: shop/j/7 since 2026-03-01T11:55:00Z."),
        (
            run(waiting=Waiting(3, AGO)),
            Cause.AT_CONCURRENCY_LIMIT,
            "3 triggers wait: it runs as often at once as it may, 1: shop/j/7 since",
        ),
        (run(waiting=Waiting(3, AGO), max_concurrent=2), Cause.RUNNING, "It is running"),
        (situation(waiting=Waiting(1, AGO)), Cause.TRIAGE_LATE, "1 trigger waits for a triage, the oldest since"),
        (
            situation(waiting=Waiting(2, AGO), interval_until=NOW + MINUTE),
            Cause.WAITING_INTERVAL,
            "2 triggers wait until 2026-03-01T12:01:00Z: min_triage_interval",
        ),
        (situation(waiting=Waiting(2, AGO), interval_until=AGO), Cause.TRIAGE_LATE, "wait for a triage"),
        (
            situation(schedule="0 0 * * *", end_before=AGO),
            Cause.SCHEDULE_ENDED,
            "no slot any more: end_before was 2026-03-01T11:55:00Z.",
        ),
        (
            situation(triage_error="the triage failed: boom", triage_error_at=AGO),
            Cause.TRIAGE_FAILING,
            "failed, and is repeated: the triage failed: boom",
        ),
        (
            situation(waiting=Waiting(own_runs=1, earliest_at=NOW + MINUTE)),
            Cause.WAITING_BACKOFF,
            "1 run waits until 2026-03-01T12:01:00Z at least, as each has its time",
        ),
        (
            situation(schedule="every 1m", next_due_at=NOW + MINUTE),
            Cause.SCHEDULED,
            "It runs next at 2026-03-01T12:01:00Z, by its schedule `every 1m`.",
        ),
        (situation(schedule="every 1m", next_due_at=AGO), Cause.TICK_LATE, "has not fired, which is 300 s late"),
        (situation(schedule="0 0 30 2 *"), Cause.SCHEDULE_ENDED, "`0 0 30 2 *` has no slot any more"),
        (situation(schedule="with 1m interval", counts_from_end_of_run=True), Cause.TRIAGE_LATE, "Its interval begins"),
        (situation(upstreams=[UPSTREAM]), Cause.UPSTREAM_NEVER_SUCCEEDED, "after shop/up succeeds, which has never su"),
        (
            situation(upstreams=[replace(UPSTREAM, last_completed_at=None)]),
            Cause.UPSTREAM_NEVER_SUCCEEDED,
            "which has never ended",
        ),
        (situation(upstreams=[replace(UPSTREAM, paused=True)]), Cause.UPSTREAM_DISABLED, "shop/up, which is paused"),
        (situation(upstreams=[replace(UPSTREAM, enabled=False)]), Cause.UPSTREAM_DISABLED, "which is disabled"),
        (situation(), Cause.NOTHING_ASKED, "it has no schedule and waits for a trigger."),
        (
            situation(upstreams=[replace(UPSTREAM, last_success_at=AGO)]),
            Cause.NOTHING_ASKED,
            "waits for a trigger or the end of shop/up",
        ),
    ],
)
def test_the_first_line_is_the_answer(known: JobSituation, cause: Cause, words: str) -> None:
    first = explain_now(known)[0]
    assert first.cause is cause
    assert words in first.text


def causes(known: JobSituation) -> list[Cause]:
    return [finding.cause for finding in explain_now(known)]


def test_what_else_matters_follows_in_order() -> None:
    known = situation(
        paused=True,
        paused_at=AGO,
        live_engines=0,
        drops=[Drop(AGO, "PURGED_PAUSED", 3)],
        last_status=InvocationStatus.FAILED,
        last_error="HTTP 500",
        last_completed_at=AGO,
    )
    assert causes(known) == [Cause.PAUSED, Cause.NO_ENGINE, Cause.TRIGGERS_DROPPED, Cause.TARGET_FAILING]
    assert [finding.text for finding in explain_now(known)][2:] == [
        "At 2026-03-01T11:55:00Z 3 triggers started nothing: the job was paused.",
        "Its last run FAILED at 2026-03-01T11:55:00Z, it has never succeeded: HTTP 500.",
    ]


def test_a_paused_job_is_not_said_to_run_by_its_schedule() -> None:
    assert causes(situation(paused=True, schedule="every 1m")) == [Cause.PAUSED]


def test_an_engine_that_lives_or_that_nobody_knows_of_is_no_finding() -> None:
    assert causes(situation(live_engines=2)) == causes(situation(live_engines=None)) == [Cause.NOTHING_ASKED]


def test_of_many_runs_three_are_named() -> None:
    runs = [replace(RUN, name=f"shop/j/{n}") for n in range(5)]
    first = explain_now(run(running=runs, running_count=7, max_concurrent=7))[0]
    assert first.text.endswith("shop/j/2 since 2026-03-01T11:55:00Z and 4 more.")


def slot(**fields: Any) -> SlotSituation:
    given = {"now": NOW, "at": AGO, "in_force": True, "schedule": "every 1m", "since": AGO - MINUTE, "is_slot": True}
    return SlotSituation(**(given | fields))


@pytest.mark.parametrize(
    ("known", "cause", "words"),
    [
        (slot(in_force=False), Cause.NOT_THERE_YET, "did not exist yet"),
        (slot(enabled=False), Cause.DISABLED, "At 2026-03-01T11:55:00Z it was disabled, since 2026-03-01T11:54:00Z."),
        (slot(paused=True), Cause.PAUSED, "it was paused, since 2026-03-01T11:54:00Z"),
        (slot(is_slot=False, next_slot=NOW), Cause.NO_SLOT, "`every 1m`; the next one is 2026-03-01T12:00:00Z."),
        (slot(is_slot=False), Cause.NO_SLOT, "it has no later one"),
        (slot(at=NOW + MINUTE), Cause.AHEAD, "lies ahead"),
        (slot(at=NOW + MINUTE, in_blackout=True), Cause.SKIPPED_BLACKOUT, "lies in a blackout: it starts nothing"),
        (slot(waits=True, in_blackout=True), Cause.SKIPPED_BLACKOUT, "lies in a blackout: it starts nothing"),
        (slot(waits=True), Cause.STILL_WAITING, "still waits"),
        (slot(), Cause.NOT_RECORDED, "which must not be"),
        (
            slot(outcome=OccurrenceOutcome.STARTED, run="shop/j/7", decided_at=NOW),
            Cause.STARTED,
            "did start a run: shop/j/7.",
        ),
        (
            slot(outcome=OccurrenceOutcome.SKIPPED_CATCHUP, decided_at=NOW),
            Cause.SKIPPED_CATCHUP,
            "what was missed was skipped at 2026-03-01T12:00:00Z",
        ),
        (
            slot(outcome=OccurrenceOutcome.SKIPPED_CATCHUP, decided_at=NOW, paused=True),
            Cause.SKIPPED_CATCHUP,
            "came while the job was paused, and its catch_up skipped it at 2026-03-01T12:00:00Z",
        ),
        (slot(paused=True, is_slot=True, waits=True), Cause.STILL_WAITING, "still waits"),
        (slot(paused=True, is_slot=True, waits=True, at=NOW + MINUTE), Cause.PAUSED, "it was paused"),
    ],
)
def test_what_became_of_a_slot(known: SlotSituation, cause: Cause, words: str) -> None:
    finding = explain_slot(known)
    assert finding.cause is cause
    assert words in finding.text


@pytest.mark.parametrize("outcome", OccurrenceOutcome)
def test_every_outcome_of_the_ledger_has_its_words(outcome: OccurrenceOutcome) -> None:
    finding = explain_slot(slot(outcome=outcome, reason="by the rule x", run="shop/j/7", decided_at=NOW))
    assert finding.cause.value == outcome.name
    assert finding.text.endswith("(by the rule x)")
    assert "{" not in finding.text
