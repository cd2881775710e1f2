"""An audit of a job's slots as people read it: what is wrong first, then what became of how many slots."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import click

from ostinato.cli.formatting import printable, time_of
from ostinato.cli.tables import Column, note, print_table
from ostinato.pb.scheduler.v1.jobs_pb2 import VerifyJobResponse

_OUTCOMES = (Column("OUTCOME"), Column("SLOTS", right=True), Column("RANGES", right=True))
_KINDS = ("missing", "duplicated", "late", "unexpected")
_MOST_TOLD = 100  # of each kind


def join_parts(parts: Sequence[VerifyJobResponse]) -> VerifyJobResponse:
    """Parts of one window, in order, as one answer: sums, and the first faults of each kind."""
    whole = VerifyJobResponse()
    whole.start_time.CopyFrom(parts[0].start_time)
    whole.end_time.CopyFrom(parts[-1].end_time)
    outcomes: dict[str, VerifyJobResponse.OutcomeCount] = {}
    told: Counter[int] = Counter()
    for part in parts:
        for field in ("slots", "pending", *_KINDS):
            setattr(whole, field, getattr(whole, field) + getattr(part, field))
        for count in part.outcomes:
            sums = outcomes.setdefault(count.outcome, VerifyJobResponse.OutcomeCount(outcome=count.outcome))
            sums.slots += count.slots
            sums.ranges += count.ranges
        for fault in part.faults:
            told[fault.kind] += 1
            if told[fault.kind] <= _MOST_TOLD:
                whole.faults.append(fault)
        whole.notes.extend(text for text in part.notes if text not in whole.notes)
    whole.outcomes.extend(outcomes.values())
    return whole


def count_faults(answer: VerifyJobResponse) -> int:
    return sum(getattr(answer, kind) for kind in _KINDS)


def print_verification(answer: VerifyJobResponse) -> None:
    click.echo(_summary(answer))
    for fault in answer.faults:
        click.echo(f"  - {VerifyJobResponse.Fault.Kind.Name(fault.kind)}: {printable(fault.text)}")
    more = count_faults(answer) - sum(fault.count for fault in answer.faults)
    if more:
        click.echo(f"  - and {more:,} more")
    if answer.outcomes:
        click.echo()
        print_table(_OUTCOMES, [[each.outcome, f"{each.slots}", f"{each.ranges}"] for each in answer.outcomes])
    if answer.pending:
        note(f"Fired, and waiting for their outcome: {answer.pending:,}.")
    for text in answer.notes:
        note(printable(text))


def _summary(answer: VerifyJobResponse) -> str:
    window = f"from {time_of(answer, 'start_time')} to {time_of(answer, 'end_time')}"
    found = [f"{getattr(answer, kind):,} {kind}" for kind in _KINDS if getattr(answer, kind)]
    if found:
        return f"Something is wrong with its slots {window}: {', '.join(found)}; {answer.slots:,} looked at."
    if not answer.slots and not answer.outcomes:
        return f"It had no slots {window}."
    return f"Each slot {window} has exactly one outcome, in time; {answer.slots:,} looked at."
