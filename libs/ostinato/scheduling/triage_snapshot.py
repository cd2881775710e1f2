"""What triage sees of one job, read under the job's lock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from ostinato.scheduling.invocation import InvocationStatus
from ostinato.scheduling.invocation_id import InvocationId
from ostinato.scheduling.job_definition import TriggeringPolicy
from ostinato.scheduling.start_limit import StartLimit
from ostinato.scheduling.trigger import TriggerKind

DEFAULT_MAX_PENDING = 1000


class PendingTrigger(NamedTuple):
    """`slot` is set for triggers of an absolute schedule only: those have a row in the ledger.

    `not_before` is set for those that become an invocation each: they are never batched, dropped or purged by a pause.
    """

    id: str
    kind: TriggerKind
    created_at: datetime
    order_in_batch: int
    emitted_by: str
    slot: datetime | None = None
    not_before: datetime | None = None

    @property
    def age_key(self) -> tuple[datetime, int, str]:
        """Oldest first. Ids compare by code point, which is the byte order of UTF-8 and of the database."""
        return self.created_at, self.order_in_batch, self.id


@dataclass(frozen=True, slots=True)
class ActiveInvocation:
    """One that no triage has acknowledged as ended yet; its status may be final."""

    id: InvocationId
    status: InvocationStatus


@dataclass(frozen=True, slots=True)
class TriageSnapshot:
    """`more_pending` counts pending triggers that were not read: all of them are newer than `triggers`.

    `waiting` are those with a `not_before`, the earliest first; of an enabled job one more than it may run at once is
    enough. `wake_planned_at`: when a triage task is due that was added earlier. `start_not_before`: until then the
    job's least interval between triages that start something lasts. `start_limit`: how late a slot may start, None for
    however late.
    """

    now: datetime
    enabled: bool
    paused: bool
    policy: TriggeringPolicy
    triggers: Sequence[PendingTrigger]
    active: Sequence[ActiveInvocation]
    max_pending: int = DEFAULT_MAX_PENDING
    more_pending: int = 0
    waiting: Sequence[PendingTrigger] = ()
    wake_planned_at: datetime | None = None
    start_not_before: datetime | None = None
    start_limit: StartLimit | None = None
