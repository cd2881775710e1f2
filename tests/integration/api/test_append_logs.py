"""Running work adds to its own log, with nothing but the token it was given."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ostinato.auth.notification_token import NotificationTokens
from ostinato.jobflow.engine_tasks import HANDLE_NOTIFICATION
from ostinato.pb.ingest.v1.notifications_pb2 import NotifyRequest
from ostinato.pb.scheduler.v1.invocations_pb2 import AppendLogsRequest, Invocation
from ostinato.scheduling.invocation import InvocationStatus as S
from ostinato.scheduling.log_cut import CUT_MARKER, MAX_LOG_BYTES
from tests.integration.api.served_api import TOKENS, Client, refused
from tests.integration.api.test_invocations import CONFIG, abort, start
from tests.integration.engine.runs import log_of, row_of, set_status
from tests.integration.engine.stage import Stage

LIFE = timedelta(hours=48)


def id_of(run: Invocation) -> int:
    return int(run.name.rpartition("/")[2])


async def token_of(stage: Stage, run: Invocation, *, tokens: NotificationTokens = TOKENS, **shift: Any) -> str:
    job_id = await stage.db.fetchval("select job_id from invocation where invocation_id = $1", id_of(run))
    return tokens.issue(id_of(run), job_id, now=datetime.now(UTC) - timedelta(**shift), lifetime=LIFE)


async def append(api: Client, name: str, token: str, *lines: str, message_id: str = "") -> None:
    request = AppendLogsRequest(name=name, token=token, message_id=message_id, lines=lines)
    await api.as_user("").send("AppendLogs", request)  # an identity that nobody could have


@pytest.fixture
async def run(api: Client, stage: Stage) -> Invocation:
    """In RUNNING."""
    await api.apply(CONFIG)
    started = await start(api, stage)
    await set_status(stage, id_of(started), S.RUNNING)
    return started


async def test_lines_are_in_the_log_when_the_call_returns_in_the_order_of_the_calls(
    api: Client, stage: Stage, run: Invocation
) -> None:
    token = await token_of(stage, run)
    for number in range(5):
        await append(api, run.name, token, f"{number} a", f"{number} b")
    assert await log_of(stage, id_of(run)) == [f"{number} {part}" for number in range(5) for part in "ab"]


async def test_it_is_a_sign_of_life(api: Client, stage: Stage, run: Invocation) -> None:
    await append(api, run.name, await token_of(stage, run), "alive")
    assert (await row_of(stage, id_of(run)))["last_heartbeat_at"] is not None


async def test_a_repeated_message_adds_its_lines_once(api: Client, stage: Stage, run: Invocation) -> None:
    token = await token_of(stage, run)
    await asyncio.gather(*(append(api, run.name, token, "once", message_id="m1") for _ in range(6)))
    await append(api, run.name, token, "again", message_id="m1")
    await append(api, run.name, token, "twice")
    await append(api, run.name, token, "twice")  # without an id nobody can tell
    assert await log_of(stage, id_of(run)) == ["once", "twice", "twice"]


async def test_a_message_id_may_be_any_text(api: Client, stage: Stage, run: Invocation) -> None:
    token = await token_of(stage, run)
    for _ in range(2):
        await append(api, run.name, token, "odd\0line", message_id="\0é\n")
    assert await log_of(stage, id_of(run)) == ["odd\N{REPLACEMENT CHARACTER}line"]


async def test_lines_of_a_run_that_has_ended_are_answered_and_left_out(
    api: Client, stage: Stage, run: Invocation
) -> None:
    token = await token_of(stage, run)
    await abort(api, run.name)
    await append(api, run.name, token, "late")
    await stage.triage_until_quiet()
    await append(api, run.name, token, "later, to the history")
    assert not any("late" in line for line in await log_of(stage, id_of(run)))


async def test_lines_from_before_the_launch_is_saved_are_in_the_log_at_once(
    api: Client, stage: Stage, run: Invocation
) -> None:
    await set_status(stage, id_of(run), S.STARTING)
    await append(api, run.name, await token_of(stage, run), "early")
    assert await log_of(stage, id_of(run)) == ["early"]
    assert (await row_of(stage, id_of(run)))["status"] == S.STARTING


async def test_lines_of_a_launch_that_is_repeated_are_kept_for_an_engine_and_its_error_stays(
    api: Client, stage: Stage, run: Invocation
) -> None:
    await set_status(stage, id_of(run), S.RETRYING)
    await stage.db.execute("update invocation set error_reason = 'LAUNCH_RETRIED'")
    await append(api, run.name, await token_of(stage, run), "early", message_id="m1")
    assert await log_of(stage, id_of(run)) == []
    (task,) = await stage.claim(HANDLE_NOTIFICATION)
    assert task.payload.invocation_id == id_of(run)
    assert task.payload.notification == NotifyRequest(
        message_id="m1", status=NotifyRequest.RUNNING, log_lines=["early"]
    )
    assert (await row_of(stage, id_of(run)))["error_reason"] == "LAUNCH_RETRIED"


async def test_lines_that_meet_a_launch_being_given_up_for_now_are_kept_and_its_error_stays(
    api: Client, stage: Stage, run: Invocation
) -> None:
    await set_status(stage, id_of(run), S.STARTING)
    async with stage.db.transaction() as saving:
        await saving.execute(
            "update invocation set status = $1, version = version + 1, error_reason = 'LAUNCH_RETRIED'", S.RETRYING
        )
        appending = asyncio.ensure_future(append(api, run.name, await token_of(stage, run), "early", message_id="m1"))
        await stage.until_somebody_waits()
    await appending
    assert (await row_of(stage, id_of(run)))["error_reason"] == "LAUNCH_RETRIED"
    assert len(await stage.claim(HANDLE_NOTIFICATION)) == 1


async def test_every_bad_token_is_answered_alike_whatever_exists(api: Client, stage: Stage, run: Invocation) -> None:
    good = await token_of(stage, run)
    foreign = await token_of(stage, run, tokens=NotificationTokens([b"f" * 32]))
    expired = await token_of(stage, run, hours=48)
    await abort(api, run.name)
    other = await start(api, stage, "t2")
    attempts = [
        (run.name, ""),
        (run.name, "x" * 87),
        (run.name, foreign),
        (run.name, expired),
        (other.name, good),
        (run.name.replace("/a/", "/b/"), good),
        (run.name.replace("/shop/", "/nowhere/"), good),
        ("projects/shop/jobs/a/invocations/7", good),
    ]
    answers = {
        (refusal.code, refusal.message, refusal.reason)
        for name, token in attempts
        if (refusal := await refused(append(api, name, token, "x")))
    }
    assert answers == {("UNAUTHENTICATED", "the notification token is not valid", "UNAUTHENTICATED")}
    assert await log_of(stage, id_of(other)) == []


async def test_with_a_bad_token_nothing_else_is_told(api: Client) -> None:
    refusal = await refused(append(api, "nonsense", "bad", *["x"] * 2000))
    assert refusal.code == "UNAUTHENTICATED"


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"lines": []}, ["lines"]),
        ({"lines": ["x"] * 1001}, ["lines"]),
        ({"lines": ["", "x" * 4097]}, ["lines[1]"]),
        ({"lines": ["x" * 4096] * 129}, ["lines"]),
        ({"message_id": "x" * 201, "lines": []}, ["lines", "message_id"]),
        ({"name": "nonsense", "message_id": "é" * 101}, ["name", "message_id"]),
    ],
)
async def test_bad_input_names_every_field(
    api: Client, stage: Stage, run: Invocation, fields: dict[str, Any], named: list[str]
) -> None:
    request = AppendLogsRequest(**({"name": run.name, "token": await token_of(stage, run), "lines": ["x"]} | fields))
    refusal = await refused(api.send("AppendLogs", request))
    assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", named)
    assert await log_of(stage, id_of(run)) == []


async def test_a_log_that_grows_too_long_is_cut_in_the_middle(api: Client, stage: Stage, run: Invocation) -> None:
    token = await token_of(stage, run)
    lines = [f"{number:04} {'x' * 95}" for number in range(3000)]
    for begin in range(0, 3000, 1000):
        await append(api, run.name, token, *lines[begin : begin + 1000])
    log = await log_of(stage, id_of(run))
    assert log.count(CUT_MARKER) == 1
    assert log[-100:] == lines[-100:]
    assert log[: log.index(CUT_MARKER)] == lines[: log.index(CUT_MARKER)]
    assert sum(len(line) + 1 for line in log) <= MAX_LOG_BYTES
