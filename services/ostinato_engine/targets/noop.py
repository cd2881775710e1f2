"""The target that does nothing outside: sleeps, then emits triggers to the downstream jobs."""

from __future__ import annotations

from ostinato.clock import Clock
from ostinato.pb.scheduler.v1.triggers_pb2 import NoopPayload, Trigger
from ostinato.scheduling.invocation import InvocationStatus
from ostinato.scheduling.targets import NoopSpec
from ostinato.scheduling.trigger import noop_trigger_id
from ostinato_engine.targets.target import LaunchResult, Log, Run


class NoopLauncher:
    """Idempotent: the ids of its triggers follow from the invocation's."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def launch(self, run: Run, spec: NoopSpec, log: Log) -> LaunchResult:
        if spec.sleep:
            log(f"Sleeping {spec.sleep.total_seconds():g} s")
            await self._clock.sleep(spec.sleep.total_seconds())
        return LaunchResult(
            InvocationStatus.SUCCEEDED, triggers=tuple(_trigger(run, index) for index in range(spec.triggers_count))
        )


def _trigger(run: Run, index: int) -> Trigger:
    return Trigger(
        id=noop_trigger_id(run.id, index), title=f"noop {index}", noop=NoopPayload(data=f"{run.name}/{index}")
    )
