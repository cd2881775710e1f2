"""The http target against real servers on this machine."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network

import pytest
from aiohttp import web

from ostinato.scheduling.invocation import InvocationStatus as S
from ostinato.scheduling.invocation_id import InvocationId
from ostinato.scheduling.targets import HttpSpec
from ostinato.telemetry.tracing import use_traceparent
from ostinato_engine.targets.address_rules import AddressRules
from ostinato_engine.targets.http import open_http_launcher
from ostinato_engine.targets.target import LaunchResult, Run

RUN = Run(
    InvocationId(7), 1, "projects/shop/jobs/report/invocations/7", attempt=1, scheduled_for=None,
    timeout=timedelta(hours=1),
)  # fmt: skip
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@dataclass
class Seen:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Service:
    """A server that answers everything by `answer`."""

    answer: Callable[[web.Request], Awaitable[web.StreamResponse]]
    url: str = ""
    port: int = 0
    seen: list[Seen] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(Seen(request.method, request.path, dict(request.headers), await request.read()))
        return await self.answer(request)


@asynccontextmanager
async def serving(
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]], host: str = "127.0.0.1"
) -> AsyncIterator[Service]:
    service = Service(answer)
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", service.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, host, 0).start()
    service.port = runner.addresses[0][1]
    service.url = f"http://{host}:{service.port}"
    try:
        yield service
    finally:
        await runner.cleanup()


def status(code: int, **rest: object) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=code, **rest)  # type: ignore[arg-type]

    return answer


async def launch(
    url: str,
    *,
    allow_loopback: bool = True,
    forbidden: Sequence[IPv4Network | IPv6Network] = (),
    seconds: float = 5,
    **spec: object,
) -> tuple[LaunchResult, list[str]]:
    log: list[str] = []
    values = {"url": url, "timeout": timedelta(seconds=seconds), **spec}
    async with open_http_launcher(
        rules=AddressRules(allow_loopback=allow_loopback, forbidden=forbidden),
        notify_url="http://127.0.0.1:7082/notify",
        issue_token=lambda run: f"token-of-{run.id}",
    ) as launcher:
        result = await launcher.launch(RUN, HttpSpec(**values), log.append)  # type: ignore[arg-type]
    return result, log


def reason_of(result: LaunchResult) -> str:
    assert result.status is S.FAILED
    assert result.error is not None
    return result.error.reason


async def test_an_answer_below_400_succeeds_and_the_request_names_the_run() -> None:
    async with serving(status(200, text="fine")) as service:
        result, log = await launch(service.url + "/run?x=%2F", body="hello", headers=(("X-Mine", "1"),))
    assert result == LaunchResult(S.SUCCEEDED)
    (seen,) = service.seen
    assert (seen.method, seen.path, seen.body) == ("POST", "/run", b"hello")
    assert seen.headers["Idempotency-Key"] == RUN.name
    assert seen.headers["X-Mine"] == "1"
    assert seen.headers["traceparent"].startswith("00-")
    assert log[0] == f"POST {service.url}/run?x=/"
    assert "HTTP 200 OK" in log
    assert log[-1] == "fine"


async def test_the_trace_of_the_task_goes_on_in_the_request() -> None:
    async with serving(status(200)) as service:
        with use_traceparent(TRACE):
            await launch(service.url)
    assert service.seen[0].headers["traceparent"] == TRACE


@pytest.mark.parametrize(("code", "retryable"), [(400, False), (404, False), (429, True), (500, True), (503, True)])
async def test_a_status_of_400_or_more_fails_with_the_status(code: int, retryable: bool) -> None:
    async with serving(status(code)) as service:
        result, _ = await launch(service.url)
    assert reason_of(result) == "HTTP_STATUS"
    assert result.error is not None
    assert (result.error.message, result.error.retryable) == (f"HTTP status {code}", retryable)


async def test_an_accepted_multistage_call_runs_on_and_carries_a_token_that_is_not_logged() -> None:
    async with serving(status(202)) as service:
        result, log = await launch(service.url, multistage=True)
    assert result.status is S.RUNNING
    assert service.seen[0].headers["Ostinato-Notify-Token"] == "token-of-7"
    assert service.seen[0].headers["Ostinato-Notify-Url"] == "http://127.0.0.1:7082/notify"
    assert not any("token-of-7" in line for line in log)


async def test_a_202_means_running_for_multistage_calls_only() -> None:
    async with serving(status(202)) as service:
        result, _ = await launch(service.url)
    assert result.status is S.SUCCEEDED


async def test_no_answer_in_time_fails() -> None:
    released = asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        await released.wait()
        return web.Response()

    async with serving(hang) as service:
        result, _ = await launch(service.url, seconds=0.1)
        released.set()
    assert reason_of(result) == "HTTP_TIMEOUT"


async def test_an_answer_that_never_ends_does_not_hold_the_run() -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x")
            await asyncio.sleep(0.01)

    async with serving(drip) as service:
        result, _ = await launch(service.url, seconds=0.2)
    assert reason_of(result) == "HTTP_TIMEOUT"


async def test_a_huge_answer_is_read_a_little_only() -> None:
    sent = 0

    async def flood(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        for _ in range(10_000):
            await response.write(b"x" * 10_000)
            sent += 10_000
        return response

    async with serving(flood) as service:
        result, log = await launch(service.url)
    assert result.status is S.SUCCEEDED
    assert log[-1].endswith("\n<truncated>")
    assert len(log[-1]) < 5000
    assert sent < 50_000_000


async def test_nobody_listening_fails() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        result, log = await launch(f"http://127.0.0.1:{unused.getsockname()[1]}/")
    assert reason_of(result) == "HTTP_CONNECTION"
    assert log[-1].startswith("Failed: ")


@pytest.mark.parametrize(
    "url", ["http://no-such-host.invalid/", f"http://{'a' * 70}.example/", "http://127.1/", "http://2130706433/"]
)
async def test_a_host_that_cannot_be_found_fails(url: str) -> None:
    result, _ = await launch(url)
    assert reason_of(result) == "HTTP_CONNECTION"


async def test_redirects_are_followed_and_logged() -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.path == "/a":
            return web.Response(status=307, headers={"Location": "/b"})
        return web.Response(text="there")

    async with serving(answer) as service:
        result, log = await launch(service.url + "/a", body="x")
    assert result.status is S.SUCCEEDED
    assert [(seen.method, seen.path, seen.body) for seen in service.seen] == [
        ("POST", "/a", b"x"),
        ("POST", "/b", b"x"),
    ]
    assert f"POST {service.url}/b" in log


async def test_more_than_five_redirects_fail() -> None:
    async with serving(status(302, headers={"Location": "/again"})) as service:
        result, _ = await launch(service.url)
    assert reason_of(result) == "HTTP_REDIRECT"
    assert len(service.seen) == 6


async def test_a_redirect_that_cannot_be_followed_fails() -> None:
    async with serving(status(302, headers={"Location": "ftp://elsewhere/"})) as service:
        result, _ = await launch(service.url)
    assert reason_of(result) == "HTTP_REDIRECT"


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://[::ffff:169.254.169.254]/",
        "http://[fe80::1]/",
        "http://100.100.100.200/",
    ],
)
async def test_metadata_addresses_are_refused_even_while_developing(url: str) -> None:
    result, _ = await launch(url, seconds=2)
    assert reason_of(result) == "ADDRESS_REFUSED"


async def test_a_redirect_to_a_metadata_address_is_refused() -> None:
    async with serving(status(307, headers={"Location": "http://169.254.169.254/latest/"})) as service:
        result, _ = await launch(service.url)
    assert reason_of(result) == "ADDRESS_REFUSED"
    assert len(service.seen) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "[::ffff:127.0.0.1]"])
async def test_loopback_is_refused_in_production_by_address_and_by_name(host: str) -> None:
    async with serving(status(200)) as service:
        result, _ = await launch(f"http://{host}:{service.port}/", allow_loopback=False)
    assert reason_of(result) == "ADDRESS_REFUSED"
    assert service.seen == []


@pytest.mark.parametrize("host", ["127.0.0.2", "[::ffff:127.0.0.2]"])
async def test_a_redirect_into_a_forbidden_network_is_refused(host: str) -> None:
    async with serving(status(200), host="127.0.0.2") as secret:
        to_it = status(307, headers={"Location": f"http://{host}:{secret.port}/"})
        async with serving(to_it) as service:
            result, _ = await launch(service.url, forbidden=[IPv4Network("127.0.0.2")])
            allowed, _ = await launch(service.url)
    assert reason_of(result) == "ADDRESS_REFUSED"
    assert result.error is not None
    assert "OSTINATO_ENGINE_FORBIDDEN_NETWORKS" in result.error.message
    assert (allowed.status, len(secret.seen)) == (S.SUCCEEDED, 1)


async def test_a_name_that_leads_into_a_forbidden_network_is_refused() -> None:
    async with serving(status(200)) as service:
        forbidden = [IPv4Network("127.0.0.0/8"), IPv6Network("::1")]
        result, _ = await launch(f"http://localhost:{service.port}/", forbidden=forbidden, seconds=2)
    assert reason_of(result) == "ADDRESS_REFUSED"
    assert service.seen == []


async def test_secrets_of_request_and_answer_are_not_logged() -> None:
    async with serving(status(200, headers={"Set-Cookie": "session=c00kie"})) as service:
        _, log = await launch(service.url, headers=(("Authorization", "Bearer s3cr3t"),))
    assert service.seen[0].headers["Authorization"] == "Bearer s3cr3t"
    # Neither is something that a random trace id may contain.
    assert not any("s3cr3t" in line or "c00kie" in line for line in log)


async def test_cookies_of_one_run_do_not_reach_another() -> None:
    async with (
        serving(status(200, headers={"Set-Cookie": "session=abc"})) as service,
        open_http_launcher(
            rules=AddressRules(allow_loopback=True), notify_url="", issue_token=lambda run: str(run.id)
        ) as launcher,
    ):
        for _ in range(2):
            await launcher.launch(RUN, HttpSpec(url=service.url), lambda _: None)
    assert "Cookie" not in service.seen[1].headers
