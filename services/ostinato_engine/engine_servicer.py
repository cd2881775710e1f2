"""EngineService: how this engine is, and a way to end it gently. For administrators, on the internal port."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import grpc

from ostinato.pb.engine.v1.engine_pb2 import DrainRequest, DrainResponse, GetStatusRequest, GetStatusResponse
from ostinato.pb.engine.v1.engine_pb2_grpc import EngineServiceServicer
from ostinato_engine.tasks_at_work import TasksAtWork


class EngineServicer(EngineServiceServicer):
    """`end_process` makes the process drain and end, as a SIGTERM does."""

    def __init__(self, at_work: TasksAtWork, *, started_at: datetime, end_process: Callable[[], None]) -> None:
        self._at_work = at_work
        self._started_at = started_at
        self._end_process = end_process

    async def GetStatus(  # noqa: N802 - the method's name in the contract
        self,
        request: GetStatusRequest,  # noqa: ARG002
        context: grpc.ServicerContext,  # noqa: ARG002
    ) -> GetStatusResponse:
        status = GetStatusResponse(
            worker_id=self._at_work.worker.worker_id,
            lease_valid=self._at_work.worker.lease_valid,
            running_tasks=self._at_work.running,
            draining=self._at_work.worker.draining,
        )
        status.start_time.FromDatetime(self._started_at)
        return status

    async def Drain(  # noqa: N802
        self,
        request: DrainRequest,  # noqa: ARG002
        context: grpc.ServicerContext,  # noqa: ARG002
    ) -> DrainResponse:
        self._at_work.worker.drain()
        self._end_process()
        return DrainResponse()
