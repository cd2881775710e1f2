from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter

from ostinato.config import split_address
from ostinato.errors import InvalidArgument, Unavailable
from ostinato.rpc.http_endpoint import NotReadyError, open_http_endpoint

SECRET = "postgresql://user:password@db"


async def is_ready() -> None:
    return None


open_endpoint = partial(open_http_endpoint, "127.0.0.1:0", ready=is_ready)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


async def ask(url: str, *, method: str = "GET", **options: Any) -> Answer:
    limit = aiohttp.ClientTimeout(total=10)
    async with aiohttp.ClientSession(timeout=limit) as session, session.request(method, url, **options) as answer:
        return Answer(answer.status, answer.headers, await answer.text())


def raising(error: Exception) -> web.RouteDef:
    async def handler(_: web.Request) -> web.Response:
        raise error

    return web.get("/raise", handler)


async def echo(request: web.Request) -> web.Response:
    return web.json_response({"length": len(await request.read())})


async def test_health_answers_without_asking_anybody() -> None:
    async def never_ready() -> None:
        raise AssertionError("healthz must not ask")

    async with open_endpoint(ready=never_ready) as endpoint:
        answer = await ask(f"{endpoint.url}/healthz")
    assert (answer.status, answer.json) == (200, {"status": "ok"})


async def test_ready_when_the_check_returns() -> None:
    async with open_endpoint() as endpoint:
        answer = await ask(f"{endpoint.url}/readyz")
    assert (answer.status, answer.json) == (200, {"status": "ready"})


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        pytest.param(NotReadyError("draining"), "draining", id="draining"),
        pytest.param(Unavailable(SECRET), "UNAVAILABLE", id="error of the tree"),
        pytest.param(RuntimeError(SECRET), "INTERNAL", id="unexpected error"),
    ],
)
async def test_readiness_gives_a_short_reason(error: Exception, reason: str) -> None:
    async def not_ready() -> None:
        raise error

    async with open_endpoint(ready=not_ready) as endpoint:
        answer = await ask(f"{endpoint.url}/readyz")
    assert (answer.status, answer.json) == (503, {"status": "not ready", "reason": reason})


async def test_a_ready_check_that_hangs_is_cut_off() -> None:
    async def hangs() -> None:
        await asyncio.Event().wait()

    async with open_endpoint(ready=hangs, ready_timeout=timedelta(milliseconds=20)) as endpoint:
        answer = await ask(f"{endpoint.url}/readyz")
    assert (answer.status, answer.json["reason"]) == (503, "TIMEOUT")


async def test_metrics_are_those_of_the_registry() -> None:
    registry = CollectorRegistry()
    Counter("notifications", "Told.", registry=registry).inc(3)
    async with open_endpoint(registry=registry) as endpoint:
        answer = await ask(f"{endpoint.url}/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert "notifications_total 3.0" in answer.text


async def test_unknown_paths_and_methods_are_json_errors() -> None:
    async with open_endpoint(routes=[web.post("/echo", echo)]) as endpoint:
        unknown = await ask(f"{endpoint.url}/nowhere")
        wrong_method = await ask(f"{endpoint.url}/echo")
    assert (unknown.status, unknown.json["error"]["reason"]) == (404, "NOT_FOUND")
    assert (wrong_method.status, wrong_method.json["error"]["reason"]) == (405, "METHOD_NOT_ALLOWED")
    assert wrong_method.headers["Allow"] == "POST"


async def test_a_body_above_the_limit_is_refused() -> None:
    async with open_endpoint(routes=[web.post("/echo", echo)], max_body_bytes=1000) as endpoint:
        largest = await ask(f"{endpoint.url}/echo", method="POST", data=b"x" * 1000)
        larger = await ask(f"{endpoint.url}/echo", method="POST", data=b"x" * 1001)
    assert largest.json == {"length": 1000}
    assert (larger.status, larger.json["error"]["reason"]) == (413, "REQUEST_TOO_LARGE")


async def test_the_text_of_an_unexpected_error_stays_inside() -> None:
    async with open_endpoint(routes=[raising(RuntimeError(SECRET))]) as endpoint:
        answer = await ask(f"{endpoint.url}/raise", headers={"Accept": "text/html"})
    assert (answer.status, answer.json["error"]["reason"]) == (500, "INTERNAL")
    assert SECRET not in answer.text


async def test_errors_of_the_tree_get_their_status() -> None:
    async with open_endpoint(routes=[raising(InvalidArgument.of("status", "is required"))]) as endpoint:
        answer = await ask(f"{endpoint.url}/raise")
    assert answer.status == 400
    assert answer.json["error"]["fields"] == [{"field": "status", "description": "is required"}]


async def test_a_handler_that_takes_too_long_is_answered_503() -> None:
    async def hangs(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async with open_endpoint(routes=[web.get("/hang", hangs)], request_timeout=timedelta(milliseconds=20)) as endpoint:
        answer = await ask(f"{endpoint.url}/hang")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")


async def test_a_body_that_does_not_arrive_is_answered_408() -> None:
    limit = timedelta(milliseconds=20)
    async with open_endpoint(routes=[web.post("/echo", echo)], request_timeout=limit) as endpoint:
        reader, writer = await asyncio.open_connection(*split_address(endpoint.address))
        writer.write(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
        status_line = await reader.readline()
        writer.close()
        await writer.wait_closed()
    assert b" 408 " in status_line


async def test_at_the_end_a_running_request_is_answered_and_new_ones_are_refused() -> None:
    started, finish = asyncio.Event(), asyncio.Event()

    async def slow(_: web.Request) -> web.Response:
        started.set()
        await finish.wait()
        return web.Response(text="done")

    async with open_endpoint(routes=[web.get("/slow", slow)]) as endpoint:
        running = asyncio.create_task(ask(f"{endpoint.url}/slow"))
        await started.wait()
        asyncio.get_running_loop().call_soon(finish.set)
    assert (await running).text == "done"
    with pytest.raises(aiohttp.ClientConnectorError):
        await ask(f"{endpoint.url}/slow")


async def test_an_address_in_use_is_told() -> None:
    async with open_endpoint() as endpoint:
        with pytest.raises(OSError, match="address already in use"):
            async with open_http_endpoint(endpoint.address, ready=is_ready):
                pass


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 10_000 + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ],
    ids=["negative length", "smuggled length", "huge header", "TLS"],
)
async def test_what_is_not_http_is_refused_without_an_alarm_in_the_log(
    request_bytes: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_endpoint() as endpoint:
        reader, writer = await asyncio.open_connection(*split_address(endpoint.address))
        writer.write(request_bytes)
        answer = await asyncio.wait_for(reader.read(), timeout=10)
        writer.close()
    assert answer.startswith((b"HTTP/1.0 400", b"HTTP/1.1 400"))
    assert not [record for record in caplog.records if record.levelname in {"ERROR", "WARNING"}]


async def test_a_body_that_is_not_encoded_as_told_is_bad_input() -> None:
    """It was answered 500."""
    async with open_endpoint(routes=[web.post("/echo", echo)]) as endpoint:
        answer = await ask(f"{endpoint.url}/echo", method="POST", data=b"no gzip", headers={"Content-Encoding": "gzip"})
    assert (answer.status, answer.json["error"]["reason"]) == (400, "BAD_REQUEST")
