"""Table of contents: which code launches which kind of target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from ostinato.errors import InternalError
from ostinato.scheduling.targets import HttpSpec, NoopSpec, TargetSpec
from ostinato_engine.targets.target import LaunchResult, Log, Run, Target, TimedTarget


@dataclass(frozen=True, slots=True)
class Launchers:
    noop: TimedTarget[NoopSpec]
    http: Target[HttpSpec]

    async def launch(self, run: Run, spec: TargetSpec, log: Log) -> LaunchResult:
        match spec:
            case NoopSpec():
                return await self.noop.launch(run, spec, log)
            case HttpSpec():
                return await self.http.launch(run, spec, log)
            case _:
                assert_never(spec)

    async def handle_timer(self, run: Run, spec: TargetSpec, payload: bytes, log: Log) -> LaunchResult:
        match spec:
            case NoopSpec():
                return await self.noop.handle_timer(run, spec, payload, log)
            case HttpSpec():
                raise InternalError(f"{run.name} has a timer, but http jobs set none")
            case _:
                assert_never(spec)
