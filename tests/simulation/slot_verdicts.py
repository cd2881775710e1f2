"""What must be true of every slot of a walk, by what people did and an oracle of their stanzas.

Each slot that a schedule had while it was in force has one outcome and one only, which is there for a reason; nothing
else has any. Nothing starts before it is due.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from ostinato.scheduling.occurrence import OccurrenceOutcome
from tests.simulation.promises import (
    Connection,
    History,
    Row,
    find_left_over,
    load_job_names,
    load_ledger,
    load_spans,
    of_slots,
)
from tests.simulation.slot_oracle import SlotOracle, Stanza, in_blackout, longest_delay, makes_up, offset_of
from tests.simulation.slot_wanderer import Answer, Done, SlotStory

# Whoever comes back has made up for everything after that: its leases, polls and backoffs.
_SOON_AFTER = timedelta(minutes=2)
_ALL_DAY = timedelta(days=1)
_OF_SLOTS = (
    "schedule", "time_zone", "gap_policy", "fold_policy", "offset", "jitter", "start_after", "end_before", "blackouts",
    "catch_up",
)  # fmt: skip
_RUNS = """
select h.job_id, h.invocation_id, h.started_at, h.scheduled_for, h.retry_of, n.incoming
  from invocation_history h join invocation_input n using (invocation_id)
"""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`slots`: how many had an outcome, each counted."""

    slots: int
    problems: list[str]


async def judge_slots(connection: Connection, story: SlotStory) -> Verdict:
    """At rest."""
    spans, ledger = await load_spans(connection), await load_ledger(connection)
    runs = await connection.fetch(_RUNS)
    names = await load_job_names(connection)
    known = History(story.end, names, runs, spans, ledger, frozenset(), {}, {})
    starts = {row["invocation_id"]: row["started_at"] for row in runs}
    problems = [*await find_left_over(connection), *of_slots(known)]
    oracle = SlotOracle(story.begin, story.end)
    slots = 0
    for job_id, name in names.items():
        done = [each for each in story.done if each.job == name]
        times = list(_times(name, done, spans.get(job_id, ()), story.end, problems))
        job = _Job(name, times, done, ledger.get(job_id, ()), starts, story, oracle)
        problems += job.problems()
        slots += len(job.expected)
    return Verdict(slots, problems)


@dataclass(frozen=True, slots=True)
class _Time:
    """A job from `begin` to `end`: by which stanza, None if it was disabled, and whether it was paused."""

    begin: datetime
    end: datetime
    stanza: Stanza | None
    paused: bool

    @property
    def has_slots(self) -> bool:
        return self.stanza is not None and (not self.paused or makes_up(self.stanza))


def _times(
    name: str, done: Sequence[Done], spans: Sequence[Row], until: datetime, problems: list[str]
) -> Iterator[_Time]:
    """What was done took effect when the database says; that it did at all, and nothing else, is checked."""
    before: object = None
    taken: list[tuple[datetime, Done]] = []
    for each in done:
        assert each.ended is not None
        found = [span["from_at"] for span in spans if each.began < span["from_at"] <= each.ended]
        wanted = _effect(each)
        # Where nothing comes any more, a pause changes nothing.
        if len(found) > 1 or (not found and _but_for_pauses(wanted) != _but_for_pauses(before)):
            problems.append(f"{name}: what was done at {each.began} took effect {len(found)} times")
        taken += [(at, each) for at in found]
        before = wanted
    if len(taken) != len(spans):
        problems.append(f"{name}: its schedule changed {len(spans)} times, of which people did {len(taken)}")
    for (at, each), end in zip(taken, [*(at for at, _ in taken[1:]), until], strict=True):
        yield _Time(at, end, each.stanza, each.paused)


def _effect(done: Done) -> object:
    """What its slots depend on: equal if nothing changes for them."""
    if done.stanza is None:
        return None
    if done.stanza["schedule"] == "triggered" or (done.paused and not makes_up(done.stanza)):
        return "triggered"
    return (done.paused, *(done.stanza.get(key) for key in _OF_SLOTS))


def _but_for_pauses(effect: object) -> object:
    return effect[1:] if isinstance(effect, tuple) else effect


