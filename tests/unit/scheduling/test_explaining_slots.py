"""What a person reads about one instant in a job's life."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ostinato.scheduling.explaining_slots import SlotSituation, explain_slot
from ostinato.scheduling.finding import Cause
from ostinato.scheduling.occurrence import OccurrenceOutcome

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
AGO = NOW - 5 * MINUTE


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
            "it was skipped at 2026-03-01T12:00:00Z",
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
