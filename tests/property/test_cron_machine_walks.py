"""Random walks of the cron machine: whatever happens in whatever order, no slot fires twice and none vanishes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ostinato.scheduling import cron_machine
from ostinato.scheduling.cron_machine import CronState, CronStep
from ostinato.scheduling.schedule import Schedule, parse_schedule

START = datetime(2026, 3, 1, tzinfo=UTC)
SCHEDULES = st.sampled_from(
    [
        "triggered",
        "* * * * *",
        "*/7 * * * * * *",
        "30 */2 * * *",
        "0 0 1 3 * 2026",
        "0 0 30 2 *",
        "every 90s",
        "every 1h",
        "continuously",
        "with 5m interval",
    ]
).map(parse_schedule)
STEPS = st.one_of(
    st.timedeltas(timedelta(0), timedelta(minutes=3)),
    st.timedeltas(timedelta(0), timedelta(hours=30)),
    st.integers(0, 240).map(lambda minutes: timedelta(minutes=minutes)),
)
MAX_ENUMERATED = 5_000


def slots_between(schedule: Schedule, first: datetime, until: datetime) -> list[datetime]:
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
        self.schedule: Schedule = parse_schedule("every 90s")
        self.state = CronState()
        self.generations: list[int] = []
        self.fired: list[datetime] = []
        # What the absolute schedule in force should account for begins after this instant.
        self.in_force_since = START
        self.accounted: list[datetime] = []

    @initialize(schedule=SCHEDULES)
    def start(self, schedule: Schedule) -> None:
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
        self.look()
        was_enabled = self.state.enabled
        self.apply(cron_machine.disable(self.state, self.now))
        assert self.state == CronState(enabled=False, generation=self.state.generation)
        if was_enabled:
            self.check_accounts()

    @rule(schedule=SCHEDULES)
    def edit(self, schedule: Schedule) -> None:
        """Editing to the schedule in force is no edit; hosts do not report it."""
        if schedule == self.schedule:
            return
        self.look()
        was_enabled = self.state.enabled
        rewound = self.state.last_rewind_at
        waiting = self.state.waits_for_rewind
        self.apply(cron_machine.on_schedule_change(self.state, schedule, self.now))
        assert waiting or self.state.last_rewind_at == rewound
        if was_enabled:
            self.check_accounts()
        self.schedule = schedule
        self.begin_accounting()

    @rule()
    def look(self) -> None:
        """Twice at the same instant: the second look must find nothing to fire."""
        self.apply(cron_machine.on_due(self.state, self.schedule, self.now))
        assert self.state.slot is None or self.state.slot > self.now
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
        if self.state.slot is None or self.state.slot > self.now:
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
            assert self.schedule.next_after(self.now) is None

    def apply(self, step: CronStep) -> None:
        assert step.state.generation >= self.state.generation
        assert step.state == self.state or step.state.generation > self.state.generation
        if step.fired is not None:
            assert self.state.enabled
            assert step.fired.generation not in self.generations
            assert self.state.generation < step.fired.generation <= step.state.generation
            assert step.fired.slot <= self.now
            self.generations.append(step.fired.generation)
            if self.schedule.is_absolute:
                self.accounted.append(step.fired.slot)
                self.fired.append(step.fired.slot)
        if step.skipped is not None and self.schedule.is_absolute:
            skipped = slots_between(self.schedule, step.skipped.from_slot, step.skipped.until_slot)
            assert skipped[:1] == [step.skipped.from_slot]
            self.accounted.extend(skipped[: MAX_ENUMERATED - len(self.accounted)])
        self.state = step.state

    def begin_accounting(self) -> None:
        self.in_force_since, self.accounted = self.now, []

    def check_accounts(self) -> None:
        """Every slot while the schedule was in force is accounted for exactly once, in order."""
        if self.schedule.is_absolute:
            start = self.in_force_since + timedelta(microseconds=1)
            expected = slots_between(self.schedule, start, self.now + timedelta(microseconds=1))
            assert self.accounted[:MAX_ENUMERATED] == expected[: len(self.accounted)]
            assert len(self.accounted) == len(expected) or len(self.accounted) >= MAX_ENUMERATED
        self.accounted = []

    def teardown(self) -> None:
        """In the end all that has come due is fired or skipped."""
        if self.state.enabled:
            self.look()
            self.check_accounts()
        assert len(set(self.fired)) == len(self.fired)


TestCronMachineWalk = CronMachineWalk.TestCase
TestCronMachineWalk.settings = settings(max_examples=100, stateful_step_count=25, deadline=None)
