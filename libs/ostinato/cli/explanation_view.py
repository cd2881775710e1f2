"""An explanation as people read it: the answer, what else matters, and what the last triages decided."""

from __future__ import annotations

import click

from ostinato.cli.formatting import printable, short_name, time_of
from ostinato.cli.tables import Column, print_table
from ostinato.pb.scheduler.v1.jobs_pb2 import ExplainJobResponse, TriageRecord

_COLUMNS = (
    Column("TRIAGE"),
    Column("PENDING", right=True),
    Column("ACTIVE", right=True),
    Column("ENDED", right=True),
    Column("DECIDED", shrinks_to=30),
)


def print_explanation(answer: ExplainJobResponse) -> None:
    for number, finding in enumerate(answer.findings):
        click.echo(f"{'  - ' if number else ''}{printable(finding.text)}")
    if answer.records:
        click.echo()
        print_table(_COLUMNS, [_row(record) for record in answer.records])


def _row(record: TriageRecord) -> list[str]:
    saw = record.saw if record.HasField("saw") else None
    return [
        time_of(record, "time"),
        "" if saw is None else str(saw.pending),
        "" if saw is None else str(saw.active),
        "" if saw is None else str(saw.finished_since),
        _decided(record),
    ]


def _decided(record: TriageRecord) -> str:
    parts = [_decision(decision) for decision in record.decisions]
    if record.HasField("next_wake_time"):
        parts.append(f"looks again at {time_of(record, 'next_wake_time')}")
    if record.error:
        parts.append(f"error: {printable(record.error)}")
    return "; ".join(parts)


def _decision(decision: TriageRecord.Decision) -> str:
    # What was batched is in the run that another one started.
    run = f" → {short_name(decision.invocation)}" if decision.reason == "STARTED" else ""
    return f"{decision.reason} {decision.count}{run}"
