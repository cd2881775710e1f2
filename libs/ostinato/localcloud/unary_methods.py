"""Serves the unary methods of a Google API: errors as their status, and whatever the plan of faults has for a call.

The plan knows methods by their short names. A method that is hit by DUPLICATED is answered twice, one after the other.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeAlias, TypeVar, runtime_checkable

import grpc
from google.protobuf.any_pb2 import Any as PackedAny
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status.rpc_status import to_status

from ostinato.clock import Clock
from ostinato.errors import OstinatoError
from ostinato.localcloud.faults import FaultPlan
from ostinato.rpc.error_mapping import status_code
from ostinato.rpc.server import GrpcService

Q = TypeVar("Q")
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
# Looks at a call before its method does; raises one of our errors to refuse it.
CheckCall = Callable[[Context], None]


@runtime_checkable
class Informing(Protocol):
    """An error that tells the caller more than its text: what Google's clients look for in ErrorInfo."""

    reason: str
    error_info: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class UnaryMethod:
    """`answer` takes what `decode` returns, and returns a plain protobuf message or raises one of our errors."""

    decode: Callable[[bytes], Any]
    answer: Callable[[Any], Awaitable[object]]


def unary(kind: type[Q], answer: Callable[[Q], Awaitable[object]]) -> UnaryMethod:
    """`kind` is a plain protobuf message."""
    return UnaryMethod(kind.FromString, answer)  # type: ignore[attr-defined]


def unary_service(
    name: str, methods: Mapping[str, UnaryMethod], *, faults: FaultPlan, clock: Clock, check: CheckCall | None = None
) -> GrpcService:
    calls = _FaultyCalls(faults, clock, check)
    handlers = {
        method: grpc.unary_unary_rpc_method_handler(
            partial(calls.serve, method, served.answer),
            request_deserializer=served.decode,
            response_serializer=_encode,
        )
        for method, served in methods.items()
    }
    generic = grpc.method_handlers_generic_handler(name, handlers)
    return GrpcService(name, lambda server: server.add_generic_rpc_handlers((generic,)))


def _encode(message: Message) -> bytes:
    return message.SerializeToString()


class _FaultyCalls:
    def __init__(self, faults: FaultPlan, clock: Clock, check: CheckCall | None) -> None:
        self._faults = faults
        self._clock = clock
        self._check = check

    async def serve(
        self, method: str, answer: Callable[[Any], Awaitable[object]], request: object, context: Context
    ) -> object:
        fate = self._faults.choose(method)
        if fate.delay:
            await self._clock.sleep(fate.delay.total_seconds())
        if fate.refused is not None:
            await context.abort(grpc.StatusCode[fate.refused], "refused (injected fault)")
        outcomes = [await self._outcome(answer, request, context) for _ in range(fate.copies)]
        if fate.answer_lost is not None:
            await context.abort(grpc.StatusCode[fate.answer_lost], "the answer was lost (injected fault)")
        if isinstance(outcomes[0], OstinatoError):
            await context.abort_with_status(to_status(_status(outcomes[0])))
        return outcomes[0]

    async def _outcome(
        self, answer: Callable[[Any], Awaitable[object]], request: object, context: Context
    ) -> object | OstinatoError:
        try:
            if self._check is not None:
                self._check(context)
            return await answer(request)
        except OstinatoError as error:
            return error


def _status(error: OstinatoError) -> status_pb2.Status:
    status = status_pb2.Status(code=status_code(error).value[0], message=str(error))
    if isinstance(error, Informing):
        packed = PackedAny()
        packed.Pack(error_details_pb2.ErrorInfo(reason=error.reason, metadata=error.error_info))
        status.details.append(packed)
    return status
