"""Serves ProjectService: each method hands the request and the caller's rights to its command."""
# ruff: noqa: N802, ARG002 - names and arguments are those of gRPC

from __future__ import annotations

import grpc

from ostinato.pb.scheduler.v1 import projects_pb2, projects_pb2_grpc
from ostinato.rpc.call_interceptor import current_access
from ostinato_api.api_resources import ApiResources
from ostinato_api.apply_project_config import apply_project_config
from ostinato_api.get_project import get_project, list_projects


class ProjectServicer(projects_pb2_grpc.ProjectServiceServicer):
    def __init__(self, api: ApiResources) -> None:
        self._api = api

    async def ApplyProjectConfig(
        self, request: projects_pb2.ApplyProjectConfigRequest, context: grpc.ServicerContext
    ) -> projects_pb2.ApplyProjectConfigResponse:
        return await apply_project_config(self._api, current_access(), request)

    async def GetProject(
        self, request: projects_pb2.GetProjectRequest, context: grpc.ServicerContext
    ) -> projects_pb2.Project:
        return await get_project(self._api, current_access(), request)

    async def ListProjects(
        self, request: projects_pb2.ListProjectsRequest, context: grpc.ServicerContext
    ) -> projects_pb2.ListProjectsResponse:
        return await list_projects(self._api, current_access(), request)
