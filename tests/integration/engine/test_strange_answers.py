"""Answers that no well-behaved service gives, byte by byte: each is a result of the run, and never called for twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from ostinato.scheduling.invocation import InvocationStatus as S
from ostinato.scheduling.targets import HttpSpec
from ostinato_engine.targets.http import MAX_REDIRECTS
from tests.integration.engine.stage import Stage
from tests.integration.engine.test_engine import ended, running


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[tuple[str, list[int]]]:
    """A server that answers every request with these bytes; the list counts the requests."""
    seen: list[int] = []

    async def answer_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        seen.append(len(seen))
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer_one, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", seen


def ok(*headers: bytes, body: bytes = b"", status: bytes = b"200 OK") -> bytes:
    lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), b"Connection: close", *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


STRANGE_BUT_FINE = {
    "header-bytes": ok(b"X-Name: \xff\xfe\xed\xa0\x80"),
    "reason-bytes": ok(status=b"200 \xff\xfe"),
    "media-type-bytes": ok(b"Content-Type: \xff\xfe;;;=", body=b"abc"),
    "nul-in-the-body": ok(b"Content-Type: text/plain", body=b"a\0b"),
    "charset-that-makes-surrogates": ok(b"Content-Type: text/plain; charset=utf-7", body=b"+2AA-"),
    "charset-that-only-encodes": ok(b"Content-Type: text/plain; charset=idna", body=b"xn--\xff"),
    "charset-that-always-fails": ok(b"Content-Type: text/plain; charset=undefined", body=b"abc"),
    "charset-with-nul": ok(b"Content-Type: text/plain; charset*=utf-8''a%00b", body=b"abc"),
}


@pytest.mark.parametrize("answer", STRANGE_BUT_FINE.values(), ids=STRANGE_BUT_FINE)
async def test_bytes_that_are_no_text_do_not_make_a_good_answer_fail_or_the_call_repeat(
    stage: Stage, answer: bytes
) -> None:
    async with answering(answer) as (url, seen), running(stage):
        job_id = await stage.add_job("report", target=HttpSpec(url=url, timeout=timedelta(seconds=5)))
        await stage.emit_ids(job_id, "t1")
        assert await ended(stage, job_id, 1) == [S.SUCCEEDED]
    assert len(seen) == 1


async def test_a_redirect_to_bytes_that_are_no_text_is_followed_and_counted(stage: Stage) -> None:
    redirect = ok(b"Location: /\xff\xfe", status=b"302 Found")
    async with answering(redirect) as (url, seen), running(stage):
        job_id = await stage.add_job("report", target=HttpSpec(url=url, timeout=timedelta(seconds=5)))
        await stage.emit_ids(job_id, "t1")
        assert await ended(stage, job_id, 1) == [S.FAILED]
    assert len(seen) == MAX_REDIRECTS + 1


async def test_an_answer_that_is_not_http_is_told_as_that(stage: Stage) -> None:
    async with answering(b"220 mail.example ESMTP\r\n\r\n") as (url, seen), running(stage):
        job_id = await stage.add_job("report", target=HttpSpec(url=url, timeout=timedelta(seconds=5)))
        await stage.emit_ids(job_id, "t1")
        assert await ended(stage, job_id, 1) == [S.FAILED]
    message = await stage.db.fetchval("select error_message from invocation_history where job_id = $1", job_id)
    assert message.startswith("the answer is not HTTP: ")
    assert len(seen) == 1
