"""Serves AdminService: administrators only, which is checked before a method is reached."""
# ruff: noqa: N802, ARG002 - names and arguments are those of gRPC

from __future__ import annotations

import grpc

from ostinato.pb.scheduler.v1 import admin_pb2, admin_pb2_grpc
from ostinato.rpc.call_interceptor import current_access
from ostinato_api.api_resources import ApiResources
from ostinato_api.get_debug_job_state import get_debug_job_state
from ostinato_api.queue_admin import (
    get_dead_letter,
    list_dead_letters,
    list_queues,
    pause_queue,
    purge_dead_letters,
    purge_queue,
    requeue_dead_letters,
    resume_queue,
    sweep,
)


class AdminServicer(admin_pb2_grpc.AdminServiceServicer):
    def __init__(self, api: ApiResources) -> None:
        self._api = api

    async def GetDebugJobState(
        self, request: admin_pb2.GetDebugJobStateRequest, context: grpc.ServicerContext
    ) -> admin_pb2.DebugJobState:
        return await get_debug_job_state(self._api, current_access(), request)

    async def ListQueues(
        self, request: admin_pb2.ListQueuesRequest, context: grpc.ServicerContext
    ) -> admin_pb2.ListQueuesResponse:
        return await list_queues(self._api)

    async def PauseQueue(self, request: admin_pb2.PauseQueueRequest, context: grpc.ServicerContext) -> admin_pb2.Queue:
        return await pause_queue(self._api, request)

    async def ResumeQueue(
        self, request: admin_pb2.ResumeQueueRequest, context: grpc.ServicerContext
    ) -> admin_pb2.Queue:
        return await resume_queue(self._api, request)

    async def PurgeQueue(
        self, request: admin_pb2.PurgeQueueRequest, context: grpc.ServicerContext
    ) -> admin_pb2.PurgeQueueResponse:
        return await purge_queue(self._api, request)

    async def ListDeadLetters(
        self, request: admin_pb2.ListDeadLettersRequest, context: grpc.ServicerContext
    ) -> admin_pb2.ListDeadLettersResponse:
        return await list_dead_letters(self._api, request)

    async def GetDeadLetter(
        self, request: admin_pb2.GetDeadLetterRequest, context: grpc.ServicerContext
    ) -> admin_pb2.DeadLetter:
        return await get_dead_letter(self._api, request)

    async def RequeueDeadLetters(
        self, request: admin_pb2.RequeueDeadLettersRequest, context: grpc.ServicerContext
    ) -> admin_pb2.RequeueDeadLettersResponse:
        return await requeue_dead_letters(self._api, request)

    async def PurgeDeadLetters(
        self, request: admin_pb2.PurgeDeadLettersRequest, context: grpc.ServicerContext
    ) -> admin_pb2.PurgeDeadLettersResponse:
        return await purge_dead_letters(self._api, request)

    async def Sweep(self, request: admin_pb2.SweepRequest, context: grpc.ServicerContext) -> admin_pb2.SweepResponse:
        return await sweep(self._api)