class _Job:
    """All that is known of one, and what is wrong with it."""

    def __init__(
        self,
        name: str,
        times: Sequence[_Time],
        done: Sequence[Done],
        rows: Sequence[Row],
        starts: Mapping[int, datetime],
        story: SlotStory,
        oracle: SlotOracle,
    ) -> None:
        self._name = name
        self._times = times
        self._done = done
        self._starts = starts
        self._story = story
        self._oracle = oracle
        self._gaps = [row for row in rows if row["outcome"] == OccurrenceOutcome.SKIPPED_DST_GAP]
        others = [row for row in rows if row["outcome"] != OccurrenceOutcome.SKIPPED_DST_GAP]
        self._singles = {row["slot"]: row for row in others if row["until_slot"] is None}
        self._ranges = [row for row in others if row["until_slot"] is not None]

    @cached_property
    def expected(self) -> dict[datetime, _Time]:
        """Every slot that should have an outcome."""
        found: dict[datetime, _Time] = {}
        for number, time in enumerate(self._times):
            if time.has_slots and time.stanza is not None:
                # Who creates a job that runs once, a little late, wants that run.
                late = number == 0 and time.stanza["schedule"].startswith("at ")
                after = time.begin - 30 * _ALL_DAY if late else time.begin
                found |= dict.fromkeys(self._oracle.slots(time.stanza, after, time.end), time)
        return found

    def problems(self) -> Iterator[str]:
        for slot, time in self.expected.items():
            rows = self._rows_of(slot)
            if len(rows) != 1:
                yield f"{self._name}: the slot of {slot} has {len(rows)} outcomes: {rows}"
            else:
                yield from self._wrong_with(rows[0], slot, time)
        for row in (*self._singles.values(), *self._ranges):
            if not self._is_of_a_slot(row):
                yield f"{self._name}: no slot is where this is recorded: {row}"
        yield from self._wrong_gaps()
        for answer in self._story.answers:
            if answer.job == self._name and (told := self._wrong_answer(answer)):
                yield told

    def _rows_of(self, slot: datetime) -> list[Row]:
        single = self._singles.get(slot)
        return [
            *([] if single is None else [single]),
            *(row for row in self._ranges if row["slot"] <= slot < row["until_slot"]),
        ]

    def _is_of_a_slot(self, row: Row) -> bool:
        if row["until_slot"] is None:
            return row["slot"] in self.expected
        slots = sorted(self.expected)
        return bisect_left(slots, row["slot"]) < bisect_left(slots, row["until_slot"])

    def _wrong_with(self, row: Row, slot: datetime, time: _Time) -> Iterator[str]:
        outcome = OccurrenceOutcome(row["outcome"])
        assert time.stanza is not None
        since = [each for each in self._done if _ended(each) >= slot and each.began <= row["decided_at"]]
        stanzas = [time.stanza, *(each.stanza for each in since if each.stanza is not None)]
        blacked_out = in_blackout(time.stanza, slot)
        started = outcome in (OccurrenceOutcome.STARTED, OccurrenceOutcome.BATCHED)
        if started and self._starts[row["invocation_id"]] < slot + min(map(offset_of, stanzas)):
            yield f"{self._name}: the slot of {slot} started at {self._starts[row['invocation_id']]}, too early: {row}"
        if (outcome is OccurrenceOutcome.SKIPPED_BLACKOUT) > blacked_out or (started and blacked_out):
            yield f"{self._name}: the slot of {slot} was {'' if blacked_out else 'not '}in a blackout: {row}"
        was_late = slot <= time.begin  # when it was created
        # An edit that came when it should have started by the new delay did not make it late.
        delays = [longest_delay(time.stanza)] + [
            longest_delay(each.stanza)
            for each in since
            if each.stanza is not None and each.began <= slot + longest_delay(each.stanza)
        ]
        if not was_late and not self._has_reason(outcome, slot, slot + min(delays), row["decided_at"], stanzas):
            yield f"{self._name}: nothing explains the outcome of the slot of {slot}: {row}"

    def _has_reason(
        self, outcome: OccurrenceOutcome, slot: datetime, due: datetime, decided_at: datetime, stanzas: Sequence[Stanza]
    ) -> bool:
        match outcome:
            case OccurrenceOutcome.EXPIRED:
                return any("pending_timeout" in stanza["triggering_policy"] for stanza in stanzas)
            case OccurrenceOutcome.OVERFLOW:
                return any("max_pending_triggers" in stanza for stanza in stanzas)
            case OccurrenceOutcome.START_DEADLINE:
                return any("start_deadline" in stanza for stanza in stanzas)
            case OccurrenceOutcome.PAUSED:
                return any(time.paused for time in self._between(slot, decided_at))
            case OccurrenceOutcome.DISABLED:
                return any(time.stanza is None for time in self._between(slot, decided_at))
            case OccurrenceOutcome.SKIPPED_CATCHUP:
                was_paused = any(time.paused for time in self._between(slot, decided_at))
                return was_paused or (decided_at >= due and self._was_absent(due, decided_at))
            case _:
                return True

    def _between(self, first: datetime, until: datetime) -> Iterator[_Time]:
        return (time for time in self._times if time.begin <= until and time.end >= first)

    def _was_absent(self, first: datetime, until: datetime) -> bool:
        return any(begin <= until and end + _SOON_AFTER >= first for begin, end in self._story.absences)

    def _wrong_gaps(self) -> Iterator[str]:
        left_out = {
            at
            for time in self._times
            if time.has_slots and time.stanza is not None
            for at in self._oracle.left_out(time.stanza, time.begin, time.end)
        }
        recorded = [row["slot"] for row in self._gaps]
        for at in left_out:
            # One that lies among slots that were all skipped is among them.
            if recorded.count(at) != 1 and not any(row["slot"] <= at < row["until_slot"] for row in self._ranges):
                yield f"{self._name}: the time left out at {at} has {recorded.count(at)} outcomes"
        for at in recorded:
            if at not in left_out:
                yield f"{self._name}: no time was left out at {at}"

    def _wrong_answer(self, answer: Answer) -> str:
        rows = self._rows_of(answer.at) if answer.at in self.expected else []
        gaps = [row for row in self._gaps if row["slot"] == answer.at]
        outcomes = {OccurrenceOutcome(row["outcome"]).name for row in [*rows, *gaps]}
        time = next((time for time in reversed(self._times) if time.begin <= answer.at), None)
        if not outcomes and time is None:
            outcomes = {"NOT_THERE_YET"}
        elif not outcomes and time is not None:
            none = "DISABLED" if time.stanza is None else "PAUSED" if time.paused else "NO_SLOT"
            outcomes = {none}
        if answer.code in outcomes:
            return ""
        return f"{self._name}: of {answer.at} it was told {answer.code}, and what happened is {sorted(outcomes)}"


def _ended(done: Done) -> datetime:
    assert done.ended is not None
    return done.ended
