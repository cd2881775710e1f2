"""One trigger for one job, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import click
from google.protobuf.json_format import ParseDict, ParseError

from ostinato.pb.scheduler.v1.triggers_pb2 import EmitTriggersRequest, EmitTriggersResponse, Trigger


class Fate(StrEnum):
    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    DROPPED = "dropped"


def emission(job: str, trigger_id: str, data: Mapping[str, object] | None) -> EmitTriggersRequest:
    """A trigger that carries `data`, or without any stands for a button pressed."""
    trigger = Trigger(id=trigger_id)
    if data is None:
        trigger.console.SetInParent()
    else:
        _carry(trigger, data)
    return EmitTriggersRequest(batches=[EmitTriggersRequest.Batch(trigger=trigger, jobs=[job])])


def fate_of(answer: EmitTriggersResponse) -> tuple[Fate, str]:
    (result,) = answer.results
    if result.accepted:
        return Fate.ACCEPTED, "accepted"
    if result.duplicate:
        return Fate.DUPLICATE, "was there already: nothing new"
    return Fate.DROPPED, ", ".join(dropped.reason for dropped in result.dropped)


def _carry(trigger: Trigger, data: Mapping[str, object]) -> None:
    try:
        ParseDict(dict(data), trigger.event)
    except (ParseError, ValueError, OverflowError):
        raise click.BadParameter(
            "holds what JSON for the api can't: huge numbers or broken text.", param_hint="--data"
        ) from None
