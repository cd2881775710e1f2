"""What a request says about its run, and what it keeps over a redirect."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ostinato.scheduling.invocation_id import InvocationId
from ostinato.scheduling.targets import HttpSpec
from ostinato_engine.targets.http_request import HttpRequest, Notify, first_request, next_request
from ostinato_engine.targets.target import Run

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NOTIFY = Notify("http://ingester/notify", "tok")


def run(name: str = "projects/shop/jobs/report/invocations/7", slot: datetime | None = None) -> Run:
    return Run(InvocationId(7), 1, name, attempt=1, scheduled_for=slot, timeout=timedelta(hours=1))


def request(notify: Notify | None = None, *, slot: datetime | None = None, **spec: object) -> HttpRequest:
    values = {"url": "https://svc.example/run", **spec}
    return first_request(HttpSpec(**values), run(slot=slot), traceparent=TRACE, notify=notify)  # type: ignore[arg-type]


def test_the_run_is_named_in_the_headers() -> None:
    headers = request(slot=datetime(2026, 3, 1, 12, 30, tzinfo=UTC)).headers
    assert headers["Idempotency-Key"] == "projects/shop/jobs/report/invocations/7"
    assert headers["Ostinato-Invocation"] == "projects/shop/jobs/report/invocations/7"
    assert headers["Ostinato-Attempt"] == "1"
    assert headers["Ostinato-Scheduled-For"] == "2026-03-01T12:30:00Z"
    assert headers["traceparent"] == TRACE


def test_a_run_without_a_slot_names_none() -> None:
    assert "Ostinato-Scheduled-For" not in request().headers


def test_names_are_percent_encoded() -> None:
    named = run("projects/shop/jobs/daily report (eu)/invocations/7")
    built = first_request(HttpSpec(url="http://h/"), named, traceparent=TRACE, notify=None)
    assert built.headers["Idempotency-Key"] == "projects/shop/jobs/daily%20report%20%28eu%29/invocations/7"


def test_only_a_multistage_run_carries_a_token() -> None:
    assert "Ostinato-Notify-Token" not in request().headers
    headers = request(NOTIFY).headers
    assert (headers["Ostinato-Notify-Token"], headers["Ostinato-Notify-Url"]) == ("tok", "http://ingester/notify")


@pytest.mark.parametrize("name", ["idempotency-key", "OSTINATO-INVOCATION", "Traceparent", "ostinato-notify-token"])
def test_headers_of_the_job_never_replace_those_of_the_run(name: str) -> None:
    headers = request(NOTIFY, headers=((name, "forged"),)).headers
    assert headers.getall(name) != ["forged"]
    assert len(headers.getall(name)) == 1


def test_headers_of_the_job_replace_the_defaults() -> None:
    headers = request(body="{}", headers=(("content-type", "application/json"), ("user-agent", "me"))).headers
    assert headers.getall("Content-Type") == ["application/json"]
    assert headers.getall("User-Agent") == ["me"]


def test_a_body_without_a_type_is_plain_text_and_no_body_has_no_type() -> None:
    assert request(body="hello").headers["Content-Type"] == "text/plain; charset=utf-8"
    assert "Content-Type" not in request().headers


def test_a_query_is_sent_as_it_was_written() -> None:
    assert str(request(url="https://svc.example/a%20b?x=%2F&y=1").url) == "https://svc.example/a%20b?x=%2F&y=1"


@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_post_becomes_a_get_without_its_body(status: int) -> None:
    following = next_request(request(body="x"), status, "/elsewhere")
    assert (following.method, following.body) == ("GET", b"")
    assert str(following.url) == "https://svc.example/elsewhere"
    assert "Content-Type" not in following.headers


@pytest.mark.parametrize("status", [307, 308])
def test_a_temporary_or_permanent_redirect_keeps_method_and_body(status: int) -> None:
    following = next_request(request(body="x"), status, "/elsewhere")
    assert (following.method, following.body) == ("POST", b"x")


@pytest.mark.parametrize(
    ("before", "location", "keeps"),
    [
        ("https://svc.example/run", "/elsewhere", True),
        ("http://svc.example/run", "https://svc.example/run", True),
        ("https://svc.example/run", "https://svc.example:8443/run", True),
        ("https://svc.example/run", "http://svc.example/run", False),
        ("https://svc.example/run", "https://evil.example/run", False),
        ("https://svc.example/run", "//evil.example/run", False),
    ],
)
def test_credentials_go_to_the_host_they_were_meant_for_only(before: str, location: str, keeps: bool) -> None:
    first = request(NOTIFY, url=before, headers=(("Authorization", "Bearer x"), ("Cookie", "a=b")))
    following = next_request(first, 307, location)
    kept = [name in following.headers for name in ("Authorization", "Cookie", "Ostinato-Notify-Token")]
    assert kept == [keeps] * 3
    assert "Idempotency-Key" in following.headers


@pytest.mark.parametrize("location", ["ftp://svc.example/", "file:///etc/passwd", "javascript:alert(1)", "http://[::1"])
def test_a_redirect_to_something_else_than_http_is_refused(location: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        next_request(request(), 302, location)


def test_a_user_name_in_a_location_is_dropped() -> None:
    assert str(next_request(request(), 302, "https://user:pw@other.example/x").url) == "https://other.example/x"
