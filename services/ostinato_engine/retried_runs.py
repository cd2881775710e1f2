"""What a new attempt takes over from the run that it repeats: its triggers, its slot, its place in the count."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from google.protobuf.message import DecodeError

from ostinato.jobstore.retry_store import RetriedRun, load_retried_runs
from ostinato.pb.internal.v1.stored_pb2 import TriggerList
from ostinato.pb.scheduler.v1.triggers_pb2 import Trigger
from ostinato.scheduling.invocation_id import InvocationId
from ostinato.scheduling.names import ResourceNameError, parse_invocation_name
from ostinato.scheduling.retrying import next_attempt
from ostinato.scheduling.trigger import retried_invocation_name
from ostinato.storage.transaction import Tx

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where a new invocation comes from. `triggers` are those of the run that it repeats."""

    retry_of: InvocationId | None = None
    attempt: int = 1
    scheduled_for: datetime | None = None
    triggers: Sequence[Trigger] = ()


FIRST_ATTEMPT = Lineage()


async def load_lineages(tx: Tx, retry_trigger_ids: Collection[str]) -> dict[str, Lineage]:
    """By the id of the retry trigger. A run that is in no history any more hands on no more than its id."""
    repeated = {
        trigger_id: invocation_id
        for trigger_id in retry_trigger_ids
        if (invocation_id := _repeated(trigger_id)) is not None
    }
    if not repeated:
        return {}
    found = await load_retried_runs(tx, set(repeated.values()))
    return {
        trigger_id: _lineage(invocation_id, found.get(invocation_id)) for trigger_id, invocation_id in repeated.items()
    }


def _repeated(trigger_id: str) -> InvocationId | None:
    try:
        return parse_invocation_name(retried_invocation_name(trigger_id))[2]
    except ResourceNameError as error:
        _log.error("the run of trigger %s counts as a first attempt: %s", trigger_id, error)
        return None


def _lineage(invocation_id: InvocationId, run: RetriedRun | None) -> Lineage:
    if run is None:
        return Lineage(invocation_id, next_attempt(1))
    return Lineage(invocation_id, next_attempt(run.attempt), run.scheduled_for, _triggers(invocation_id, run.incoming))


def _triggers(invocation_id: InvocationId, incoming: bytes) -> Sequence[Trigger]:
    """Without those that made it an attempt itself: `retry_of` leads back through all of them."""
    try:
        triggers = TriggerList.FromString(incoming).triggers
    except DecodeError as error:
        _log.error("the triggers of run %d can't be read and are not handed on: %s", invocation_id, error)
        return ()
    return [trigger for trigger in triggers if trigger.WhichOneof("payload") != "retry"]
