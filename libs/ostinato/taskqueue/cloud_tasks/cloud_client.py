"""The official client of Cloud Tasks: Google's with the deployment's credentials, or a local server in plain text."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
from google.api_core.exceptions import GoogleAPICallError
from google.cloud import tasks_v2
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcAsyncIOTransport

from ostinato.config.cloud_tasks import CloudTasksSettings
from ostinato.taskqueue.cloud_tasks.submit_verdicts import UNKNOWN

CALL_TIMEOUT = 20.0  # seconds


@asynccontextmanager
async def open_cloud_client(settings: CloudTasksSettings) -> AsyncIterator[tasks_v2.CloudTasksAsyncClient]:
    """Its connections are closed at the end of the block."""
    if settings.server_address:
        channel = grpc.aio.insecure_channel(settings.server_address)
        transport = CloudTasksGrpcAsyncIOTransport(channel=channel)
        client = tasks_v2.CloudTasksAsyncClient(transport=transport)
    else:
        client = tasks_v2.CloudTasksAsyncClient()
    try:
        yield client
    finally:
        await client.transport.close()  # type: ignore[no-untyped-call]


def code_of(error: Exception) -> str:
    """The name of the gRPC status behind an error of the client."""
    if isinstance(error, grpc.aio.AioRpcError):
        return error.code().name
    code = error.grpc_status_code if isinstance(error, GoogleAPICallError) else None
    return code.name if code is not None else UNKNOWN


def text_of(error: Exception) -> str:
    """What it says, bounded."""
    if isinstance(error, grpc.aio.AioRpcError):
        return (error.details() or error.code().name)[:1000]
    if isinstance(error, GoogleAPICallError):
        return (error.message or type(error).__name__)[:1000]
    return (str(error) or type(error).__name__)[:1000]
