"""What a job definition may say. Every mistake is reported, at its path."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from ostinato.scheduling.deadline import RunTimeouts
from ostinato.scheduling.job_definition import (
    Downstream,
    Intake,
    JobDefinition,
    Overflow,
    PolicyKind,
    RetryPolicy,
    TriggeringPolicy,
    TriggerOn,
)
from ostinato.scheduling.targets import HttpSpec, NoopSpec, TargetSpec
from ostinato.scheduling.validate_job import validate_job, validate_project_id

LOGARITHMIC, NEWEST = PolicyKind.LOGARITHMIC_BATCHING, PolicyKind.NEWEST_FIRST
GOOD = JobDefinition("nightly-report")
REPORTING = HttpSpec(url="http://h/", multistage=True)
URL = "http://127.0.0.1:9000/report"


def broken(job: JobDefinition, **kwargs: Any) -> dict[str, str]:
    """Path → rule."""
    return {violation.path: violation.rule for violation in validate_job(job, "jobs[0]", **kwargs)}


def broken_http(**fields: Any) -> dict[str, str]:
    return broken(replace(GOOD, target=HttpSpec(**({"url": URL} | fields))))


def test_the_defaults_are_allowed() -> None:
    assert broken(GOOD) == {}


def test_a_definition_that_uses_everything_is_allowed() -> None:
    job = JobDefinition(
        id="Report (EU) v1.2",
        display_name="Der tägliche Bericht",
        labels={"team": "shop", "example.com/tier_x": ""},
        annotations={"why": "because\nof reasons"},
        owner="user:ana@shop.example",
        realm="reports/eu",
        schedule="0 3 * * *",
        policy=TriggeringPolicy(max_concurrent_invocations=1000, max_batch_size=1000),
        target=HttpSpec(
            url="https://[::1]:8443/a?b=c%20d",
            method="PUT",
            headers=(("Authorization", "Bearer x y"), ("X-Empty", "")),
            body="ä" * 1000,
            timeout=timedelta(hours=24),
            multistage=True,
        ),
        downstream=(Downstream("next"), Downstream("next", TriggerOn.FAILURE)),
        timeout=timedelta(days=7),
        heartbeat_timeout=timedelta(seconds=1),
        retry=RetryPolicy(10, timedelta(microseconds=1), timedelta(hours=24)),
    )
    assert broken(job) == {}


def test_all_mistakes_are_reported_at_once() -> None:
    job = JobDefinition(
        id="a/b",
        realm="@other",
        schedule="* * * *",
        policy=TriggeringPolicy(max_concurrent_invocations=0, max_batch_size=1001),
        target=HttpSpec(url="", method="get", timeout=timedelta(0)),
        downstream=(Downstream(""),),
        timeout=timedelta(days=8),
    )
    assert set(broken(job)) == {
        "jobs[0].id",
        "jobs[0].realm",
        "jobs[0].schedule",
        "jobs[0].triggering_policy.max_concurrent_invocations",
        "jobs[0].triggering_policy.max_batch_size",
        "jobs[0].http.url",
        "jobs[0].http.method",
        "jobs[0].http.timeout",
        "jobs[0].downstream[0]",
        "jobs[0].timeout",
    }


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("id", "", "is required"),
        ("id", "x" * 101, "1 to 100"),
        ("display_name", "x" * 201, "at most 200 bytes"),
        ("display_name", "ä" * 101, "at most 200 bytes"),
        ("display_name", "two\nlines", "control characters"),
        ("owner", "x" * 201, "at most 200 bytes"),
        ("owner", "a\x00", "control characters"),
        ("realm", "", "1 to 400"),
        ("realm", "Upper", "1 to 400"),
        ("realm", "x" * 401, "1 to 400"),
        ("schedule", "", "is empty"),
        ("schedule", "0 0 W * *", "column 5"),
        ("timeout", timedelta(milliseconds=999), "between 1s and 7 days"),
        ("labels", {f"k{n}": "" for n in range(65)}, "at most 64"),
        ("annotations", {f"k{n}": "" for n in range(65)}, "at most 64"),
        ("downstream", tuple(Downstream(f"j{n}") for n in range(101)), "at most 100"),
    ],
)
def test_a_field_that_breaks_its_rule(field: str, value: object, rule: str) -> None:
    found = broken(replace(GOOD, **{field: value}))  # type: ignore[arg-type]
    assert list(found) == [f"jobs[0].{field}"]
    assert rule in found[f"jobs[0].{field}"]


@pytest.mark.parametrize("realm", ["@root", "@legacy", "a", "a/b_c.d-9"])
def test_realms(realm: str) -> None:
    assert broken(replace(GOOD, realm=realm)) == {}


@pytest.mark.parametrize(("field", "limit"), [("labels", 256), ("annotations", 4096)])
def test_labels_and_annotations(field: str, limit: int) -> None:
    pairs = {"fine": "x" * limit, "too long": "x", "long": "x" * (limit + 1)}
    found = broken(replace(GOOD, **{field: pairs}))  # type: ignore[arg-type]
    assert set(found) == {f"jobs[0].{field}['too long']", f"jobs[0].{field}['long']"}


def test_the_same_downstream_job_twice() -> None:
    found = broken(replace(GOOD, downstream=(Downstream("a"), Downstream("b"), Downstream("a"))))
    assert found == {"jobs[0].downstream[2]": "names 'a' on SUCCESS a second time"}


def test_downstream_entries_are_reported_where_they_were_written() -> None:
    job = replace(GOOD, downstream=(Downstream("a"), Downstream("b/c")))
    assert set(broken(job, downstream_paths=["x", "jobs[0].triggers[0]"])) == {"jobs[0].triggers[0]"}


@pytest.mark.parametrize(("concurrent", "batch", "count"), [(1, 1, 0), (1000, 1000, 0), (1001, -1, 2)])
def test_policies(concurrent: int, batch: int, count: int) -> None:
    assert (
        len(broken(replace(GOOD, policy=TriggeringPolicy(max_concurrent_invocations=concurrent, max_batch_size=batch))))
        == count
    )


@pytest.mark.parametrize(
    ("policy", "field", "rule"),
    [
        (TriggeringPolicy(LOGARITHMIC), "log_base", "1.0001"),
        (TriggeringPolicy(LOGARITHMIC, log_base=0.5), "log_base", "between 1.0001 and 1e+06 with LOGARITHMIC_BATCHING"),
        (TriggeringPolicy(LOGARITHMIC, log_base=math.nan), "log_base", "1.0001"),
        (TriggeringPolicy(LOGARITHMIC, log_base=math.inf), "log_base", "1.0001"),
        (TriggeringPolicy(log_base=2), "log_base", "is for LOGARITHMIC_BATCHING"),
        (TriggeringPolicy(pending_timeout=timedelta(1)), "pending_timeout", "is for NEWEST_FIRST"),
        (TriggeringPolicy(NEWEST, pending_timeout=timedelta(-1)), "pending_timeout", "more than 0s"),
        (TriggeringPolicy(NEWEST, pending_timeout=timedelta(367)), "pending_timeout", "at most 366 days"),
    ],
)
def test_what_belongs_to_one_kind_of_policy(policy: TriggeringPolicy, field: str, rule: str) -> None:
    found = broken(replace(GOOD, policy=policy))
    assert list(found) == [f"jobs[0].triggering_policy.{field}"]
    assert rule in found[f"jobs[0].triggering_policy.{field}"]


@pytest.mark.parametrize(
    ("intake", "fields"),
    [
        (Intake(1), []),
        (Intake(5000, Overflow.REJECT, timedelta(hours=24)), []),
        (Intake(0), ["max_pending_triggers"]),
        (Intake(5001, min_interval=timedelta(hours=25)), ["max_pending_triggers", "min_triage_interval"]),
        (Intake(min_interval=timedelta(seconds=-1)), ["min_triage_interval"]),
    ],
)
def test_how_much_may_wait_and_how_often_something_starts(intake: Intake, fields: list[str]) -> None:
    assert list(broken(replace(GOOD, intake=intake))) == [f"jobs[0].{field}" for field in fields]


@pytest.mark.parametrize(
    "policy",
    [
        TriggeringPolicy(LOGARITHMIC, log_base=1.0001),
        TriggeringPolicy(NEWEST),
        TriggeringPolicy(NEWEST, pending_timeout=timedelta(milliseconds=1)),
    ],
)
def test_other_policies(policy: TriggeringPolicy) -> None:
    assert broken(replace(GOOD, policy=policy)) == {}


@pytest.mark.parametrize(
    ("spec", "paths"),
    [
        (NoopSpec(timedelta(hours=24), 100), set()),
        (NoopSpec(timedelta(hours=24, microseconds=1), 101), {"jobs[0].noop.sleep", "jobs[0].noop.triggers_count"}),
        (NoopSpec(timedelta(microseconds=-1), -1), {"jobs[0].noop.sleep", "jobs[0].noop.triggers_count"}),
    ],
)
def test_noop(spec: NoopSpec, paths: set[str]) -> None:
    assert set(broken(replace(GOOD, target=spec))) == paths


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("", "is required"),
        ("/report", "absolute"),
        ("ftp://host/x", "absolute"),
        ("http://", "absolute"),
        ("http:///path", "absolute"),
        ("http://:80/", "absolute"),
        ("http://host:port/", "absolute"),
        ("http://host:65536/", "absolute"),
        ("http://[::1/", "absolute"),
        ("http://host/a b", "printable ASCII"),
        ("http://host/\n", "printable ASCII"),
        ("http://höst/", "printable ASCII"),
        ("http://ana:secret@host/", "user name"),
        ("http://ana@host/", "user name"),
        ("http://host/" + "x" * 2000, "at most 2000"),
    ],
)
def test_urls(url: str, rule: str) -> None:
    found = broken_http(url=url)
    assert list(found) == ["jobs[0].http.url"]
    assert rule in found["jobs[0].http.url"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "M-SEARCH"])
def test_methods(method: str) -> None:
    assert broken_http(method=method) == {}


@pytest.mark.parametrize("method", ["", "get", "CONNECT", "TRACE", "GE T", "GET\r\n", "X" * 21])
def test_methods_that_are_refused(method: str) -> None:
    assert set(broken_http(method=method)) == {"jobs[0].http.method"}


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("", "x", "no HTTP header name"),
        ("a b", "x", "no HTTP header name"),
        ("a:", "x", "no HTTP header name"),
        ("Idempotency-Key", "x", "reserved"),
        ("TRACEPARENT", "x", "reserved"),
        ("Ostinato-Anything", "x", "reserved"),
        ("host", "x", "reserved"),
        ("Content-Length", "1", "reserved"),
        ("X-A", "a\r\nX-B: c", "one line"),
        ("X-A", "ä", "printable ASCII"),
        ("X-A", "x" * 4097, "at most 4096"),
    ],
)
def test_headers_that_are_refused(name: str, value: str, rule: str) -> None:
    found = broken_http(headers=(("Accept", "*/*"), (name, value)))
    assert list(found) == [f"jobs[0].http.headers[{name!r}]"]
    assert rule in found[f"jobs[0].http.headers[{name!r}]"]


def test_headers_that_differ_in_case_only() -> None:
    found = broken_http(headers=(("X-A", "1"), ("x-a", "2")))
    assert set(found) == {"jobs[0].http.headers['X-A']", "jobs[0].http.headers['x-a']"}


def test_too_many_headers() -> None:
    assert set(broken_http(headers=tuple((f"X-{n}", "") for n in range(65)))) == {"jobs[0].http.headers"}


def test_a_body_is_measured_in_bytes() -> None:
    assert broken_http(body="x" * 65_536) == {}
    assert set(broken_http(body="ä" * 32_769)) == {"jobs[0].http.body"}


@pytest.mark.parametrize("timeout", [timedelta(0), timedelta(milliseconds=999), timedelta(days=7, seconds=1)])
def test_heartbeat_timeouts_that_are_refused(timeout: timedelta) -> None:
    assert broken(replace(GOOD, target=REPORTING, heartbeat_timeout=timeout)) == {
        "jobs[0].heartbeat_timeout": "must be between 1s and 7 days"
    }


@pytest.mark.parametrize("target", [NoopSpec(sleep=timedelta(hours=1)), replace(REPORTING, multistage=False)])
def test_only_work_that_reports_has_a_heartbeat_timeout(target: TargetSpec) -> None:
    job = replace(GOOD, target=target, heartbeat_timeout=timedelta(minutes=1))
    rule = "is for http with multistage: other work gives no signs of life"
    assert broken(job) == {"jobs[0].heartbeat_timeout": rule}
    assert job.timeouts == RunTimeouts(job.timeout)
    assert replace(job, target=REPORTING).timeouts == RunTimeouts(job.timeout, timedelta(minutes=1), can_report=True)


@pytest.mark.parametrize(
    ("retry", "field", "rule"),
    [
        (RetryPolicy(0), "max_attempts", "must be between 1 and 10"),
        (RetryPolicy(-1), "max_attempts", "must be between 1 and 10"),
        (RetryPolicy(11), "max_attempts", "must be between 1 and 10"),
        (RetryPolicy(2, min_backoff=timedelta(0)), "min_backoff", "must be more than 0s and at most 24 hours"),
        (
            RetryPolicy(2, max_backoff=timedelta(hours=24, seconds=1)),
            "max_backoff",
            "must be more than 0s and at most 24 hours",
        ),
        (
            RetryPolicy(2, timedelta(minutes=2), timedelta(minutes=1)),
            "max_backoff",
            "must be at least min_backoff, which is 120s",
        ),
    ],
)
def test_retry_policies_that_are_refused(retry: RetryPolicy, field: str, rule: str) -> None:
    assert broken(replace(GOOD, retry=retry)) == {f"jobs[0].retry.{field}": rule}


def test_every_mistake_of_a_retry_policy_is_told() -> None:
    retry = RetryPolicy(99, timedelta(seconds=-1), timedelta(seconds=-2))
    assert set(broken(replace(GOOD, retry=retry))) == {
        "jobs[0].retry.max_attempts",
        "jobs[0].retry.min_backoff",
        "jobs[0].retry.max_backoff",
    }


def test_project_ids() -> None:
    assert validate_project_id("shop", "project") == []
    (violation,) = validate_project_id("Shop", "project")
    assert violation.path == "project"
