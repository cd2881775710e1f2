"""The target that does nothing outside: sleeps, then emits triggers to the downstream jobs."""

from __future__ import annotations

from datetime import timedelta

from ostinato.clock import Clock
from ostinato.jobflow.invocation_timers import NewTimer
from ostinato.pb.scheduler.v1.triggers_pb2 import NoopPayload, Trigger
from ostinato.scheduling.invocation import InvocationStatus
from ostinato.scheduling.targets import NoopSpec
from ostinato.scheduling.trigger import noop_trigger_id
from ostinato_engine.targets.target import LaunchResult, Log, Run

# A longer sleep is a timer's: no engine holds it, so none has to wait for it before it can stop.
LONGEST_HELD_SLEEP = timedelta(seconds=10)
_END_OF_SLEEP = "the end of the sleep"


class NoopLauncher:
    """Idempotent: the ids of its triggers follow from the invocation's."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def launch(self, run: Run, spec: NoopSpec, log: Log) -> LaunchResult:
        if spec.sleep:
            log(f"Sleeping {spec.sleep.total_seconds():g} s")
        if spec.sleep > LONGEST_HELD_SLEEP:
            return LaunchResult(InvocationStatus.RUNNING, timers=(NewTimer(spec.sleep, _END_OF_SLEEP),))
        if spec.sleep:
            await self._clock.sleep(spec.sleep.total_seconds())
        return _awake(run, spec)

    async def handle_timer(self, run: Run, spec: NoopSpec, _payload: bytes, _log: Log) -> LaunchResult:
        return _awake(run, spec)


def _awake(run: Run, spec: NoopSpec) -> LaunchResult:
    triggers = tuple(_trigger(run, index) for index in range(spec.triggers_count))
    return LaunchResult(InvocationStatus.SUCCEEDED, triggers=triggers)


def _trigger(run: Run, index: int) -> Trigger:
    return Trigger(
        id=noop_trigger_id(run.id, index), title=f"noop {index}", noop=NoopPayload(data=f"{run.name}/{index}")
    )
