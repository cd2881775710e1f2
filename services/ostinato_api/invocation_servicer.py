"""Serves InvocationService: each method hands the request and the caller's rights to its command."""
# ruff: noqa: N802, ARG002 - names and arguments are those of gRPC

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import grpc

from ostinato.pb.scheduler.v1 import invocations_pb2, invocations_pb2_grpc
from ostinato.rpc.call_interceptor import current_access
from ostinato_api.abort_invocation import abort_invocation
from ostinato_api.api_resources import ApiResources
from ostinato_api.get_invocation import get_invocation
from ostinato_api.list_invocations import list_invocations
from ostinato_api.list_logs import list_logs
from ostinato_api.retry_invocation import retry_invocation
from ostinato_api.watch_invocation import watch_invocation


class InvocationServicer(invocations_pb2_grpc.InvocationServiceServicer):
    def __init__(self, api: ApiResources) -> None:
        self._api = api

    async def GetInvocation(
        self, request: invocations_pb2.GetInvocationRequest, context: grpc.ServicerContext
    ) -> invocations_pb2.Invocation:
        return await get_invocation(self._api, current_access(), request)

    async def ListInvocations(
        self, request: invocations_pb2.ListInvocationsRequest, context: grpc.ServicerContext
    ) -> invocations_pb2.ListInvocationsResponse:
        return await list_invocations(self._api, current_access(), request)

    async def AbortInvocation(
        self, request: invocations_pb2.AbortInvocationRequest, context: grpc.ServicerContext
    ) -> invocations_pb2.Invocation:
        return await abort_invocation(self._api, current_access(), request)

    async def RetryInvocation(
        self, request: invocations_pb2.RetryInvocationRequest, context: grpc.ServicerContext
    ) -> invocations_pb2.RetryInvocationResponse:
        return await retry_invocation(self._api, current_access(), request)

    async def ListLogs(
        self, request: invocations_pb2.ListLogsRequest, context: grpc.ServicerContext
    ) -> invocations_pb2.ListLogsResponse:
        return await list_logs(self._api, current_access(), request)

    async def AppendLogs(
        self, request: invocations_pb2.AppendLogsRequest, context: grpc.ServicerContext
    ) -> invocations_pb2.AppendLogsResponse:
        return await self._api.append_logs(request)

    async def WatchInvocation(
        self, request: invocations_pb2.WatchInvocationRequest, context: grpc.ServicerContext
    ) -> AsyncGenerator[invocations_pb2.WatchInvocationResponse, None]:
        async with aclosing(watch_invocation(self._api, current_access(), request)) as responses:
            async for response in responses:
                yield response
