"""What the engine's setting says of its queues."""

from __future__ import annotations

from collections.abc import Sequence

from ostinato.config.queue_limits import ENGINE_QUEUES, QueueLimits
from ostinato.taskqueue import QueueSettings


def queue_settings(limits: Sequence[QueueLimits]) -> list[QueueSettings]:
    """Of every queue, so that a limit which is no longer set is taken away."""
    named = {each.queue: each for each in limits}
    return [_settings(named.get(queue, QueueLimits(queue))) for queue in ENGINE_QUEUES]


def _settings(limits: QueueLimits) -> QueueSettings:
    return QueueSettings(limits.queue, max_rate=limits.rate, burst=limits.burst, max_concurrent=limits.concurrent)
