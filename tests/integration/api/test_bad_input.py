"""Every field of every request against hostile values: never an error that is ours, never a traceback.

The requests are built from the descriptors, so a new method or field is looked at without being listed here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_status.rpc_status import from_call

from ostinato.pb.scheduler.v1 import admin_pb2, invocations_pb2, jobs_pb2, projects_pb2, triggers_pb2
from tests.integration.api.served_api import Client
from tests.integration.engine.stage import Stage

FILES = (jobs_pb2, invocations_pb2, triggers_pb2, projects_pb2, admin_pb2)
METHODS: dict[str, MethodDescriptor] = {
    method.name: method
    for file in FILES
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
JOB = "projects/shop/jobs/a"
TEXTS = (
    "",
    " ",
    "-",
    "/",
    "\0",
    "a\0b",
    "\n",
    "%s%n{}",
    "'; drop table job; --",
    "é" * 300,
    "\U0001f600",
    "x" * 5000,
    "projects/",
    "projects/-",
    "projects/SHOP",
    "projects/shop",
    "projects/shop/",
    "projects/shop/jobs/",
    "projects/shop/jobs/-",
    "projects/shop/jobs/a/b",
    "projects/shop/jobs/a\0",
    "projects/shop/jobs/é",
    f"{JOB}/invocations/0",
    f"{JOB}/invocations/-1",
    f"{JOB}/invocations/9223372036854775807",
    f"{JOB}/invocations/9223372036854775808",
    f"{JOB}/invocations/{'9' * 400}",
    f"{JOB}/invocations/０",
    "* * * * *",
    "0 0 0 0 0 0 0 0",
    "with 99999999999999h interval",
    "every 99999999999d",
    "project: [",
    "project: shop\njobs: [{id: a, noop: {sleep: 9999999999999h}}]",
    "- &a [*a]",
)
INTS = (-(2**31), -1, 0, 1, 2**31 - 1)
INSTANTS = ((-(2**62), 0), (2**62, 0), (0, -1), (0, 10**9), (253402300800, 0), (-62135596801, 0), (-62135596800, 0))


def variants(message: Message) -> Iterator[Message]:
    """Copies of `message` with one field, at any depth, set to something hostile."""
    for field in message.DESCRIPTOR.fields:
        for fill in fills(message, field):
            copy = type(message)()
            copy.CopyFrom(message)
            fill(copy)
            yield copy


def fills(message: Message, field: FieldDescriptor) -> Iterator[Any]:
    name = field.name
    if field.message_type is not None and field.message_type.full_name == "google.protobuf.Struct":
        for value in (math.nan, math.inf, "\0", None, [[]], {"": {"": ""}}):
            yield lambda copy, value=value: getattr(copy, name).update({"k": value})
    elif field.message_type is not None and field.message_type.full_name == "google.protobuf.Timestamp":
        for seconds, nanos in INSTANTS:
            yield lambda copy, seconds=seconds, nanos=nanos: _set_instant(getattr(copy, name), seconds, nanos)
    elif field.message_type is not None:
        for inner in variants(_example(message, field)):
            yield lambda copy, inner=inner: _set_message(copy, field, inner)
    elif field.is_repeated:
        for value in values(field):
            yield lambda copy, value=value: getattr(copy, name).append(value)
        yield lambda copy: getattr(copy, name).extend([values(field)[0]] * 2000)
    else:
        for value in values(field):
            yield lambda copy, value=value: setattr(copy, name, value)


def _example(message: Message, field: FieldDescriptor) -> Message:
    """What stands in the field already, or an empty one."""
    current = getattr(message, field.name)
    if not field.is_repeated:
        return current
    return current[0] if current else GetMessageClass(field.message_type)()


def _set_message(copy: Message, field: FieldDescriptor, inner: Message) -> None:
    if field.is_repeated:
        getattr(copy, field.name).append(inner)
    else:
        getattr(copy, field.name).CopyFrom(inner)


def _set_instant(timestamp: Any, seconds: int, nanos: int) -> None:
    timestamp.seconds, timestamp.nanos = seconds, nanos


def values(field: FieldDescriptor) -> tuple[Any, ...]:
    match field.type:
        case FieldDescriptor.TYPE_STRING:
            return TEXTS
        case FieldDescriptor.TYPE_BOOL:
            return (True,)
        case FieldDescriptor.TYPE_INT64:
            return (*INTS, -(2**63), 2**63 - 1)
        case _:
            return INTS


def valid(method: str, invocation: str) -> Message:
    """A request that is answered, so that one hostile field gets as far as it can."""
    known: dict[str, Any] = {
        "name": invocation if "Invocation" in method else JOB,
        "parent": JOB,
        "job": JOB,
        "batches": [{"trigger": {"id": "x"}, "jobs": [JOB]}],
        "config": "project: shop\njobs: [{id: a, noop: {}}]",
    }
    if method in ("GetProject", "ListJobs"):
        known |= {"name": "projects/shop", "parent": "projects/shop"}
    if method == "ListLogs":
        known["parent"] = invocation
    kind = GetMessageClass(METHODS[method].input_type)
    return kind(**{name: value for name, value in known.items() if name in kind.DESCRIPTOR.fields_by_name})


def is_ours(error: grpc.aio.AioRpcError) -> bool:
    """Whether the caller would have to write to us about it."""
    told = from_call(error)
    clean = error.code().name in ("INVALID_ARGUMENT", "NOT_FOUND", "ABORTED", "FAILED_PRECONDITION")
    return not clean or told is None or "Traceback" in str(told)


@pytest.mark.parametrize("method", METHODS)
async def test_no_hostile_field_is_our_mistake(api: Client, stage: Stage, method: str) -> None:
    await api.apply("project: shop\njobs: [{id: a, noop: {}}]")
    await api.emit("a", "t1")
    await stage.triage_until_quiet()
    listed = await api.send("ListInvocations", invocations_pb2.ListInvocationsRequest(parent=JOB))
    request = valid(method, listed.invocations[0].name)
    await api.send(method, request)
    complaints = []
    for variant in variants(request):
        try:
            await api.send(method, variant)
        except grpc.aio.AioRpcError as error:
            if is_ours(error):
                complaints.append((str(variant)[:300], error.code().name, error.details()))
    assert complaints == []


@pytest.mark.parametrize("method", METHODS)
async def test_bytes_that_are_no_request_are_bad_input(api: Client, method: str) -> None:
    path = f"/{METHODS[method].containing_service.full_name}/{method}"
    for garbage in (b"\xff", b"\x0a\x7f"):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await api._channel.unary_unary(path)(garbage, timeout=10)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
