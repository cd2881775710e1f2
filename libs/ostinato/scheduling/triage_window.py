"""How many of a job's oldest pending triggers a triage has to look at. Pure.

With thousands pending, reading all of them at each triage would cost more than deciding. A triage touches only
what it starts, drops or purges, and these are always the oldest; of the rest the number is enough.
"""

from __future__ import annotations

from typing import assert_never

from ostinato.scheduling.job_definition import PolicyKind, TriggeringPolicy


def triggers_wanted(policy: TriggeringPolicy, *, still_active: int, takes_triggers: bool) -> int | None:
    """How many triggers the policy can start at most; None: all of them go, because the job takes no triggers."""
    if not takes_triggers:
        return None
    match policy.kind:
        case PolicyKind.GREEDY_BATCHING:
            return max(0, policy.max_concurrent_invocations - still_active) * policy.max_batch_size
        case _:
            assert_never(policy.kind)


def triage_window(*, pending: int, wanted: int | None, max_pending: int, most: int) -> int:
    """How many of `pending` triggers to read, at most `most`.

    When what exceeds the cap and what can start don't fit together, only the excess is read: the triage drops it,
    starts nothing, and has to be repeated.
    """
    if wanted is None:
        return min(pending, most)
    excess = max(0, pending - max_pending)
    startable = min(wanted, pending - excess)
    if excess and excess + startable > most:
        return min(excess, most)
    return min(excess + startable, most)
