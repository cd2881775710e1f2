"""What a person reads first when a job is not running, cause by cause."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ostinato.auth.notification_token import TokenFault
from ostinato.scheduling.explaining import (
    Drop,
    JobSituation,
    KnownRun,
    RejectedReports,
    Upstream,
    Waiting,
    explain_now,
)
from ostinato.scheduling.finding import Cause
from ostinato.scheduling.invocation import InvocationStatus

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
        (situation(schedule="0 0 1 1 *"), Cause.SCHEDULE_ENDED, "`0 0 1 1 *` has no slot any more."),
        (situation(schedule="0 0 30 2 *", never_matches=True), Cause.SCHEDULE_ENDED, "*` never matches: there"),
        (situation(schedule="every 1h", is_blacked_out=True), Cause.SCHEDULE_ENDED, "all of them lie in blackouts."),
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


SENT = RejectedReports("shop/j/7", "WRONG_KEY", 12, AGO, NOW)


def test_a_run_under_way_whose_reports_are_rejected_says_so_behind_what_it_does() -> None:
    assert causes(run(rejected=[SENT])) == [Cause.RUNNING, Cause.TOKEN_REJECTED, *causes(run())[1:]]
    waiting = run(rejected=[SENT], waiting=Waiting(3, AGO))
    assert causes(waiting)[:2] == [Cause.AT_CONCURRENCY_LIMIT, Cause.TOKEN_REJECTED]
    assert explain_now(waiting)[1].since == AGO


def test_a_last_run_whose_reports_were_rejected_is_named_behind_its_failure() -> None:
    known = situation(last_status=InvocationStatus.TIMED_OUT, last_completed_at=NOW, rejected_of_last=[SENT])
    assert causes(known)[-2:] == [Cause.TARGET_FAILING, Cause.TOKEN_REJECTED]
    assert explain_now(known)[-1].text.startswith(
        "Reports for run shop/j/7 were rejected: 12 were sent from 2026-03-01T11:55:00Z to 2026-03-01T12:00:00Z with a "
    )


@pytest.mark.parametrize(
    ("fault", "begins", "ends"),
    [
        (
            TokenFault.WRONG_KEY,
            "Reports for run shop/j/7 are rejected: 1 was sent at 2026-03-01T11:55:00Z with a token that no",
            "have the same OSTINATO_NOTIFICATION_KEYS, or the same OSTINATO_SECRET?).",
        ),
        (
            TokenFault.EXPIRED,
            "Reports for run shop/j/7 are rejected: 1 was",
            "do the clocks of engine, ingester and api agree?).",
        ),
        (
            TokenFault.FROM_THE_FUTURE,
            "Reports for run shop/j/7 are rejected: 1 was",
            "do the clocks of engine, ingester and api agree?).",
        ),
        (
            TokenFault.OTHER_RUN,
            "Reports with the token of run shop/j/7 are rejected",
            "for another run (does the work name its own run?).",
        ),
    ],
)
def test_each_fault_of_a_token_has_its_words(fault: TokenFault, begins: str, ends: str) -> None:
    (told,) = [
        finding.text
        for finding in explain_now(run(rejected=[replace(SENT, fault=fault.name, count=1)]))
        if finding.cause is Cause.TOKEN_REJECTED
    ]
    assert told.startswith(begins)
    assert told.endswith(ends)


def test_every_fault_of_a_token_is_explained() -> None:
    rejected = [replace(SENT, fault=fault.name) for fault in TokenFault]
    assert causes(run(rejected=rejected)).count(Cause.TOKEN_REJECTED) == len(TokenFault)


def test_rejections_of_many_runs_for_one_reason_are_one_line_that_names_three() -> None:
    rejected = [replace(SENT, run=f"shop/j/{n}", last_at=NOW - n * MINUTE) for n in range(5)]
    known = run(rejected=[*rejected, replace(SENT, fault="EXPIRED", last_at=NOW + MINUTE)])
    expired, wrong_key = [finding.text for finding in explain_now(known)][1:3]
    assert "that had expired" in expired
    assert wrong_key.startswith(
        "Reports for runs shop/j/0, shop/j/1, shop/j/2 and 2 more are rejected: 60 were sent from"
    )
