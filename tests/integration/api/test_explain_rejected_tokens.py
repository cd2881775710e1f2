"""ExplainJob tells why a run does not end whose reports are all rejected, while it is under way and afterwards."""

from __future__ import annotations

import grpc
import pytest

from ostinato.auth.notification_token import NotificationTokens
from ostinato.pb.scheduler.v1.invocations_pb2 import AppendLogsRequest, Invocation
from ostinato.pb.scheduler.v1.jobs_pb2 import Finding
from ostinato.scheduling.invocation import InvocationStatus as S
from ostinato_ingester.main import open_ingester
from tests.integration.api.served_api import Client, refused
from tests.integration.api.test_append_logs import append, id_of, token_of
from tests.integration.api.test_explain_job import codes, explain
from tests.integration.api.test_invocations import CONFIG, A, abort, start
from tests.integration.engine.runs import set_status
from tests.integration.engine.stage import Stage
from tests.integration.ingester.running_work import ingester_settings, notify_http

STRANGER = NotificationTokens([b"f" * 32])


@pytest.fixture
async def run(api: Client, stage: Stage) -> Invocation:
    """In RUNNING; an engine is alive."""
    await api.apply(CONFIG)
    started = await start(api, stage)
    await set_status(stage, id_of(started), S.RUNNING)
    return started


async def told(api: Client) -> list[Finding]:
    return [finding for finding in (await explain(api, A)).findings if finding.code == "TOKEN_REJECTED"]


async def reject(api: Client, stage: Stage, run: Invocation, *, tokens: NotificationTokens = STRANGER) -> None:
    """One report, and it is recorded."""
    count = "select coalesce(sum(count), 0) from rejected_report"
    before = await stage.db.fetchval(count)
    await refused(append(api, run.name, await token_of(stage, run, tokens=tokens), "x"))
    await stage.until(f"select ({count}) > {before}")


async def end(stage: Stage, run: Invocation, status: S) -> None:
    await stage.finish(id_of(run), status=status)
    await stage.triage_until_quiet()


async def test_a_report_that_an_ingester_with_another_key_rejects_is_told(
    api: Client, stage: Stage, run: Invocation
) -> None:
    token = await token_of(stage, run)
    async with open_ingester(ingester_settings(stage.db.settings.url)) as ingester:
        for _ in range(3):
            answer = await notify_http(ingester, {"status": "SUCCEEDED"}, authorization=f"Bearer {token}")
            assert answer.status == 401
    assert codes(await explain(api, A))[:2] == ["RUNNING", "TOKEN_REJECTED"]
    (finding,) = await told(api)
    assert finding.text.startswith(f"Reports for run shop/a/{id_of(run)} are rejected: 3 were sent from ")
    assert "OSTINATO_NOTIFICATION_KEYS" in finding.text
    assert finding.HasField("since")


async def test_rejected_log_lines_are_told_with_what_was_wrong(api: Client, stage: Stage, run: Invocation) -> None:
    await api.emit("a", "t2")
    other = Invocation(name=f"{A}/invocations/7")
    tokens = [
        await token_of(stage, run, hours=48),
        await token_of(stage, run, hours=-1),
        await token_of(stage, run, tokens=STRANGER),
    ]
    answers = {await answer_to(api, run, token) for token in tokens}
    answers.add(await answer_to(api, other, await token_of(stage, run)))
    answers.add(await answer_to(api, run, "malformed"))
    assert len(answers) == 1  # to the byte
    await stage.until("select count(*) = 4 from rejected_report")
    await stage.triage_until_quiet()
    assert codes(await explain(api, A))[:2] == ["AT_CONCURRENCY_LIMIT", "TOKEN_REJECTED"]
    texts = [finding.text for finding in await told(api)]
    for words in ("no notification key", "had expired", "not issued yet", "for another run"):
        assert len([text for text in texts if words in text and f"run shop/a/{id_of(run)} " in text]) == 1


async def answer_to(api: Client, run: Invocation, token: str) -> object:
    request = AppendLogsRequest(name=run.name, token=token, lines=["x"])
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await api.send("AppendLogs", request)
    error = caught.value
    return error.code(), error.details(), tuple(error.initial_metadata()), tuple(error.trailing_metadata())


async def test_a_genuine_token_that_names_a_run_of_another_job_is_recorded_for_its_own_run(
    api: Client, stage: Stage, run: Invocation
) -> None:
    token = await token_of(stage, run)
    await refused(append(api, run.name.replace("/a/", "/b/"), token, "x"))
    await stage.until("select count(*) = 1 from rejected_report")
    (finding,) = await told(api)
    assert finding.text.startswith(f"Reports with the token of run shop/a/{id_of(run)} are rejected: 1 was sent at ")


@pytest.mark.parametrize("status", [S.TIMED_OUT, S.FAILED, S.ABORTED])
async def test_it_is_still_told_of_the_last_run_when_that_has_ended_without_success(
    api: Client, stage: Stage, run: Invocation, status: S
) -> None:
    await reject(api, stage, run)
    await end(stage, run, status)
    found = codes(await explain(api, A))
    assert found[-1] == "TOKEN_REJECTED"
    assert ("TARGET_FAILING" in found[-2:]) is (status is not S.ABORTED)
    (finding,) = await told(api)
    assert finding.text.startswith(f"Reports for run shop/a/{id_of(run)} were rejected: 1 was sent at ")


async def test_of_a_run_that_succeeded_all_the_same_nothing_is_told(api: Client, stage: Stage, run: Invocation) -> None:
    await reject(api, stage, run)
    await end(stage, run, S.SUCCEEDED)
    assert await told(api) == []


async def test_only_the_run_that_ended_last_counts(api: Client, stage: Stage, run: Invocation) -> None:
    await reject(api, stage, run)
    await abort(api, run.name)
    await stage.triage_until_quiet()
    assert len(await told(api)) == 1
    second = await start(api, stage, "t2")
    await end(stage, second, S.TIMED_OUT)
    assert await told(api) == []


async def test_of_reports_that_were_accepted_nothing_is_told(api: Client, stage: Stage, run: Invocation) -> None:
    await append(api, run.name, await token_of(stage, run), "fine")
    assert await told(api) == []
