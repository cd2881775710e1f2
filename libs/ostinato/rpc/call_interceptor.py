"""What every call goes through, in this order: deadline, identity, permission, parsing, the method; then one log line.

Anything raised on the way becomes a rich status. A method without an entry in the table of permissions is
refused, and so is an answer for which no permission was checked (deny by default). The same holds for methods that
answer with a stream; their log line comes when the stream ends.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import AbstractContextManager, aclosing, asynccontextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, NoReturn, TypeAlias

import grpc
from google.protobuf.message import DecodeError, Message
from grpc_status.rpc_status import to_status

from ostinato.auth.call_access import CallAccess
from ostinato.auth.identity import DEV_USER_METADATA, Identity, dev_identity
from ostinato.auth.permissions import METHOD_PERMISSIONS, OPEN_SERVICES, TOKEN_METHODS, Caller, Permission
from ostinato.clock import Clock
from ostinato.errors import InternalError, InvalidArgument, PermissionDenied
from ostinato.rpc.call_deadline import call_deadline
from ostinato.rpc.call_log import CallMetrics, CallRecord
from ostinato.rpc.error_mapping import to_rpc_status
from ostinato.rpc.running_streams import RunningStreams
from ostinato.telemetry.spans import OFF, Spans

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Metadata: TypeAlias = Mapping[str, list[str | bytes]]
Authenticate: TypeAlias = Callable[[Metadata], Identity]

MAX_REQUEST_BYTES = 4 * 1024 * 1024

_ACCESS: ContextVar[CallAccess] = ContextVar("access")


def current_access() -> CallAccess:
    """The rights check of the call that is being served. For servicers, which hand it on explicitly."""
    return _ACCESS.get()


def authenticate_dev(metadata: Metadata) -> Identity:
    """Dev mode: callers say who they are."""
    return dev_identity(metadata.get(DEV_USER_METADATA, []))


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Give it to `open_grpc_server`. `administrators` may everything. `streams` are those under way: drain them."""

    def __init__(
        self,
        *,
        administrators: Collection[str],
        clock: Clock,
        metrics: CallMetrics,
        authenticate: Authenticate = authenticate_dev,
        permissions: Mapping[str, Permission] = METHOD_PERMISSIONS,
        spans: Spans = OFF,
    ) -> None:
        self._administrators = frozenset(administrators)
        self._clock = clock
        self._metrics = metrics
        self._authenticate = authenticate
        self._permissions = permissions
        self.streams = RunningStreams(clock)
        self._spans = spans

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or method.split("/")[1] in OPEN_SERVICES:
            return handler
        # Bytes come in undecoded, so that malformed ones are answered like all other bad input.
        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(
                self._answering(method, handler),
                request_deserializer=None,
                response_serializer=handler.response_serializer,
            )
        if handler.unary_stream is not None:
            return grpc.unary_stream_rpc_method_handler(
                self._streaming(method, handler),
                request_deserializer=None,
                response_serializer=handler.response_serializer,
            )
        raise InternalError(f"{method} takes a stream, which this interceptor does not check")

    def _answering(self, method: str, handler: Handler) -> Callable[[bytes, Context], Awaitable[Message]]:
        async def serve(raw: bytes, context: Context) -> Message:
            record = CallRecord(method, context.peer(), self._clock, request_bytes=len(raw))
            async with self._recorded(record, context) as metadata, call_deadline(context.time_remaining()):
                return await self._answer(handler, record, metadata, raw, context)

        return serve

    def _streaming(self, method: str, handler: Handler) -> Callable[[bytes, Context], Awaitable[None]]:
        # No generator: everything happens on the call's own task, so that its end ends everything.
        async def serve(raw: bytes, context: Context) -> None:
            record = CallRecord(method, context.peer(), self._clock, request_bytes=len(raw))
            async with (
                self._recorded(record, context) as metadata,
                aclosing(self._stream(handler, record, metadata, raw, context)) as messages,
            ):
                with self.streams.one(context.time_remaining()) as stream:
                    while (message := await stream.next_of(messages)) is not None:
                        await context.write(message)  # returns when the transport has taken it
                        record.responses += 1

        return serve

    @asynccontextmanager
    async def _recorded(self, record: CallRecord, context: Context) -> AsyncIterator[Metadata]:
        """The trace and the one log line of a call; an error becomes its status. Yields the call's metadata."""
        metadata = _read_metadata(context)
        with record.in_trace(self._spans, _traceparent(metadata)):
            try:
                yield metadata
            except Exception as error:  # noqa: BLE001 - the outermost catch of a call: everything becomes a status
                record.finish(self._metrics, error)
                await _abort(context, error)
            except BaseException as error:
                record.finish(self._metrics, error)
                raise
            record.finish(self._metrics, None)

    async def _answer(
        self, handler: Handler, record: CallRecord, metadata: Metadata, raw: bytes, context: Context
    ) -> Message:
        access = self._open_access(record, metadata)
        request = _parse(handler, raw)
        with _current(access):
            # The stubs of grpc know the synchronous server's methods only.
            method: Callable[[Message, Context], Awaitable[Message]] = handler.unary_unary  # type: ignore[assignment]
            answer = await method(request, context)
        _require_checked(record, access)
        return answer

    async def _stream(
        self, handler: Handler, record: CallRecord, metadata: Metadata, raw: bytes, context: Context
    ) -> AsyncGenerator[Message, None]:
        access = self._open_access(record, metadata)
        request = _parse(handler, raw)
        with _current(access):
            method: Callable[..., AsyncGenerator[Message, None]] = handler.unary_stream  # type: ignore[assignment]
            async with aclosing(method(request, context)) as messages:
                async for message in messages:
                    _require_checked(record, access)
                    yield message
        _require_checked(record, access)

    def _open_access(self, record: CallRecord, metadata: Metadata) -> CallAccess | None:
        """None for methods whose requests prove themselves."""
        if record.method in TOKEN_METHODS:
            return None
        identity = self._authenticate(metadata)
        record.caller = identity
        permission = self._permissions.get(record.method)
        if permission is None:
            raise PermissionDenied(f"nobody may call {record.method}")
        access = CallAccess(Caller(identity, is_admin=identity in self._administrators), permission)
        if permission is Permission.ADMIN:
            access.require_admin()
        return access


