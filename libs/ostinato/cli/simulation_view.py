"""What a simulation came to: a timeline and totals with one column per policy, or JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import click

from ostinato.cli.formatting import format_duration, format_time
from ostinato.cli.simulation_file import Candidate
from ostinato.cli.tables import Column, note, print_table
from ostinato.scheduling.cron_machine import SkippedRange
from ostinato.scheduling.simulating import Moment, Outcome, SimulatedRun, Totals


@dataclass(frozen=True, slots=True)
class Tried:
    """One policy and what it made of the scenario."""

    candidate: Candidate
    outcome: Outcome
    totals: Totals


def print_simulation(tried: Sequence[Tried], *, most_lines: int) -> None:
    names = [each.candidate.name for each in tried]
    moments = [{moment.at: moment for moment in each.outcome.moments} for each in tried]
    instants = sorted({at for of_one in moments for at in of_one})
    if most_lines:
        columns = [column for name in names for column in (Column("WAIT", right=True), Column(name, shrinks_to=31))]
        print_table([Column("TIME"), *columns], [_line(at, moments) for at in instants[:most_lines]])
        if len(instants) > most_lines:
            note(f"{len(instants) - most_lines} more lines; --timeline {len(instants)} shows all.")
        click.echo()
    print_table((Column("TOTAL"), *(Column(name, right=True) for name in names)), list(_totals(tried)))


def to_json(tried: Sequence[Tried]) -> str:
    """Durations in seconds."""
    return json.dumps({"policies": [_policy_object(each) for each in tried]}, indent=2, ensure_ascii=False)


def _line(at: datetime, moments: Sequence[Mapping[datetime, Moment]]) -> list[str]:
    return [format_time(at), *(cell for of_one in moments for cell in _cells(of_one.get(at)))]


def _cells(moment: Moment | None) -> tuple[str, str]:
    return ("", "") if moment is None else (str(moment.waiting), " · ".join(_parts(moment)))


def _parts(moment: Moment) -> Iterator[str]:
    if moment.ended:
        yield _ends(moment.ended)
    if moment.arrived:
        yield f"+{len(moment.arrived)}"
    for run in moment.started:
        yield f"run {run.number} ← {_named(run.trigger_ids)}"
    for drop in moment.dropped:
        yield f"{drop.reason} {_named(drop.trigger_ids)}"
    for skipped in moment.skipped:
        yield _skip(skipped)


def _ends(numbers: Sequence[int]) -> str:
    return f"run {numbers[0]} ends" if len(numbers) == 1 else f"{len(numbers)} runs end"


def _named(trigger_ids: Sequence[str]) -> str:
    return trigger_ids[0] if len(trigger_ids) == 1 else f"{len(trigger_ids)}: {trigger_ids[0]}…"


def _skip(skipped: SkippedRange) -> str:
    until = f" until {format_time(skipped.until_slot)}" if skipped.until_slot is not None else ""
    return f"{skipped.outcome.name} {format_time(skipped.from_slot)}{until}"


def _totals(tried: Sequence[Tried]) -> Iterator[list[str]]:
    totals = [each.totals for each in tried]
    yield ["triggers", *(str(each.triggers) for each in totals)]
    yield ["runs", *(str(each.runs) for each in totals)]
    yield ["triggers per run, mean", *(f"{each.mean_batch:.1f}" for each in totals)]
    yield ["triggers per run, most", *(str(each.largest_batch) for each in totals)]
    yield ["wait, mean", *(format_duration(each.mean_wait) for each in totals)]
    yield ["wait, longest", *(format_duration(each.longest_wait) for each in totals)]
    yield ["waiting, most", *(str(each.most_waiting) for each in totals)]
    for reason in sorted({reason for each in totals for reason in each.dropped}):
        yield [reason, *(str(each.dropped.get(reason, 0)) for each in totals)]
    yield ["busy", *(f"{each.busy_share:.0%}" for each in totals)]
    yield ["waiting at the end", *(str(each.left_waiting) for each in totals)]
    yield ["running at the end", *(str(each.left_running) for each in totals)]


def _policy_object(tried: Tried) -> dict[str, object]:
    return {
        "name": tried.candidate.name,
        "timeline": [_moment_object(moment) for moment in tried.outcome.moments],
        "waiting": list(tried.outcome.waiting),
        "totals": _totals_object(tried.totals),
    }


def _moment_object(moment: Moment) -> dict[str, object]:
    return {
        "time": _exact(moment.at),
        "arrived": list(moment.arrived),
        "ended": list(moment.ended),
        "started": [_run_object(run) for run in moment.started],
        "dropped": [{"reason": drop.reason, "triggers": list(drop.trigger_ids)} for drop in moment.dropped],
        "skipped": [_skip_object(skipped) for skipped in moment.skipped],
        "waiting": moment.waiting,
        "running": moment.running,
    }


def _run_object(run: SimulatedRun) -> dict[str, object]:
    return {
        "run": run.number,
        "triggers": list(run.trigger_ids),
        "waits": [_seconds(wait) for wait in run.waits],
        "endTime": _exact(run.ends_at),
    }


def _skip_object(skipped: SkippedRange) -> dict[str, object]:
    until = None if skipped.until_slot is None else _exact(skipped.until_slot)
    return {"outcome": skipped.outcome.name, "fromSlot": _exact(skipped.from_slot), "untilSlot": until}


def _totals_object(totals: Totals) -> dict[str, object]:
    return {
        "triggers": totals.triggers,
        "runs": totals.runs,
        "meanBatch": totals.mean_batch,
        "largestBatch": totals.largest_batch,
        "meanWait": _seconds(totals.mean_wait),
        "longestWait": _seconds(totals.longest_wait),
        "mostWaiting": totals.most_waiting,
        "dropped": dict(totals.dropped),
        "busyShare": totals.busy_share,
        "leftWaiting": totals.left_waiting,
        "leftRunning": totals.left_running,
    }


def _seconds(length: timedelta) -> float:
    return length.total_seconds()


def _exact(at: datetime) -> str:
    """Below a second as well, where there is something."""
    return f"{at.replace(tzinfo=None).isoformat()}Z"
