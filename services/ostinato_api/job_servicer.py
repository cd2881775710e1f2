"""Serves JobService: each method hands the request and the caller's rights to its command."""
# ruff: noqa: N802, ARG002 - names and arguments are those of gRPC

from __future__ import annotations

import grpc

from ostinato.pb.scheduler.v1 import jobs_pb2, jobs_pb2_grpc
from ostinato.rpc.call_interceptor import current_access
from ostinato_api.api_resources import ApiResources
from ostinato_api.explain_job import explain_job
from ostinato_api.forecast_starts import forecast_starts
from ostinato_api.get_job import batch_get_jobs, get_job
from ostinato_api.list_jobs import list_jobs
from ostinato_api.pause_job import pause_job, resume_job
from ostinato_api.preview_schedule import preview_schedule
from ostinato_api.verify_job import verify_job


class JobServicer(jobs_pb2_grpc.JobServiceServicer):
    def __init__(self, api: ApiResources) -> None:
        self._api = api

    async def GetJob(self, request: jobs_pb2.GetJobRequest, context: grpc.ServicerContext) -> jobs_pb2.Job:
        return await get_job(self._api, current_access(), request)

    async def ListJobs(
        self, request: jobs_pb2.ListJobsRequest, context: grpc.ServicerContext
    ) -> jobs_pb2.ListJobsResponse:
        return await list_jobs(self._api, current_access(), request)

    async def BatchGetJobs(
        self, request: jobs_pb2.BatchGetJobsRequest, context: grpc.ServicerContext
    ) -> jobs_pb2.BatchGetJobsResponse:
        return await batch_get_jobs(self._api, current_access(), request)

    async def PauseJob(self, request: jobs_pb2.PauseJobRequest, context: grpc.ServicerContext) -> jobs_pb2.Job:
        return await pause_job(self._api, current_access(), request)

    async def ResumeJob(self, request: jobs_pb2.ResumeJobRequest, context: grpc.ServicerContext) -> jobs_pb2.Job:
        return await resume_job(self._api, current_access(), request)

    async def PreviewSchedule(
        self, request: jobs_pb2.PreviewScheduleRequest, context: grpc.ServicerContext
    ) -> jobs_pb2.PreviewScheduleResponse:
        return await preview_schedule(self._api, current_access(), request)

    async def ExplainJob(
        self, request: jobs_pb2.ExplainJobRequest, context: grpc.ServicerContext
    ) -> jobs_pb2.ExplainJobResponse:
        return await explain_job(self._api, current_access(), request)

    async def ForecastStarts(
        self, request: jobs_pb2.ForecastStartsRequest, context: grpc.ServicerContext
    ) -> jobs_pb2.ForecastStartsResponse:
        return await forecast_starts(self._api, current_access(), request)

    async def VerifyJob(
        self, request: jobs_pb2.VerifyJobRequest, context: grpc.ServicerContext
    ) -> jobs_pb2.VerifyJobResponse:
        return await verify_job(self._api, current_access(), request)
