"""A cron machine, a triage and what they record, in memory: the slots of a job as the services keep them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ostinato.scheduling import cron_machine
from ostinato.scheduling.cron_machine import CronState, CronStep
from ostinato.scheduling.occurrence import OccurrenceOutcome
from ostinato.scheduling.schedule import Timetable
from ostinato.scheduling.slot_history import InForce, Recorded, SlotHistory

TRIGGERED = Timetable.make("triggered")


@dataclass(slots=True)
class SlotKeeper:
    now: datetime
    wanted: Timetable
    paused: bool = False
    state: CronState = field(default_factory=CronState)
    spans: list[InForce] = field(default_factory=list)
    rows: list[Recorded] = field(default_factory=list)
    pending: list[datetime] = field(default_factory=list)
    runs: int = 0

    def __post_init__(self) -> None:
        self.enable()

    @property
    def timetable(self) -> Timetable:
        return TRIGGERED if self.paused else self.wanted

    @property
    def history(self) -> SlotHistory:
        rows = sorted(self.rows, key=lambda row: row.slot)
        planned = self.state.slot if self.timetable.is_absolute else None
        return SlotHistory(self.spans, rows, sorted(self.pending), planned)

    def pass_time(self, step: timedelta) -> None:
        self.now += step

    def look(self) -> None:
        while self.state.due_at is not None and self.state.due_at <= self.now:
            self._apply(cron_machine.on_due(self.state, self.timetable, self.now))

    def end_runs(self) -> None:
        self._apply(cron_machine.rewind_if_necessary(self.state, self.timetable, self.now))

    def edit(self, timetable: Timetable) -> None:
        self._change(timetable, paused=self.paused)

    def pause(self) -> None:
        self._change(self.wanted, paused=True)
        self._decide(OccurrenceOutcome.PAUSED)

    def resume(self) -> None:
        self._change(self.wanted, paused=False)

    def disable(self) -> None:
        if self.state.enabled:
            self._apply(cron_machine.settle(self.state, self.timetable, self.now, waiting=OccurrenceOutcome.DISABLED))
            self._apply(cron_machine.disable(self.state, self.now))
            self._begin_span()
            self._decide(OccurrenceOutcome.DISABLED)

    def enable(self) -> None:
        if not self.state.enabled:
            self._begin_span(enabled=True)
            self._apply(cron_machine.enable(self.state, self.timetable, self.now))

    def triage(self) -> None:
        """All that waits becomes one run."""
        if self.pending and self.state.enabled and not self.paused:
            self.runs += 1
            newest = max(self.pending)
            self._decide(OccurrenceOutcome.BATCHED, but=newest)
            self._decide(OccurrenceOutcome.STARTED)

    def _change(self, timetable: Timetable, *, paused: bool) -> None:
        before, (self.wanted, self.paused), old = self.timetable, (timetable, paused), self.timetable
        if not self.state.enabled or before == self.timetable:
            return
        if cron_machine.keeps_slots(self.state, old, self.timetable, self.now):
            self._apply(cron_machine.on_delay_change(self.state, self.timetable), old)
        else:
            self._apply(self._settle(old, paused=paused), old)
            change = cron_machine.on_schedule_change(
                self.state, self.timetable, self.now, was_triggered=old.text == TRIGGERED.text
            )
            self._apply(change, old)
        self._begin_span(enabled=True)

    def _settle(self, old: Timetable, *, paused: bool) -> CronStep:
        if paused:
            return cron_machine.settle(self.state, old, self.now, waiting=OccurrenceOutcome.PAUSED)
        return cron_machine.settle_edit(self.state, old, self.timetable, self.now)

    def _begin_span(self, *, enabled: bool = False) -> None:
        """Of two edits at one instant the later one stands."""
        if self.spans and self.spans[-1].from_at == self.now:
            self.spans.pop()
        self.spans.append(InForce(self.now, self.timetable.text, self.timetable, self.paused, enabled))

    def _apply(self, step: CronStep, timetable: Timetable | None = None) -> None:
        timetable = timetable or self.timetable
        self.state = step.state
        if timetable.is_absolute:
            self.pending += [fired.slot for fired in step.fired]
        if timetable.is_absolute:
            self.rows += [Recorded(each.from_slot, each.outcome, self.now, each.until_slot) for each in step.skipped]

    def _decide(self, outcome: OccurrenceOutcome, *, but: datetime | None = None) -> None:
        run = f"p/j/{self.runs}" if outcome in (OccurrenceOutcome.STARTED, OccurrenceOutcome.BATCHED) else ""
        self.rows += [Recorded(slot, outcome, self.now, None, run) for slot in self.pending if slot != but]
        self.pending = [slot for slot in self.pending if slot == but]
