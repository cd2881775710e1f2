"""Keys, tokens, passwords and the headers of targets stay out of the logs, whatever goes wrong."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
import structlog
from aiohttp import web

from ostinato.config import load_ingester_settings
from ostinato.scheduling.targets import HttpSpec
from ostinato.telemetry.logs import configure_logging
from ostinato_ingester.main import open_ingester
from tests.integration.engine.stage import Stage
from tests.integration.engine.test_engine import called_service, ended, running

KEY = "ab" * 32
SECRET_HEADER = "hush-hush-header"
SECRET_BODY = "hush-hush-body"


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """Everything that is logged in this process, at debug."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    captured = io.StringIO()
    configure_logging("debug", "test", stream=captured)
    yield captured
    logging.captureWarnings(capture=False)
    root.handlers[:] = before
    root.setLevel(level)
    structlog.reset_defaults()


@asynccontextmanager
async def ingesting(stage: Stage) -> AsyncIterator[str]:
    environ = {
        "OSTINATO_DATABASE_URL": stage.db.settings.url,
        "OSTINATO_SECRET": "00" * 32,  # as the engine's
        "OSTINATO_INGESTER_GRPC_ADDRESS": "127.0.0.1:0",
        "OSTINATO_INGESTER_HTTP_ADDRESS": "127.0.0.1:0",
        "OSTINATO_INGESTER_SHUTDOWN_GRACE": "1",
    }
    async with open_ingester(load_ingester_settings(environ)) as ingester:
        yield f"http://{ingester.http_address}/notify"


async def test_a_run_that_reports_leaves_no_secret_in_the_logs(stage: Stage, logged: io.StringIO) -> None:
    tokens: asyncio.Queue[str] = asyncio.Queue()

    async def accept(request: web.Request) -> web.Response:
        tokens.put_nowait(request.headers["Ostinato-Notify-Token"])
        return web.Response(status=202)

    async with called_service(accept) as url, ingesting(stage) as notify_url, running(stage):
        target = HttpSpec(
            url=f"{url}?key=hush-hush-query",
            multistage=True,
            headers=(("Authorization", f"Bearer {SECRET_HEADER}"),),
            body=SECRET_BODY,
        )
        job_id = await stage.add_job("j", target=target)
        await stage.emit_ids(job_id, "t1")
        async with asyncio.timeout(20):
            token = await tokens.get()
        statuses = [
            await notify(notify_url, sent, {"message_id": "m", "status": status})
            for sent, status in ((f"{token}x", "SUCCEEDED"), (token, "NONSENSE"), (token, "SUCCEEDED"))
        ]
        await ended(stage, job_id, 1)
    assert statuses[-1] in {200, 204}
    text = logged.getvalue()
    assert '"task_class": "launch-invocation"' in text
    assert '"path": "/notify"' in text
    secrets = (token, token.rpartition(".")[2], SECRET_BODY, "hush-hush")
    assert [secret for secret in secrets if secret in text] == []


async def notify(url: str, token: str, body: dict[str, str]) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession() as session, session.post(url, json=body, headers=headers) as response:
        return response.status
