from __future__ import annotations

from datetime import timedelta

import pytest
from google.protobuf.json_format import MessageToDict

from ostinato.jobflow.engine_tasks import fair_key_of_job
from ostinato.pb.ingest.v1.notifications_pb2 import NotifyRequest
from ostinato.storage.database import Database
from ostinato_ingester.main import Ingester
from tests.integration.ingester.running_work import (
    INVOCATION,
    JOB,
    ask_http,
    issue_token,
    notify_http,
    stored_tasks,
)


async def test_an_accepted_notification_is_a_committed_task(ingester: Ingester, database: Database) -> None:
    body = {
        "message_id": "m-1",
        "status": "FAILED",
        "result": {"rows": 3, "parts": ["a", None]},
        "log_lines": ["reading", "é"],
        "error_message": "disk full",
    }
    answer = await notify_http(ingester, body)
    assert (answer.status, answer.text) == (204, "")
    (task,) = await stored_tasks(database)
    assert task.invocation_id == INVOCATION
    assert task.notification.token == ""
    assert MessageToDict(task.notification, preserving_proto_field_name=True) == body | {
        "result": {"rows": 3.0, "parts": ["a", None]}
    }


async def test_the_scheme_is_read_in_any_case(ingester: Ingester, database: Database) -> None:
    answer = await notify_http(ingester, {"status": "RUNNING"}, authorization=f"bearer {issue_token()}")
    assert answer.status == 204
    assert [task.notification.status for task in await stored_tasks(database)] == [NotifyRequest.RUNNING]


async def test_the_same_message_may_come_twice(ingester: Ingester, database: Database) -> None:
    for _ in range(2):
        assert (await notify_http(ingester, {"message_id": "m", "status": "SUCCEEDED"})).status == 204
    assert len(await stored_tasks(database)) == 2


async def test_reports_of_one_job_are_a_share_of_their_own(ingester: Ingester, database: Database) -> None:
    """A sender that floods must not hold up what runs of other jobs have to say."""
    assert (await notify_http(ingester, {"status": "RUNNING"})).status == 204
    rows = await database.fetch("select fair_key from tq_ready")
    assert {row["fair_key"] for row in rows} == {fair_key_of_job(JOB)}


async def test_the_trace_of_the_request_goes_on_with_the_task(ingester: Ingester, database: Database) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    await notify_http(ingester, {"status": "SUCCEEDED"}, headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"})
    header = await database.fetchval("select header from tq_ready")
    assert trace.encode() in header


@pytest.mark.parametrize(
    "authorization",
    [
        pytest.param("", id="none"),
        pytest.param("Bearer", id="no token"),
        pytest.param("Bearer ", id="empty token"),
        pytest.param("Bearer token", id="a word"),
        pytest.param(f"Basic {issue_token()}", id="another scheme"),
        pytest.param(issue_token(), id="no scheme"),
        pytest.param(f"Bearer {issue_token(secret=b'x' * 32)}", id="signed by a stranger"),
        pytest.param(f"Bearer {issue_token(age=timedelta(hours=49))}", id="expired"),
        pytest.param(f"Bearer {issue_token(age=timedelta(hours=-5))}", id="from the future"),
        pytest.param(f"Bearer {issue_token()[:-1]}", id="cut"),
        pytest.param(f"Bearer {'A' * 5000}", id="long"),
        pytest.param("Bearer ä\udcff", id="not ASCII"),
    ],
)
async def test_a_bad_token_is_401_before_the_body_is_looked_at(
    ingester: Ingester, database: Database, authorization: str
) -> None:
    answer = await notify_http(ingester, b"no json at all", authorization=authorization)
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert answer.error["reason"] == "UNAUTHENTICATED"
    assert await stored_tasks(database) == []


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        pytest.param(b"", ["body"], id="empty"),
        pytest.param(b"status=SUCCEEDED", ["body"], id="a form"),
        pytest.param([], ["body"], id="a list"),
        pytest.param({}, ["status"], id="no status"),
        pytest.param({"status": "STATUS_UNSPECIFIED"}, ["status"], id="unspecified"),
        pytest.param({"status": "DONE"}, ["status"], id="unknown status"),
        pytest.param({"status": "SUCCEEDED", "stats": 1}, ["stats"], id="unknown field"),
        pytest.param(
            {"message_id": "x" * 201, "log_lines": ["x" * 4097, 1], "result": 1, "error_message": "x" * 4097},
            ["log_lines[1]", "result", "message_id", "status", "log_lines[0]", "error_message"],
            id="everything at once",
        ),
        pytest.param({"status": "SUCCEEDED", "result": {"a": "x" * 70_000}}, ["result"], id="large result"),
        pytest.param(b'{"status": "SUCCEEDED", "result": {"a": 1e999}}', ["result"], id="infinite number"),
    ],
)
async def test_bad_input_is_400_and_names_every_field(
    ingester: Ingester, database: Database, body: object, fields: list[str]
) -> None:
    answer = await notify_http(ingester, body)
    assert (answer.status, answer.error["reason"]) == (400, "INVALID_ARGUMENT")
    assert answer.fields == fields
    assert await stored_tasks(database) == []


async def test_the_largest_notification_is_taken_and_a_larger_body_is_413(
    ingester: Ingester, database: Database
) -> None:
    largest = {
        "status": "SUCCEEDED",
        "message_id": "m" * 200,
        "log_lines": ["\x01" * 4096] * 128,  # six bytes each in JSON
        "result": {"a": "x" * 65_000},
        "error_message": "e" * 4096,
    }
    assert (await notify_http(ingester, largest)).status == 204
    assert len(await stored_tasks(database)) == 1
    answer = await notify_http(ingester, b" " * (4 * 1024 * 1024 + 1))
    assert (answer.status, answer.error["reason"]) == (413, "REQUEST_TOO_LARGE")


async def test_only_post_is_served(ingester: Ingester) -> None:
    answer = await ask_http(ingester, "/notify")
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")


async def test_health_readiness_and_what_was_counted(ingester: Ingester) -> None:
    await notify_http(ingester, {"status": "SUCCEEDED"})
    await notify_http(ingester, {"status": "SUCCEEDED"}, authorization="Bearer x")
    await notify_http(ingester, {})
    assert (await ask_http(ingester, "/healthz")).status == 200
    assert (await ask_http(ingester, "/readyz")).status == 200
    metrics = (await ask_http(ingester, "/metrics")).text
    for outcome in ("ACCEPTED", "UNAUTHENTICATED", "INVALID_ARGUMENT"):
        assert f'ostinato_notifications_total{{outcome="{outcome}",transport="http"}} 1.0' in metrics
