"""Which downstream jobs the end of a run triggers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from ostinato.scheduling.invocation import InvocationStatus
from ostinato.scheduling.job_definition import Downstream, TriggerOn

_TRIGGERED_BY: Mapping[InvocationStatus, frozenset[TriggerOn]] = MappingProxyType(
    {
        InvocationStatus.SUCCEEDED: frozenset({TriggerOn.SUCCESS, TriggerOn.FINISH}),
        InvocationStatus.FAILED: frozenset({TriggerOn.FAILURE, TriggerOn.FINISH}),
        InvocationStatus.TIMED_OUT: frozenset({TriggerOn.FAILURE, TriggerOn.FINISH}),
        InvocationStatus.ABORTED: frozenset({TriggerOn.FINISH}),
    }
)


def triggered_jobs(downstream: Sequence[Downstream], status: InvocationStatus) -> tuple[str, ...]:
    """Ids of the jobs to trigger, each once, in the order given. None while the status is not final."""
    matching = _TRIGGERED_BY.get(status, frozenset())
    return tuple(dict.fromkeys(entry.job for entry in downstream if entry.trigger_on in matching))
