"""What becomes of a cron row when its job is enabled, disabled, paused, resumed or edited."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ostinato.jobflow.poke_cron import CronWish, decide_poke
from ostinato.jobstore.job_cron_store import JobCronRow
from ostinato.jobstore.job_store import JobId
from ostinato.jobstore.schedule_terms_codec import encode_terms
from ostinato.scheduling.cron_machine import CronState
from ostinato.scheduling.occurrence import OccurrenceOutcome
from ostinato.scheduling.schedule import Blackout, CatchUp, CatchUpPolicy, ScheduleTerms

NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
NEXT = datetime(2026, 3, 1, 13, 0, tzinfo=UTC)


def wish(schedule: str = "every 1h", *, enabled: bool = True, paused: bool = False) -> CronWish:
    return CronWish(JobId(7), 1, "projects/p/jobs/j", schedule, enabled=enabled, paused=paused, revision="r1")


def planned(
    schedule: str = "every 1h", slot: datetime | None = NEXT, rewound: datetime | None = NOW - HOUR
) -> JobCronRow:
    state = CronState(enabled=True, generation=5, last_rewind_at=rewound, slot=slot, due_at=slot)
    return JobCronRow(JobId(7), 1, "projects/p/jobs/j", schedule, state)


DISABLED = JobCronRow(JobId(7), 1, "projects/p/jobs/j", "every 1h", CronState(generation=5))


def test_a_new_job_is_planned_from_now() -> None:
    poke = decide_poke(None, wish(), NOW)
    assert poke is not None
    assert (poke.row.state.slot, poke.row.state.last_rewind_at, poke.firing) == (NEXT, NOW, None)
    assert (poke.row.job_id, poke.row.schedule, poke.row.state.due_at) == (7, "every 1h", NEXT)


def test_a_job_that_comes_back_goes_on_with_its_generations() -> None:
    poke = decide_poke(DISABLED, wish(), NOW)
    assert poke is not None
    assert poke.row.state.enabled
    assert poke.row.state.generation > 5


def test_a_job_that_comes_back_paused_is_enabled_without_a_slot() -> None:
    poke = decide_poke(DISABLED, wish(paused=True), NOW)
    assert poke is not None
    assert (poke.row.schedule, poke.row.state.enabled, poke.row.state.slot) == ("triggered", True, None)


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        (planned(), wish()),
        (planned("triggered", None), wish(paused=True)),
        (planned("triggered", None), wish("triggered", paused=True)),
        (DISABLED, wish(enabled=False)),
        (None, wish(enabled=False)),
    ],
)
def test_what_is_as_wished_is_left_alone(row: JobCronRow | None, wanted: CronWish) -> None:
    assert decide_poke(row, wanted, NOW) is None


def test_disabling_takes_the_plan_away() -> None:
    poke = decide_poke(planned(), wish(enabled=False), NOW)
    assert poke is not None
    assert poke.row.state == CronState(enabled=False, generation=6)


def test_pausing_is_a_change_to_triggered_and_resuming_is_one_back() -> None:
    poke = decide_poke(planned(), wish(paused=True), NOW)
    assert poke is not None
    assert (poke.row.schedule, poke.row.state.slot) == ("triggered", None)
    resumed = decide_poke(poke.row, wish(), NOW + HOUR)
    assert resumed is not None
    assert resumed.row.state.slot == NEXT + HOUR


def test_an_interval_counts_from_the_last_rewind_after_an_edit() -> None:
    poke = decide_poke(planned(), wish("with 2h interval"), NOW)
    assert poke is not None
    assert (poke.row.state.slot, poke.row.state.last_rewind_at) == (NOW + HOUR, NOW - HOUR)


@pytest.mark.parametrize("wanted", [wish(enabled=False), wish(paused=True), wish("every 2h"), wish("triggered")])
def test_a_slot_that_is_due_is_fired_under_the_old_plan_first(wanted: CronWish) -> None:
    overdue = planned(slot=NOW - timedelta(minutes=150))
    poke = decide_poke(overdue, wanted, NOW)
    assert poke is not None
    assert poke.firing is not None
    (emission,) = poke.firing.emissions
    assert emission.slot == NOW - timedelta(minutes=150)
    assert emission.trigger.id == "cron:v1:6"
    (skipped,) = poke.firing.skipped
    assert skipped.slot == NOW.replace(minute=0) - HOUR
    assert poke.row.state.generation > 6
    assert poke.row.state.slot is None or poke.row.state.slot > NOW


def test_a_plan_that_nobody_understands_does_not_hold_up_an_edit() -> None:
    poke = decide_poke(planned("of the future", NOW - HOUR), wish(), NOW)
    assert poke is not None
    assert (poke.firing, poke.row.state.slot) == (None, NEXT)


def with_terms(**terms: Any) -> CronWish:
    return replace(wish(), terms=encode_terms(ScheduleTerms(**terms)))


def test_a_new_offset_moves_the_slot_that_waits_and_swallows_nothing() -> None:
    slot = NOW.replace(minute=0)
    delayed = with_terms(offset=HOUR)
    row = replace(planned(slot=slot), terms=delayed.terms)
    row = replace(row, state=replace(row.state, due_at=slot + HOUR))
    poke = decide_poke(row, with_terms(offset=2 * HOUR), NOW)
    assert poke is not None
    assert (poke.firing, poke.row.state.slot, poke.row.state.due_at) == (None, slot, slot + 2 * HOUR)


def test_a_shorter_offset_lets_all_go_that_waited_and_takes_none_for_missed() -> None:
    slot = NOW.replace(minute=0) - 2 * HOUR
    row = replace(planned(slot=slot), terms=with_terms(offset=5 * HOUR).terms)
    row = replace(row, state=replace(row.state, due_at=slot + 5 * HOUR))
    poke = decide_poke(row, with_terms(offset=HOUR), NOW)
    assert poke is not None
    assert poke.firing is not None
    assert poke.firing.skipped == ()
    # The last one is not due by the new offset either.
    assert [(each.slot, each.not_before) for each in poke.firing.emissions] == [
        (slot, slot),
        (slot + HOUR, slot + HOUR),
        (slot + 2 * HOUR, slot + 3 * HOUR),
    ]
    assert (poke.row.state.slot, poke.row.state.due_at) == (NEXT, NEXT + HOUR)


def waiting_since(slot: datetime, due_at: datetime, **terms: Any) -> JobCronRow:
    row = replace(planned(slot=slot), terms=with_terms(**terms).terms)
    return replace(row, state=replace(row.state, due_at=due_at))


def test_a_shorter_offset_takes_none_for_missed_behind_a_blackout() -> None:
    first = NOW.replace(minute=0) - 4 * HOUR
    blackouts = (Blackout(first, first + 2 * HOUR),)
    row = waiting_since(first, first + 5 * HOUR, offset=3 * HOUR, blackouts=blackouts)
    poke = decide_poke(row, with_terms(blackouts=blackouts), NOW)
    assert poke is not None
    assert poke.firing is not None
    assert [(each.slot, each.outcome) for each in poke.firing.skipped] == [(first, OccurrenceOutcome.SKIPPED_BLACKOUT)]
    assert [each.slot for each in poke.firing.emissions] == [first + n * HOUR for n in (2, 3, 4)]


def test_a_shorter_offset_takes_none_for_missed_behind_a_slot_that_has_just_come_due() -> None:
    slot = NOW.replace(minute=0) - 3 * HOUR
    now = slot + 3 * HOUR + timedelta(milliseconds=500)
    row = waiting_since(slot, slot + 3 * HOUR, offset=3 * HOUR)
    poke = decide_poke(row, with_terms(), now)
    assert poke is not None
    assert poke.firing is not None
    assert poke.firing.skipped == ()
    assert [each.slot for each in poke.firing.emissions] == [slot + n * HOUR for n in range(4)]


def test_a_longer_offset_does_not_put_off_what_is_due() -> None:
    slot = NOW.replace(minute=0)
    poke = decide_poke(planned(slot=slot), with_terms(offset=2 * HOUR), NOW)
    assert poke is not None
    assert poke.firing is not None
    assert [(each.slot, each.not_before) for each in poke.firing.emissions] == [(slot, None)]


def test_a_catch_up_that_is_changed_after_an_outage_says_what_becomes_of_it() -> None:
    slot = NOW.replace(minute=0) - 3 * HOUR
    poke = decide_poke(planned(slot=slot), with_terms(catch_up=CatchUp(CatchUpPolicy.ALL)), NOW)
    assert poke is not None
    assert (poke.firing, poke.row.state.slot, poke.row.state.due_at) == (None, slot, slot)


def test_an_edit_of_a_held_job_that_makes_up_for_the_newest_only_drops_what_waits() -> None:
    latest = CatchUp(CatchUpPolicy.LATEST)
    slot = NOW.replace(minute=0) - 3 * HOUR
    row = waiting_since(slot, slot + HOUR, offset=HOUR, catch_up=latest)
    row = replace(row, state=replace(row.state, due_at=None))
    poke = decide_poke(row, replace(with_terms(offset=HOUR, catch_up=latest), schedule="every 2h", paused=True), NOW)
    assert poke is not None
    assert poke.firing is not None
    assert [(each.slot, each.not_before) for each in poke.firing.emissions] == [(slot + 2 * HOUR, None)]
    assert [(each.slot, each.outcome) for each in poke.firing.skipped] == [
        (slot, OccurrenceOutcome.SKIPPED_CATCHUP),
        (slot + 3 * HOUR, OccurrenceOutcome.PAUSED),
    ]
    assert poke.row.state.is_held


def waiting_for_its_offset() -> JobCronRow:
    slot = NOW.replace(minute=0)
    row = replace(planned(slot=slot), terms=with_terms(offset=HOUR).terms)
    return replace(row, state=replace(row.state, due_at=slot + HOUR))


def test_a_slot_that_waits_for_its_offset_outlives_the_schedule_it_is_of() -> None:
    row = waiting_for_its_offset()
    poke = decide_poke(row, wish("every 2h"), NOW)
    assert poke is not None
    assert poke.firing is not None
    (emission,) = poke.firing.emissions
    assert (emission.slot, emission.not_before) == (row.state.slot, row.state.due_at)
    assert poke.row.state.slot == NEXT + HOUR


@pytest.mark.parametrize(
    ("wanted", "outcome"),
    [(wish(paused=True), OccurrenceOutcome.PAUSED), (wish(enabled=False), OccurrenceOutcome.DISABLED)],
)
def test_a_slot_that_waits_for_its_offset_is_dropped_by_name(wanted: CronWish, outcome: OccurrenceOutcome) -> None:
    row = waiting_for_its_offset()
    poke = decide_poke(row, wanted, NOW)
    assert poke is not None
    assert poke.firing is not None
    assert poke.firing.emissions == ()
    assert [(each.slot, each.outcome) for each in poke.firing.skipped] == [(row.state.slot, outcome)]


@pytest.mark.parametrize(
    "terms",
    [
        {"blackouts": (Blackout(NOW + HOUR, NOW + 5 * HOUR),)},
        {"blackouts": (Blackout(NOW - 5 * HOUR, NOW - HOUR),)},
        {"end_before": NOW + HOUR},
        {"start_after": NOW - 2 * HOUR},
    ],
)
def test_a_slot_that_waits_stays_where_it_is_if_an_edit_only_touches_others(terms: dict[str, Any]) -> None:
    row = waiting_for_its_offset()
    poke = decide_poke(row, with_terms(offset=2 * HOUR, **terms), NOW)
    assert poke is not None
    slot = row.state.slot
    assert slot is not None
    assert (poke.firing, poke.row.state.slot, poke.row.state.due_at) == (None, slot, slot + 2 * HOUR)


@pytest.mark.parametrize(
    "terms",
    [
        {"blackouts": (Blackout(NOW - HOUR, NOW + HOUR),)},
        {"end_before": NOW - HOUR},
        {"start_after": NOW - timedelta(minutes=30)},
    ],
)
def test_a_slot_that_waits_is_not_undone_by_an_edit_that_comes_after_it(terms: dict[str, Any]) -> None:
    row = waiting_for_its_offset()
    poke = decide_poke(row, with_terms(offset=HOUR, **terms), NOW)
    assert poke is not None
    assert poke.firing is not None
    assert [(each.slot, each.not_before) for each in poke.firing.emissions] == [(row.state.slot, row.state.due_at)]


def test_a_job_gets_its_terms_and_loses_them_while_it_is_paused() -> None:
    wanted = with_terms(time_zone="Europe/Rome")
    poke = decide_poke(planned(), wanted, NOW)
    assert poke is not None
    assert poke.row.terms == wanted.terms
    assert decide_poke(poke.row, wanted, NOW) is None
    paused = decide_poke(poke.row, replace(wanted, paused=True), NOW)
    assert paused is not None
    assert (paused.row.schedule, paused.row.terms) == ("triggered", b"")


def test_an_at_that_is_long_past_when_its_job_is_created_is_in_the_ledger() -> None:
    poke = decide_poke(None, wish("at 2026-02-01T00:00:00Z"), NOW)
    assert poke is not None
    assert poke.firing is not None
    (skipped,) = poke.firing.skipped
    assert (skipped.slot, skipped.outcome.name) == (datetime(2026, 2, 1, tzinfo=UTC), "SKIPPED_CATCHUP")
    assert (poke.row.state.enabled, poke.row.state.slot, poke.firing.emissions) == (True, None, ())


MAKES_UP = with_terms(catch_up=CatchUp(CatchUpPolicy.ALL))
PAUSED = replace(MAKES_UP, paused=True)


def held(slot: datetime | None = NEXT) -> JobCronRow:
    state = CronState(enabled=True, generation=5, last_rewind_at=NOW - HOUR, slot=slot, due_at=None)
    return replace(planned(), state=state, terms=MAKES_UP.terms)


def test_pausing_a_job_that_makes_up_for_slots_holds_its_slot_and_resuming_makes_up_for_all() -> None:
    poke = decide_poke(replace(planned(), terms=MAKES_UP.terms), PAUSED, NOW)
    assert poke is not None
    assert (poke.row.schedule, poke.row.terms) == ("every 1h", MAKES_UP.terms)
    assert (poke.row.state.slot, poke.row.state.due_at, poke.firing) == (NEXT, None, None)
    assert decide_poke(poke.row, PAUSED, NOW + 2 * HOUR) is None
    resumed = decide_poke(poke.row, MAKES_UP, NOW + 2 * HOUR)
    assert resumed is not None
    assert resumed.firing is not None
    assert [emission.slot for emission in resumed.firing.emissions] == [NEXT, NEXT + HOUR]
    assert [emission.not_before for emission in resumed.firing.emissions] == [NEXT, NEXT + HOUR]
    assert resumed.row.state.due_at == NEXT + 2 * HOUR


def test_a_slot_that_is_due_when_such_a_job_is_paused_waits_for_the_resume() -> None:
    row = replace(planned(slot=NOW - HOUR / 2), terms=MAKES_UP.terms)
    poke = decide_poke(row, PAUSED, NOW)
    assert poke is not None
    assert (poke.firing, poke.row.state.slot, poke.row.state.due_at) == (None, NOW - HOUR / 2, None)


def test_an_edit_of_a_held_job_settles_its_old_schedule_and_holds_the_new_one() -> None:
    poke = decide_poke(held(), replace(PAUSED, schedule="every 20m"), NOW + 2 * HOUR)
    assert poke is not None
    assert poke.firing is not None
    assert [emission.slot for emission in poke.firing.emissions] == [NEXT, NEXT + HOUR]
    assert (poke.row.state.slot, poke.row.state.due_at) == (NOW + 2 * HOUR + HOUR / 6, None)


def test_an_edit_that_makes_up_for_nothing_any_more_leaves_the_paused_job_without_a_slot() -> None:
    poke = decide_poke(held(), wish(paused=True), NOW + 2 * HOUR)
    assert poke is not None
    assert poke.firing is not None
    assert (poke.row.schedule, poke.row.terms, poke.row.state.slot) == ("triggered", b"", None)


def test_an_edit_of_a_paused_job_that_makes_up_from_now_on_holds_its_next_slot() -> None:
    poke = decide_poke(planned("triggered", None), PAUSED, NOW)
    assert poke is not None
    assert (poke.row.schedule, poke.row.state.slot, poke.row.state.due_at) == ("every 1h", NEXT, None)


def test_such_a_job_that_comes_back_paused_is_held() -> None:
    poke = decide_poke(DISABLED, PAUSED, NOW)
    assert poke is not None
    assert (poke.row.state.enabled, poke.row.state.slot, poke.row.state.due_at) == (True, NEXT, None)


def test_disabling_a_held_job_fires_what_it_would_have_made_up_for() -> None:
    poke = decide_poke(held(), replace(PAUSED, enabled=False), NOW + 2 * HOUR)
    assert poke is not None
    assert poke.firing is not None
    assert len(poke.firing.emissions) == 2
    assert (poke.row.state.enabled, poke.row.state.slot) == (False, None)


@pytest.mark.parametrize("wanted", [PAUSED, MAKES_UP])
def test_a_schedule_without_later_slots_is_as_wished_whether_paused_or_not(wanted: CronWish) -> None:
    assert decide_poke(held(None), wanted, NOW) is None


def test_a_job_whose_schedule_nobody_understands_can_be_paused() -> None:
    unreadable = replace(PAUSED, schedule="of the future")
    poke = decide_poke(planned("of the future"), unreadable, NOW)
    assert poke is not None
    assert (poke.row.schedule, poke.row.state.slot) == ("triggered", None)


def test_a_slot_at_the_instant_of_a_resume_is_due() -> None:
    poke = decide_poke(planned("triggered", None), wish(), NEXT)
    assert poke is not None
    assert (poke.row.state.slot, poke.row.state.due_at) == (NEXT, NEXT)
