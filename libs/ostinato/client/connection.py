"""One call: who calls, how long it may take, and its error; the walk over the pages of a listing; and streams."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol, TypeVar

import grpc

from ostinato.client.client_error import client_error
from ostinato.telemetry.tracing import current_traceparent


class PageRequest(Protocol):
    page_token: str


class Page(Protocol):
    next_page_token: str


Q = TypeVar("Q")
A = TypeVar("A")
PQ = TypeVar("PQ", bound=PageRequest)
PA = TypeVar("PA", bound=Page)


@dataclass(frozen=True, slots=True)
class Connection:
    """`user` is sent as the development identity; empty: the server's default."""

    user: str
    call_limit: timedelta

    async def call(
        self, method: grpc.aio.UnaryUnaryMultiCallable[Q, A], request: Q, *, limit: timedelta | None = None
    ) -> A:
        """Raises ClientError."""
        deadline = limit or self.call_limit
        try:
            return await method(request, timeout=deadline.total_seconds(), metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            raise client_error(error) from error

    async def stream(self, method: grpc.aio.UnaryStreamMultiCallable[Q, A], request: Q) -> AsyncGenerator[A, None]:
        """Without a deadline. Leaving it, by `aclose`, cancels the call. Raises ClientError."""
        call = method(request, metadata=self._metadata)
        try:
            async for response in call:
                yield response
        except grpc.aio.AioRpcError as error:
            raise client_error(error) from error
        finally:
            call.cancel()

    @property
    def _metadata(self) -> tuple[tuple[str, str], ...]:
        """Who calls, and the trace that the call is part of, where the caller's program has one."""
        said = (("x-ostinato-user", self.user), ("traceparent", current_traceparent()))
        return tuple((name, value) for name, value in said if value)

    async def pages(self, method: grpc.aio.UnaryUnaryMultiCallable[PQ, PA], request: PQ) -> AsyncIterator[PA]:
        """Changes `request` while it walks."""
        while True:
            page = await self.call(method, request)
            yield page
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token
