"""How many of a job's oldest pending triggers a triage has to look at. Pure.

With thousands pending, reading all of them at each triage would cost more than deciding. A triage touches only
what it starts, drops or purges, and of most policies these are always the oldest; of the rest the number is enough.
"""

from __future__ import annotations

from typing import assert_never

from ostinato.scheduling.job_definition import PolicyKind, TriggeringPolicy
from ostinato.scheduling.policies.batching import logarithmic_size


def triggers_wanted(
    policy: TriggeringPolicy, *, still_active: int, takes_triggers: bool, max_pending: int
) -> int | None:
    """How many triggers the policy has to see at most; None: all of them go, because the job takes no triggers."""
    if not takes_triggers:
        return None
    free_slots = max(0, policy.max_concurrent_invocations - still_active)
    match policy.kind:
        case PolicyKind.GREEDY_BATCHING:
            return free_slots * policy.max_batch_size
        case PolicyKind.LOGARITHMIC_BATCHING:
            return free_slots * min(policy.max_batch_size, logarithmic_size(max_pending, policy.log_base))
        case PolicyKind.NEWEST_FIRST:
            return max_pending  # the newest start, the oldest may have expired
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
