"""An api without an engine behind it: a real gRPC server whose answers the test decides."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_status.rpc_status import to_status

from ostinato.errors import OstinatoError
from ostinato.pb.scheduler.v1 import admin_pb2, invocations_pb2, jobs_pb2, projects_pb2, triggers_pb2
from ostinato.rpc.error_mapping import to_rpc_status

FILES = (admin_pb2, invocations_pb2, jobs_pb2, projects_pb2, triggers_pb2)
Answer = Message | OstinatoError
Stream = Iterable[Answer]


@dataclass
class FakeApi:
    """`answers` by method name: what to answer, or how to answer a request. `requests` is what came, in order.

    Of a method that answers with a stream: its messages, perhaps with an error behind them.
    """

    address: str = ""
    answers: dict[str, Answer | Stream | Callable[[Message], Answer | Stream]] = field(default_factory=dict)
    requests: list[Message] = field(default_factory=list)
    users: list[str] = field(default_factory=list)
    traces: list[str] = field(default_factory=list)

    def answer(self, method: str, request: Message, context: grpc.ServicerContext) -> Message:
        (message,) = self.stream(method, request, context)
        return message

    def stream(self, method: str, request: Message, context: grpc.ServicerContext) -> Iterator[Message]:
        self.requests.append(request)
        metadata = dict(context.invocation_metadata())
        self.users.append(str(metadata.get("x-ostinato-user", "")))
        self.traces.append(str(metadata.get("traceparent", "")))
        found = self.answers[method]
        given = found(request) if callable(found) else found
        for each in [given] if isinstance(given, Message | OstinatoError) else given:
            if isinstance(each, OstinatoError):
                context.abort_with_status(to_status(to_rpc_status(each)))
            yield each


@contextmanager
def open_fake_api() -> Iterator[FakeApi]:
    api = FakeApi()
    server = grpc.server(ThreadPoolExecutor(max_workers=2))
    for file in FILES:
        for service in file.DESCRIPTOR.services_by_name.values():
            handlers = {method.name: _handler(api, method) for method in service.methods}
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, handlers),))
    api.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield api
    finally:
        server.stop(None).wait()


def _handler(api: FakeApi, method: MethodDescriptor) -> grpc.RpcMethodHandler:
    if method.server_streaming:
        kind, serve = grpc.unary_stream_rpc_method_handler, "stream"
    else:
        kind, serve = grpc.unary_unary_rpc_method_handler, "answer"
    return kind(
        lambda request, context: getattr(api, serve)(method.name, request, context),
        request_deserializer=GetMessageClass(method.input_type).FromString,
        response_serializer=lambda message: message.SerializeToString(),
    )
