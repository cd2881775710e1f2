"""The log of a run tells what happened and gives no secret away."""

from __future__ import annotations

import pytest
from yarl import URL

from ostinato_engine.targets.http_log import MAX_BODY_LOGGED, body_text, header_lines, request_line


@pytest.mark.parametrize(
    "name",
    [
        "Authorization", "proxy-authorization", "Cookie", "Set-Cookie", "X-Api-Key", "X-Auth-Token", "X-CSRF-Token",
        "Ostinato-Notify-Token", "X-Amz-Signature", "X-Amz-Security-Token", "x-session-id", "X-Secret", "X-Password",
    ],
)  # fmt: skip
def test_secret_headers_are_cut_out(name: str) -> None:
    assert list(header_lines({name: "s3cr3t"})) == [f"{name}: [cut out]"]


@pytest.mark.parametrize("name", ["Idempotency-Key", "Content-Type", "traceparent", "Ostinato-Invocation", "ETag"])
def test_other_headers_are_told(name: str) -> None:
    assert list(header_lines({name: "value"})) == [f"{name}: value"]


def test_there_is_an_end_to_headers_and_to_each_of_them() -> None:
    assert len(list(header_lines({f"h{number}": "v" for number in range(1000)}))) == 65
    assert len(next(iter(header_lines({"h": "v" * 100_000})))) < 600


def test_secrets_in_a_url_are_cut_out() -> None:
    line = request_line("GET", URL("https://u:pw@h.example/x?page=2&api_key=k1&X-Amz-Signature=k2&sig=k3"))
    assert "page=2" in line
    assert not any(secret in line for secret in ("pw", "k1", "k2", "k3"))


def body(data: bytes, content_type: str = "text/plain", **rest: object) -> str:
    values: dict[str, object] = {"charset": None, "encoding": "", "is_longer": False, **rest}
    return body_text(data, content_type=content_type, **values)  # type: ignore[arg-type]


def test_an_empty_body_is_told() -> None:
    assert body(b"") == "<empty body>"


@pytest.mark.parametrize(
    "content_type", ["text/html", "application/json", "application/problem+json", "application/xml", "TEXT/Plain"]
)
def test_text_is_kept(content_type: str) -> None:
    assert body("é".encode(), content_type) == "é"


@pytest.mark.parametrize("content_type", ["application/octet-stream", "image/png", "application/jsonx"])
def test_a_binary_body_is_only_mentioned(content_type: str) -> None:
    assert body(b"\x00\x01", content_type) == "<binary response>"


def test_a_packed_body_is_only_mentioned() -> None:
    assert body(b"\x1f\x8b", encoding="gzip") == "<binary response>"


def test_a_long_body_is_truncated() -> None:
    assert body(b"x" * (MAX_BODY_LOGGED + 1)) == "x" * MAX_BODY_LOGGED + "\n<truncated>"
    assert body(b"x", is_longer=True) == "x\n<truncated>"


def test_an_unknown_or_wrong_charset_does_no_harm() -> None:
    assert body(b"abc", charset="no-such-charset") == "abc"
    assert body(b"\xff", charset="utf-8") == "\N{REPLACEMENT CHARACTER}"
