"""Serves TriggerService: each method hands the request and the caller's rights to its command."""
# ruff: noqa: N802, ARG002 - names and arguments are those of gRPC

from __future__ import annotations

import grpc

from ostinato.pb.scheduler.v1 import triggers_pb2, triggers_pb2_grpc
from ostinato.rpc.call_interceptor import current_access
from ostinato_api.api_resources import ApiResources
from ostinato_api.emit_triggers_command import emit_triggers_command
from ostinato_api.list_triggers import list_triggers


class TriggerServicer(triggers_pb2_grpc.TriggerServiceServicer):
    def __init__(self, api: ApiResources) -> None:
        self._api = api

    async def EmitTriggers(
        self, request: triggers_pb2.EmitTriggersRequest, context: grpc.ServicerContext
    ) -> triggers_pb2.EmitTriggersResponse:
        return await emit_triggers_command(self._api, current_access(), request)

    async def ListTriggers(
        self, request: triggers_pb2.ListTriggersRequest, context: grpc.ServicerContext
    ) -> triggers_pb2.ListTriggersResponse:
        return await list_triggers(self._api, current_access(), request)
