"""What strangers send to the HTTP side: refused as their mistake, nothing is stored, the service stays well."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from ostinato.auth.notification_token import NotificationTokens
from ostinato.config import load_ingester_settings, split_address
from ostinato.storage.database import Database
from ostinato_ingester.main import open_ingester
from tests.integration.bad_input.fingerprint import fingerprint

SECRET = bytes(range(32))
TOKEN = NotificationTokens.configured([], SECRET).issue(
    9_063_279_517_011_443_680, 7, now=datetime.now(UTC), lifetime=timedelta(hours=1)
)
GOOD = json.dumps({"message_id": "m", "status": "SUCCEEDED"}).encode()


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Endpoint:
    address: str

    async def send(self, request: bytes) -> Answer:
        """The first answer; status 0 when the connection was closed without one."""
        reader, writer = await asyncio.open_connection(*split_address(self.address))
        try:
            async with asyncio.timeout(20):
                writer.write(request)
                head = await reader.readline()
                if not head:
                    return Answer(0, b"")
                length = 0
                while (line := await reader.readline()).strip():
                    name, _, value = line.partition(b":")
                    length = int(value) if name.lower() == b"content-length" else length
                return Answer(int(head.split()[1]), await reader.readexactly(length))
        finally:
            writer.close()


@pytest.fixture
async def ingester(database_url: str) -> AsyncIterator[Endpoint]:
    environ = {
        "OSTINATO_DATABASE_URL": database_url,
        "OSTINATO_SECRET": SECRET.hex(),
        "OSTINATO_INGESTER_GRPC_ADDRESS": "127.0.0.1:0",
        "OSTINATO_INGESTER_HTTP_ADDRESS": "127.0.0.1:0",
        "OSTINATO_INGESTER_SHUTDOWN_GRACE": "1",
    }
    async with open_ingester(load_ingester_settings(environ)) as opened:
        yield Endpoint(opened.http_address)


def request(
    body: bytes = GOOD,
    *,
    line: str = "POST /notify HTTP/1.1",
    token: str = TOKEN,
    length: str | None = None,
    more: str = "",
) -> bytes:
    length = str(len(body)) if length is None else length
    sized = f"Content-Length: {length}\r\n" if length else ""
    head = f"{line}\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n{sized}{more}\r\n"
    return head.encode("latin-1") + body


def chunked(*chunks: bytes) -> bytes:
    return request(b"".join(chunks), length="", more="Transfer-Encoding: chunked\r\n")


BODIES = {
    "empty": b"",
    "null": b"null",
    "list": b"[]",
    "number": b"7",
    "text": b'"SUCCEEDED"',
    "open": b'{"status":',
    "trailing": GOOD + b"x",
    "two": GOOD + GOOD,
    "NaN": b'{"status": NaN}',
    "infinite result": b'{"status": "SUCCEEDED", "result": {"x": Infinity}}',
    "huge number": b'{"status": "SUCCEEDED", "result": {"x": 1e999}}',
    "huge integer": b'{"status": "SUCCEEDED", "result": {"x": ' + b"9" * 10_000 + b"}}",
    "integer status": b'{"status": 2}',
    "wrong status": b'{"status": "DONE"}',
    "no status": b"{}",
    "status twice": b'{"status": "SUCCEEDED", "status": "FAILED"}',
    "unknown field": b'{"status": "SUCCEEDED", "state": 1}',
    "unknown long field": b'{"' + b"k" * 100_000 + b'": 1}',
    "lone surrogate": b'{"status": "FAILED", "error_message": "\\ud800"}',
    "lone surrogate in a key": b'{"status": "SUCCEEDED", "result": {"\\udfff": 1}}',
    "lone surrogate in a field's name": b'{"\\ud800": 1}',
    "raw NUL": b'{"status": "SUCCEEDED"}\0',
    "no UTF-8": b'{"status": "FAILED", "error_message": "\xff"}',
    "surrogate bytes": b'{"status": "FAILED", "error_message": "\xed\xa0\x80"}',
    "UTF-16": GOOD.decode().encode("utf-16"),
    "UTF-32": GOOD.decode().encode("utf-32"),
    "deep lists": b'{"result": ' + b"[" * 100_000,
    "deep objects": b'{"result": ' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"}",
    "rather deep": b'{"status": "SUCCEEDED", "result": {"a": ' + b"[" * 50 + b"]" * 50 + b"}}",
    "many lines": json.dumps({"status": "RUNNING", "log_lines": ["x"] * 1001}).encode(),
    "long line": json.dumps({"status": "RUNNING", "log_lines": ["x" * 5000]}).encode(),
    "lines of all kinds": b'{"status": "RUNNING", "log_lines": [1, null, {}, []]}',
    "long message id": json.dumps({"status": "RUNNING", "message_id": "x" * 201}).encode(),
    "large result": json.dumps({"status": "SUCCEEDED", "result": {"x": "x" * 70_000}}).encode(),
    "list as result": b'{"status": "SUCCEEDED", "result": []}',
    "pickle": b"\x80\x04\x95.",
    "XML": b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
    "form": b"status=SUCCEEDED",
    "too large": b"x" * (4 * 1024 * 1024 + 1),
}
# `status`: what they are answered; None: refused, or the connection is closed.
REQUESTS: dict[str, tuple[bytes, set[int]]] = {
    "GET": (request(line="GET /notify HTTP/1.1"), {405}),
    "PUT": (request(line="PUT /notify HTTP/1.1"), {405}),
    "DELETE": (request(line="DELETE /notify HTTP/1.1"), {405}),
    "TRACE": (request(line="TRACE /notify HTTP/1.1"), {405}),
    "lower-case method": (request(line="post /notify HTTP/1.1"), {400, 405}),
    "method of a stranger": (request(line="NOTIFY /notify HTTP/1.1"), {400, 405}),
    "endless method": (request(line=f"{'A' * 20_000} /notify HTTP/1.1"), {400, 405, 0}),
    "CONNECT": (request(line="CONNECT h:1 HTTP/1.1"), {400, 404, 405}),
    "another path": (request(line="POST /notify/ HTTP/1.1"), {404}),
    "upper-case path": (request(line="POST /NOTIFY HTTP/1.1"), {404}),
    "climbing path": (request(line="POST /../../etc/passwd HTTP/1.1"), {400, 404}),
    "NUL in the path": (request(line="POST /notify%00 HTTP/1.1"), {404}),
    "endless path": (request(line=f"POST /{'a' * 20_000} HTTP/1.1"), {400, 404, 414}),
    "space in the path": (request(line="POST /not ify HTTP/1.1"), {400}),
    "no version": (b"POST /notify\r\n\r\n", {400, 401}),
    "version 9": (request(line="POST /notify HTTP/9.9"), {400, 505}),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400, 404, 405, 505}),
    "TLS hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", {400}),
    "two lengths": (request(more="Content-Length: 0\r\n"), {400}),
    "two lengths in one": (request(length="5, 5"), {400}),
    "length and chunks": (request(more="Transfer-Encoding: chunked\r\n"), {400}),
    "negative length": (request(length="-1"), {400}),
    "signed length": (request(length="+5"), {400}),
    "hexadecimal length": (request(length="0x10"), {400}),
    "endless length": (request(length="9" * 400), {400, 413}),
    "chunks twice": (request(length="", more="Transfer-Encoding: chunked, chunked\r\n"), {400}),
    "unknown transfer coding": (request(length="", more="Transfer-Encoding: banana\r\n"), {400, 501}),
    "hidden transfer coding": (request(more="Transfer-Encoding:\tchunked\r\n"), {400}),
    "space before the colon": (request(more="Content-Length : 0\r\n"), {400}),
    "folded header": (request(more="X: a\r\n b\r\n"), {400}),
    "NUL in a header": (request(more="X: a\0b\r\n"), {400}),
    "bare line feed in a header": (request(more="X: a\rb\r\n"), {400}),
    "huge header": (request(more=f"X: {'y' * 20_000}\r\n"), {400, 431}),
    "many headers": (request(more="".join(f"X{n}: y\r\n" for n in range(5000))), {400, 431}),
    "no JSON, but chunks": (chunked(b"3\r\nabc\r\n", b"0\r\n\r\n"), {400}),
    "broken chunk": (chunked(b"zz\r\nabc\r\n", b"0\r\n\r\n"), {400}),
    "negative chunk": (chunked(b"-3\r\nabc\r\n", b"0\r\n\r\n"), {400}),
    "endless chunk": (chunked(b"f" * 400 + b"\r\nabc\r\n"), {400, 413}),
    "gzip of nonsense": (request(b"not gzip", more="Content-Encoding: gzip\r\n"), {400, 415}),
    "gzip bomb": (request(gzip.compress(bytes(64 << 20)), more="Content-Encoding: gzip\r\n"), {400, 413, 415}),
    "deflate bomb": (request(zlib.compress(bytes(64 << 20)), more="Content-Encoding: deflate\r\n"), {400, 413, 415}),
    "unknown encoding": (request(b"x", more="Content-Encoding: banana\r\n"), {400, 415}),
    "a cut token": (request(token=TOKEN[:-1]), {401}),
    "a token and more": (request(token=f"{TOKEN} x"), {401}),
    "no token": (request(token=""), {401}),
    "a token that is no text": (request(token="\xff\xfe"), {400, 401}),
    "a huge token": (request(token="A" * 7000), {401}),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_a_hostile_body_is_bad_input(ingester: Endpoint, database: Database, body: bytes) -> None:
    before = await fingerprint(database)
    answer = await ingester.send(request(body))
    assert answer.status in {400, 413}, answer
    error = json.loads(answer.body)["error"]
    assert error["reason"].isupper()
    assert 5 < len(error["message"]) <= 1000
    assert answer.status == 413 or error["fields"]
    assert await fingerprint(database) == before


@pytest.mark.parametrize(("sent", "statuses"), REQUESTS.values(), ids=REQUESTS)
async def test_a_hostile_request_is_refused(
    ingester: Endpoint, database: Database, sent: bytes, statuses: set[int], caplog: pytest.LogCaptureFixture
) -> None:
    before = await fingerprint(database)
    answer = await ingester.send(sent)
    assert answer.status in statuses, answer
    assert b"Traceback" not in answer.body
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []
    assert await fingerprint(database) == before
    assert (await ingester.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")).status == 200


async def test_a_request_behind_another_is_not_smuggled(ingester: Endpoint, database: Database) -> None:
    """A body that looks like a request is a body."""
    inner = request().replace(TOKEN.encode(), b"x")
    before = await fingerprint(database)
    answer = await ingester.send(request(inner))
    assert answer.status == 400
    assert await fingerprint(database) == before


async def test_the_good_request_is_taken(ingester: Endpoint, database: Database) -> None:
    """Or the tests above would prove nothing."""
    assert (await ingester.send(request())).status == 204
    size = f"{len(GOOD):x}\r\n".encode()
    assert (await ingester.send(chunked(size + GOOD + b"\r\n", b"0\r\n\r\n"))).status == 204
    assert (await ingester.send(request(gzip.compress(GOOD), more="Content-Encoding: gzip\r\n"))).status == 204
    assert await database.fetchval("select count(*) from tq_ready") == 3


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_probes_take_no_bodies_and_no_other_methods(ingester: Endpoint, path: str) -> None:
    assert (await ingester.send(request(b"", line=f"GET {path} HTTP/1.1"))).status == 200
    assert (await ingester.send(request(line=f"POST {path} HTTP/1.1"))).status == 405
    assert (await ingester.send(request(b"x" * 100_000, line=f"GET {path} HTTP/1.1"))).status == 200