def _require_checked(record: CallRecord, access: CallAccess | None) -> None:
    if access is not None and not access.asked:
        raise InternalError(f"{record.method} answered without checking {access.permission}")


def _current(access: CallAccess | None) -> AbstractContextManager[None]:
    return nullcontext() if access is None else _Current(access)


class _Current(AbstractContextManager[None]):
    def __init__(self, access: CallAccess) -> None:
        self._access = access

    def __enter__(self) -> None:
        self._token = _ACCESS.set(self._access)

    def __exit__(self, *_: object) -> None:
        _ACCESS.reset(self._token)


def _read_metadata(context: Context) -> Metadata:
    metadata: dict[str, list[str | bytes]] = {}
    for key, value in context.invocation_metadata() or ():
        metadata.setdefault(key, []).append(value)
    return metadata


def _traceparent(metadata: Metadata) -> str | None:
    values = metadata.get("traceparent", [])
    return values[0] if len(values) == 1 and isinstance(values[0], str) else None


def _parse(handler: Handler, raw: bytes) -> Message:
    if len(raw) > MAX_REQUEST_BYTES:
        raise InvalidArgument.of("request", f"must be at most {MAX_REQUEST_BYTES} bytes")
    parse = handler.request_deserializer
    assert parse is not None, "generated services always have one"
    try:
        request: Message = parse(raw)
    except DecodeError:
        raise InvalidArgument.of("request", "must be a message that can be decoded") from None
    return request


async def _abort(context: Context, error: Exception) -> NoReturn:
    await context.abort_with_status(to_status(to_rpc_status(error)))
    raise AssertionError("aborting always raises")
