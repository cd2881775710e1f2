"""A token issuer with its keys on a local HTTP server that a test can take away, and time that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from aiohttp import web

from ostinato.clock import Clock
from ostinato.config.oidc import OidcSettings
from ostinato.localcloud.tokens import TokenIssuer
from ostinato.rpc.http_endpoint import open_http_endpoint

ISSUER = "http://127.0.0.1/issuer"
CALLER = "pusher@shop.example"
AUDIENCE = "https://ingester.example/pubsub/push"
HOST = "ingester.example"


class MovableClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.at = datetime(2026, 7, 1, 12, tzinfo=UTC)

    def move(self, by: timedelta) -> None:
        self.at += by

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing here waits")


@dataclass
class ServedIssuer:
    """`answers`: what is answered instead of the keys. `held`: answers wait until it is set."""

    clock: Clock
    tokens: TokenIssuer = field(default_factory=lambda: TokenIssuer(ISSUER))
    answers: Callable[[], web.Response] | None = None
    held: asyncio.Event | None = None
    asked: int = 0
    url: str = ""

    @property
    def settings(self) -> OidcSettings:
        return OidcSettings((ISSUER,), f"{self.url}/jwks")

    def issue(self, email: str = CALLER, audience: str = AUDIENCE, *, age: timedelta = timedelta(0)) -> str:
        return "Bearer " + self.tokens.issue(email, audience, now=self.clock.now() - age)

    def rotate(self) -> None:
        self.tokens = TokenIssuer(ISSUER)

    async def serve_keys(self, _: web.Request) -> web.Response:
        self.asked += 1
        if self.held is not None:
            await self.held.wait()
        return self.answers() if self.answers else web.json_response(self.tokens.jwks())


@asynccontextmanager
async def open_issuer(clock: Clock) -> AsyncIterator[ServedIssuer]:
    issuer = ServedIssuer(clock)

    async def ready() -> None: ...

    async with open_http_endpoint("127.0.0.1:0", ready=ready, routes=[web.get("/jwks", issuer.serve_keys)]) as endpoint:
        issuer.url = endpoint.url
        yield issuer
