"""The connection to the api: what is retried by itself, message sizes, and who calls."""

from __future__ import annotations

import json
from typing import Final

import grpc

# Repeating one of these changes nothing further. ApplyProjectConfig is not among them: with an expected revision
# its repetition is refused.
_SAFE_METHODS: Final = {
    "JobService": (
        "GetJob",
        "ListJobs",
        "BatchGetJobs",
        "PauseJob",
        "ResumeJob",
        "PreviewSchedule",
        "ExplainJob",
        "ForecastStarts",
        "VerifyJob",
    ),
    "InvocationService": (
        "GetInvocation",
        "ListInvocations",
        "AbortInvocation",
        "ListLogs",
        "WatchInvocation",
        "AppendLogs",
    ),
    "TriggerService": ("EmitTriggers", "ListTriggers"),
    "ProjectService": ("GetProject", "ListProjects"),
    "AdminService": (
        "GetDebugJobState",
        "ListQueues",
        "ListDeadLetters",
        "GetDeadLetter",
        "PauseQueue",
        "ResumeQueue",
        "Sweep",
    ),
}
_RETRY: Final = {
    "maxAttempts": 4,
    "initialBackoff": "0.1s",
    "maxBackoff": "1s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
# A full page of invocations, each with the largest result.
_MAX_MESSAGE_BYTES: Final = 64 * 1024 * 1024
_LOOPBACK: Final = ("127.", "localhost:", "[::1]:")


def open_channel(address: str) -> grpc.aio.Channel:
    """A channel to HOST:PORT without transport security; nothing is dialled before the first call."""
    options: list[tuple[str, str | int]] = [
        ("grpc.service_config", json.dumps(service_config())),
        ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
        # A server that has vanished without a word is noticed within the sum, also while a quiet run is watched.
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        # gRPC would wait for up to two minutes before it looks again for a server that was away for long.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1_000),
    ]
    if address.startswith(_LOOPBACK):
        options.append(("grpc.enable_http_proxy", 0))  # a proxy of the environment can't reach this machine's loopback
    return grpc.aio.insecure_channel(address, options=options)


def service_config() -> dict[str, object]:
    names = [
        {"service": f"ostinato.scheduler.v1.{service}", "method": method}
        for service, methods in _SAFE_METHODS.items()
        for method in methods
    ]
    return {"methodConfig": [{"name": names, "retryPolicy": _RETRY}]}
