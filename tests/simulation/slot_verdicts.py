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
from tests.simulation.slot_jobs import PLENTY
from tests.simulation.slot_oracle import (
    SlotOracle,
    Stanza,
    in_blackout,
    longest_delay,
    makes_up,
    offset_of,
    read_duration,
)
from tests.simulation.slot_wanderer import TEMPO, Answer, Done, SlotStory

# Whoever comes back fires all schedules that are due within that, whatever its polls and backoffs.
_SOON_AFTER = timedelta(minutes=2)
# What a dead engine had claimed goes on within that: its lease, then the rescue.
_RESCUED_AFTER = timedelta(minutes=15)
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
    """`slots`: how many should have an outcome, each counted."""

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
        times = list(_times(name, done, spans.get(job_id, ()), oracle, problems))
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
    name: str, done: Sequence[Done], spans: Sequence[Row], oracle: SlotOracle, problems: list[str]
) -> Iterator[_Time]:
    """What was done took effect when the database says; that it did at all, and nothing else, is checked."""
    before: object = None
    until = oracle.end
    taken: list[tuple[datetime, Done]] = []
    for each in done:
        assert each.ended is not None
        found = [span["from_at"] for span in spans if each.began < span["from_at"] <= each.ended]
        wanted = _effect(each)
        # Where nothing comes any more, a pause changes nothing.
        ended = each.stanza is not None and not oracle.slots(each.stanza, each.began, until)
        if len(found) > 1 or (not found and wanted != before and not (ended and _is_a_pause(before, wanted))):
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


def _is_a_pause(before: object, after: object) -> bool:
    return isinstance(before, tuple) and isinstance(after, tuple) and before[1:] == after[1:]


@dataclass(frozen=True, slots=True)
class _Waited:
    """A slot that waited for its delay, by `stanza`, while the job was edited: `done`, oldest first, up to its end."""

    slot: datetime
    stanza: Stanza
    done: Sequence[Done]

    @property
    def _edits(self) -> list[tuple[datetime, Stanza]]:
        return [
            (each.began, each.stanza) for each in self.done if each.stanza is not None and _ended(each) >= self.slot
        ]

    @property
    def stanzas(self) -> list[Stanza]:
        return [self.stanza, *(stanza for _, stanza in self._edits)]

    @property
    def _edits_of_delay(self) -> list[tuple[datetime, Stanza]]:
        """Those that may have changed it: the expression stays."""
        return [(at, stanza) for at, stanza in self._edits if _expression(stanza) == _expression(self.stanza)]

    @property
    def earliest(self) -> datetime:
        """When it may start: an edit may let it go earlier, from then on."""
        by_edits = [max(at, self.slot + offset_of(stanza)) for at, stanza in self._edits_of_delay]
        return min([self.slot + offset_of(self.stanza), *by_edits])

    @property
    def latest(self) -> datetime:
        """When it should have started."""
        return self.slot + max(map(longest_delay, [self.stanza, *(stanza for _, stanza in self._edits_of_delay)]))

    @property
    def missed_from(self) -> datetime:
        """From then on it is late. An edit that comes when its slot should have started by then makes nothing late."""
        delays = [longest_delay(stanza) for at, stanza in self._edits if at <= self.slot + longest_delay(stanza)]
        return self.slot + min([longest_delay(self.stanza), *delays])

    @property
    def holds_nothing_back(self) -> bool:
        """It never had to wait for a run of its job."""
        return all(
            stanza.get("noop") == {}
            and stanza.get("triggering_policy", {}).get("max_concurrent_invocations", 1) >= PLENTY
            and "kind" not in stanza["triggering_policy"]
            for stanza in self.stanzas
        )

    def outlasts(self, limit: str, decided_at: datetime) -> bool:
        """It waited for as long as `limit` of some of its stanzas says."""
        given = [{**stanza, **stanza.get("triggering_policy", {})} for stanza in self.stanzas]
        limits = [read_duration(fields[limit]) for fields in given if limit in fields]
        return any(decided_at >= self.slot + each for each in limits)


def _expression(stanza: Stanza) -> object:
    """Equal if the slots are the same, bounds and blackouts aside. Zones are for cron only."""
    if stanza["schedule"].startswith(("every ", "at ")):
        return stanza["schedule"]
    return [stanza.get(key) for key in ("schedule", "time_zone", "gap_policy", "fold_policy")]


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

    @cached_property
    def _sorted(self) -> list[datetime]:
        return sorted(self.expected)

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
        return bisect_left(self._sorted, row["slot"]) < bisect_left(self._sorted, row["until_slot"])

    def _wrong_with(self, row: Row, slot: datetime, time: _Time) -> Iterator[str]:
        outcome, decided_at = OccurrenceOutcome(row["outcome"]), row["decided_at"]
        assert time.stanza is not None
        waited = _Waited(slot, time.stanza, [each for each in self._done if each.began <= decided_at])
        blacked_out = in_blackout(time.stanza, slot)
        started = outcome in (OccurrenceOutcome.STARTED, OccurrenceOutcome.BATCHED)
        if (outcome is OccurrenceOutcome.SKIPPED_BLACKOUT) > blacked_out or (started and blacked_out):
            yield f"{self._name}: the slot of {slot} was {'' if blacked_out else 'not '}in a blackout: {row}"
        if started:
            began = self._starts.get(row["invocation_id"])
            if began is None or began < waited.earliest:
                yield f"{self._name}: the slot of {slot} started at {began}, before {waited.earliest}: {row}"
            latest = waited.latest
            disturbed = self._was_absent(latest, decided_at) or self._was_paused(latest, decided_at)
            if waited.holds_nothing_back and not disturbed and decided_at > latest + _RESCUED_AFTER:
                yield f"{self._name}: the slot of {slot} started much later than {latest}: {row}"
        was_late = slot <= time.begin  # when it was created
        # Nobody tells sleeping engines of a plan: they see what has become due sooner when they look.
        unseen = outcome is OccurrenceOutcome.SKIPPED_CATCHUP and slot <= time.begin + TEMPO.loops.look_every
        if not was_late and not unseen and not self._has_reason(outcome, waited, decided_at):
            yield f"{self._name}: nothing explains the outcome of the slot of {slot}: {row}"

    def _has_reason(self, outcome: OccurrenceOutcome, waited: _Waited, decided_at: datetime) -> bool:
        match outcome:
            case OccurrenceOutcome.EXPIRED:
                return waited.outlasts("pending_timeout", decided_at)
            case OccurrenceOutcome.OVERFLOW:
                return any("max_pending_triggers" in stanza for stanza in waited.stanzas)
            case OccurrenceOutcome.START_DEADLINE:
                return waited.outlasts("start_deadline", decided_at)
            case OccurrenceOutcome.PAUSED:
                return self._was_paused(waited.slot, decided_at)
            case OccurrenceOutcome.DISABLED:
                return any(time.stanza is None for time in self._between(waited.slot, decided_at))
            case OccurrenceOutcome.SKIPPED_CATCHUP:
                missed = decided_at >= waited.missed_from and self._was_absent(waited.missed_from, decided_at)
                return missed or self._was_paused(waited.slot, decided_at, makes_up_for_it=True)
            case _:
                return True

    def _was_paused(self, first: datetime, until: datetime, *, makes_up_for_it: bool = False) -> bool:
        return any(
            time.paused and (not makes_up_for_it or (time.stanza is not None and makes_up(time.stanza)))
            for time in self._between(first, until)
        )

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
