"""Random walks of the cron machine: whatever happens in whatever order, no slot fires twice and none vanishes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ostinato.scheduling import cron_machine
from ostinato.scheduling.cron_machine import CronState, CronStep, SkippedRange
from ostinato.scheduling.occurrence import OccurrenceOutcome
from ostinato.scheduling.schedule import (
    UTC_ZONE,
    Blackout,
    CatchUp,
    CatchUpPolicy,
    FoldPolicy,
    GapPolicy,
    ScheduleTerms,
    Timetable,
    Zone,
)

START = datetime(2026, 3, 1, tzinfo=UTC)
EXPRESSIONS = st.sampled_from(
    [
        "triggered",
        "* * * * *",
        "*/7 * * * * * *",
        "30 */2 * * *",
        "0 0 1 3 * 2026",
        "0 0 30 2 *",
        "every 90s",
        "every 1h",
        "at 2026-03-01T05:00:00Z",
        "continuously",
        "with 5m interval",
    ]
)
OFFSETS = st.sampled_from([timedelta(0), timedelta(seconds=50), timedelta(hours=3)])
JITTERS = st.sampled_from([timedelta(0), timedelta(0), timedelta(seconds=50), timedelta(minutes=7)])
# The clock is put forward by half an hour and back again.
EPOCH_SECONDS = int(START.timestamp())
ZONE = Zone.make("Test/Zone", 0, [(EPOCH_SECONDS + 2 * 3600, 1800), (EPOCH_SECONDS + 9 * 3600, 0)])


@st.composite
def timetables(draw: st.DrawFn) -> Timetable:
    text = draw(EXPRESSIONS)
    if text in ("triggered", "continuously") or text.startswith("with"):
        return Timetable.make(text)
    blackouts = []
    for _ in range(draw(st.integers(0, 3))):
        start = START + timedelta(minutes=10) * draw(st.integers(0, 200))
        blackouts.append(Blackout(start, start + timedelta(minutes=10) * draw(st.integers(1, 60))))
    terms = ScheduleTerms(
        gap_policy=draw(st.sampled_from(GapPolicy)),
        fold_policy=draw(st.sampled_from(FoldPolicy)),
        offset=draw(OFFSETS),
        jitter=draw(JITTERS),
        start_after=draw(st.sampled_from([None, None, START + timedelta(hours=1)])),
        end_before=draw(st.sampled_from([None, None, START + timedelta(hours=40)])),
        blackouts=tuple(blackouts),
        catch_up=CatchUp(
            policy=draw(st.sampled_from(CatchUpPolicy)),
            window=draw(st.sampled_from([timedelta(minutes=2), timedelta(hours=24)])),
            limit=draw(st.sampled_from([1, 2, 100])),
        ),
    )
    return Timetable.make(text, terms, zone=draw(st.sampled_from([UTC_ZONE, ZONE])), job_name="projects/p/jobs/j")


SCHEDULES = timetables()
STEPS = st.one_of(
    st.timedeltas(timedelta(0), timedelta(minutes=3)),
    st.timedeltas(timedelta(0), timedelta(hours=30)),
    st.integers(0, 240).map(lambda minutes: timedelta(minutes=minutes)),
)
MAX_ENUMERATED = 5_000


def slots_between(schedule: Timetable, first: datetime, until: datetime) -> list[datetime]:
    """Slots in [first, until) of an absolute schedule."""
    found: list[datetime] = []
    at = schedule.next_after(first - timedelta(microseconds=1))
    while at is not None and at < until and len(found) < MAX_ENUMERATED:
        found.append(at)
        at = schedule.next_after(at)
    return found


class CronMachineWalk(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.schedule: Timetable = Timetable.make("every 90s")
        self.state = CronState()
        self.generations: list[int] = []
        self.fired: list[datetime] = []
        # What the absolute schedule in force should account for begins after this instant.
        self.in_force_since = START
        self.accounted: list[datetime] = []

    @initialize(schedule=SCHEDULES)
    def start(self, schedule: Timetable) -> None:
        self.schedule = schedule
        self.enable()

    @rule(step=STEPS)
    def time_passes(self, step: timedelta) -> None:
        self.now += step

    @rule()
    def enable(self) -> None:
        was_enabled = self.state.enabled
        self.apply(cron_machine.enable(self.state, self.schedule, self.now))
        assert self.state.enabled
        if not was_enabled:
            self.begin_accounting()

    @rule()
    def disable(self) -> None:
        self.settle(waiting=OccurrenceOutcome.DISABLED)
        was_enabled = self.state.enabled
        self.apply(cron_machine.disable(self.state, self.now))
        assert self.state == CronState(enabled=False, generation=self.state.generation)
        if was_enabled:
            self.check_accounts()

    @rule()
    def pause(self) -> None:
        """Jobs that make up for nothing become `triggered`, which is an edit."""
        if self.schedule.terms.catch_up.policy is not CatchUpPolicy.SKIP:
            self.apply(CronStep(cron_machine.hold(self.state)))
            assert cron_machine.on_due(self.state, self.schedule, self.now) == CronStep(self.state)
            assert self.state.is_held == (self.state.slot is not None)

    @rule()
    def resume(self) -> None:
        self.apply(cron_machine.resume(self.state, self.schedule, self.now))
        assert not self.state.is_held
        assert cron_machine.resume(self.state, self.schedule, self.now) == CronStep(self.state)

    @rule(offset=OFFSETS, jitter=JITTERS)
    def edit_delays_only(self, offset: timedelta, jitter: timedelta) -> None:
        self.edit_terms(offset=offset, jitter=jitter)

    @rule(start=st.integers(-300, 300), minutes=st.integers(1, 600), offset=OFFSETS)
    def edit_blackouts_and_offset(self, start: int, minutes: int, offset: timedelta) -> None:
        begin = self.now.replace(second=0, microsecond=0) + timedelta(minutes=start)
        self.edit_terms(blackouts=(Blackout(begin, begin + timedelta(minutes=minutes)),), offset=offset)

    def edit_terms(self, **terms: Any) -> None:
        if self.schedule.is_absolute and self.schedule.text != "triggered":
            changed = replace(self.schedule.terms, **terms)
            zone = getattr(self.schedule.schedule, "zone", UTC_ZONE)
            self.edit(Timetable.make(self.schedule.text, changed, zone=zone, job_name="projects/p/jobs/j"))

    @rule(schedule=SCHEDULES)
    def edit(self, schedule: Timetable) -> None:
        """Editing to the schedule in force is no edit; hosts do not report it."""
        if schedule == self.schedule:
            return
        rewound = self.state.last_rewind_at
        if cron_machine.keeps_slots(self.state, self.schedule, schedule, self.now):
            self.check_accounts_of_a_kept_slot()
            self.apply(cron_machine.on_delay_change(self.state, schedule))
            assert self.state.last_rewind_at == rewound
            self.check_that_none_looks_missed(schedule)
            self.schedule = schedule
            return
        self.settle(schedule)
        was_enabled = self.state.enabled
        rewound = self.state.last_rewind_at
        waiting = self.state.waits_for_rewind
        self.apply(cron_machine.on_schedule_change(self.state, schedule, self.now))
        assert waiting or self.state.last_rewind_at == rewound
        if was_enabled:
            self.check_accounts()
        self.schedule = schedule
        self.begin_accounting()

    def check_that_none_looks_missed(self, schedule: Timetable) -> None:
        """Slots that did nothing but wait for a longer delay than that of `schedule`."""
        step = cron_machine.on_due(self.state, schedule, self.now)
        waited = self.now - self.schedule.delay.longest
        missed = [skipped for skipped in step.skipped if skipped.outcome is OccurrenceOutcome.SKIPPED_CATCHUP]
        assert all(skipped.from_slot <= waited for skipped in missed)

    def settle(self, new: Timetable | None = None, *, waiting: OccurrenceOutcome | None = None) -> None:
        """What was missed goes as it would without an edit; what still waits for its delay keeps its time."""
        before, old = self.state, self.schedule
        drops = waiting is not None or (before.is_held and old.terms.catch_up.policy is CatchUpPolicy.LATEST)
        if new is None:
            step = cron_machine.settle(before, old, self.now, waiting=waiting)
            drops = waiting is not None
        else:
            step = cron_machine.settle_edit(before, old, new, self.now)
        self.check_catch_up(self.missed_part(step))
        left_waiting = [fired for fired in step.fired if self.still_waits(fired.slot)]
        assert all(fired.own_run for fired in left_waiting)
        assert not (left_waiting and drops)
        for fired in left_waiting:
            due_times = {table.delay.due_time(fired.slot) for table in (old, new) if table is not None}
            was_due = old.delay.due_time(fired.slot) <= self.now
            assert fired.due_at == old.delay.due_time(fired.slot) if was_due else fired.due_at in due_times
        self.apply(step, settles=True)
        assert cron_machine.settle(self.state, old, self.now) == CronStep(self.state)

    def still_waits(self, slot: datetime) -> bool:
        return self.schedule.is_absolute and slot > self.now - self.schedule.delay.longest

    def missed_part(self, step: CronStep) -> CronStep:
        return CronStep(
            step.state,
            tuple(fired for fired in step.fired if not self.still_waits(fired.slot)),
            tuple(skipped for skipped in step.skipped if not self.still_waits(skipped.from_slot)),
        )

    @rule()
    def look(self) -> None:
        """Until nothing is due: with jitter a slot may have waited for the one before it."""
        while self.state.due_at is not None and self.state.due_at <= self.now:
            step = cron_machine.on_due(self.state, self.schedule, self.now)
            assert all(fired.due_at <= self.now for fired in step.fired)
            self.apply(step)
        assert cron_machine.on_due(self.state, self.schedule, self.now) == CronStep(self.state)

    @rule()
    def runs_are_over(self) -> None:
        self.apply(cron_machine.rewind_if_necessary(self.state, self.schedule, self.now))
        assert not self.state.waits_for_rewind
        again = cron_machine.rewind_if_necessary(self.state, self.schedule, self.now)
        assert again == CronStep(self.state)

    @rule()
    def the_same_schedule_again(self) -> None:
        """Idempotent as long as nothing is overdue."""
        if self.state.slot is None or (self.state.slot > self.now and not self.state.is_held):
            assert cron_machine.on_schedule_change(self.state, self.schedule, self.now) == CronStep(self.state)

    @invariant()
    def a_disabled_machine_plans_nothing(self) -> None:
        assert self.state.enabled or self.state.slot is None

    @invariant()
    def only_a_relative_schedule_waits_for_a_rewind(self) -> None:
        assert not (self.state.waits_for_rewind and self.schedule.is_absolute)
        assert not (self.state.waits_for_rewind and self.state.slot is not None)

    @invariant()
    def an_enabled_absolute_machine_plans_its_next_slot(self) -> None:
        if self.state.enabled and self.schedule.is_absolute and self.state.slot is None:
            assert self.schedule.plan_after(self.now) is None

    def apply(self, step: CronStep, *, settles: bool = False) -> None:
        assert step.state.generation >= self.state.generation
        assert step.state == self.state or step.state.generation > self.state.generation
        for fired in step.fired:
            assert self.state.enabled
            assert fired.generation not in self.generations
            assert self.state.generation < fired.generation <= step.state.generation
            assert fired.slot <= self.now
            self.generations.append(fired.generation)
            if self.schedule.is_absolute:
                self.accounted.append(fired.slot)
                self.fired.append(fired.slot)
                assert self.schedule.periods.end_of(fired.slot) is None
        if not settles:
            self.check_catch_up(step)
        for skipped in step.skipped:
            self.account(skipped)
        self.state = step.state

    def check_catch_up(self, step: CronStep) -> None:
        """What fires is the newest that may, in its order; only ALL makes up for what was missed."""
        catch_up = self.schedule.terms.catch_up
        slots = [fired.slot for fired in step.fired]
        assert slots == sorted(set(slots))
        assert len(slots) <= (catch_up.limit if catch_up.policy is CatchUpPolicy.ALL else 1)
        missed = [skipped for skipped in step.skipped if skipped.outcome is OccurrenceOutcome.SKIPPED_CATCHUP]
        makes_up = catch_up.policy is CatchUpPolicy.ALL and (len(slots) > 1 or bool(missed))
        assert [fired.own_run for fired in step.fired] == [makes_up] * len(slots)
        if catch_up.policy is not CatchUpPolicy.SKIP and slots:
            assert slots[0] >= self.now - self.schedule.delay.longest - catch_up.window
            assert all(skipped.until_slot == slots[0] for skipped in missed)

    def account(self, skipped: SkippedRange) -> None:
        if skipped.outcome is OccurrenceOutcome.SKIPPED_DST_GAP:
            assert skipped.from_slot == START + timedelta(hours=2)
            return
        until = skipped.from_slot + timedelta(seconds=1) if skipped.until_slot is None else skipped.until_slot
        slots = slots_between(self.schedule, skipped.from_slot, until)
        assert slots[:1] == [skipped.from_slot]
        if skipped.outcome is OccurrenceOutcome.SKIPPED_BLACKOUT:
            assert all(self.schedule.periods.end_of(slot) for slot in slots)
        self.accounted.extend(slots)

    def check_accounts_of_a_kept_slot(self) -> None:
        """All before it has been accounted for; from there on the new schedule has the same slots."""
        first = self.state.slot
        if first is None:
            return
        start = self.in_force_since + timedelta(microseconds=1)
        expected = slots_between(self.schedule, start, min(first, self.now + timedelta(microseconds=1)))
        assert sorted(self.accounted)[:MAX_ENUMERATED] == expected[:MAX_ENUMERATED]
        if first <= self.now:
            self.in_force_since, self.accounted = first - timedelta(microseconds=1), []

    def begin_accounting(self) -> None:
        self.in_force_since, self.accounted = self.now, []

    def check_accounts(self) -> None:
        """Every slot while the schedule was in force is accounted for exactly once, in order."""
        if self.schedule.is_absolute:
            start = self.in_force_since + timedelta(microseconds=1)
            expected = slots_between(self.schedule, start, self.now + timedelta(microseconds=1))
            assert sorted(self.accounted)[:MAX_ENUMERATED] == expected[:MAX_ENUMERATED]
        self.accounted = []

    def teardown(self) -> None:
        """In the end all that has come due is fired or skipped."""
        if self.state.enabled:
            self.look()
            self.settle()
            self.check_accounts()
        assert len(set(self.fired)) == len(self.fired)


TestCronMachineWalk = CronMachineWalk.TestCase
TestCronMachineWalk.settings = settings(max_examples=100, stateful_step_count=25, deadline=None)
