"""What a job's policy makes of its pending triggers. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import assert_never

from ostinato.scheduling.job_definition import PolicyKind, TriggeringPolicy
from ostinato.scheduling.policies.batching import decide_batches, greedy_size, logarithmic_size
from ostinato.scheduling.policies.newest_first import count_expired, decide_newest
from ostinato.scheduling.triage_snapshot import PendingTrigger


@dataclass(frozen=True, slots=True)
class Choice:
    """Each trigger is in one of these, oldest first. `wake_at`: when the policy has to be asked again in any case."""

    batches: Sequence[Sequence[PendingTrigger]]
    waiting: Sequence[PendingTrigger]
    expired: Sequence[PendingTrigger] = ()
    wake_at: datetime | None = None


def choose(
    policy: TriggeringPolicy, triggers: Sequence[PendingTrigger], *, now: datetime, free_slots: int, unread: int = 0
) -> Choice:
    """`triggers` is oldest first, `unread` newer ones wait behind them; `free_slots` may be negative."""
    match policy.kind:
        case PolicyKind.GREEDY_BATCHING | PolicyKind.LOGARITHMIC_BATCHING:
            return _choose_batches(policy, triggers, free_slots=free_slots, unread=unread)
        case PolicyKind.NEWEST_FIRST:
            # The newest are not known before all are read.
            return _choose_newest(policy, triggers, now=now, free_slots=0 if unread else free_slots)
        case _:
            assert_never(policy.kind)


def _choose_batches(
    policy: TriggeringPolicy, triggers: Sequence[PendingTrigger], *, free_slots: int, unread: int
) -> Choice:
    is_greedy = policy.kind is PolicyKind.GREEDY_BATCHING
    batches = decide_batches(
        triggers,
        unread=unread,
        free_slots=free_slots,
        max_batch_size=policy.max_batch_size,
        size_for=greedy_size if is_greedy else partial(logarithmic_size, base=policy.log_base),
    )
    return Choice(batches, triggers[sum(map(len, batches)) :])


def _choose_newest(
    policy: TriggeringPolicy, triggers: Sequence[PendingTrigger], *, now: datetime, free_slots: int
) -> Choice:
    expired = count_expired(triggers, now, policy.expires_after)
    alive = triggers[expired:]
    batches = decide_newest(alive, free_slots)
    waiting = alive[: len(alive) - len(batches)]
    return Choice(batches, waiting, triggers[:expired], _expiry(waiting, policy.expires_after))


def _expiry(waiting: Sequence[PendingTrigger], after: timedelta) -> datetime | None:
    """Of the oldest; None too if the calendar ends before, which emitters may bring about."""
    if not waiting or waiting[0].created_at > datetime.max.replace(tzinfo=UTC) - after:
        return None
    return waiting[0].created_at + after
