"""Listings: order, pages that neither skip nor repeat, and tokens that are good for one listing only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.message import Message

from ostinato.jobflow.engine_tasks import TRIAGE_JOB
from ostinato.pb.internal.v1.engine_tasks_pb2 import TriageJobTask
from ostinato.pb.scheduler.v1 import admin_pb2, invocations_pb2, jobs_pb2, projects_pb2, triggers_pb2
from ostinato.scheduling.invocation_id import make_invocation_id
from ostinato.storage.database import Database
from tests.integration.api.served_api import Client, names_of, refused
from tests.integration.engine.stage import Stage

JOB = "projects/shop/jobs/j000"
INVOCATION_STATUS = invocations_pb2.Invocation


async def pages(api: Client, method: str, request: Any, field: str) -> list[list[Any]]:
    found: list[list[Any]] = []
    while True:
        answer = await api.send(method, request)
        found.append(list(getattr(answer, field)))
        if not answer.next_page_token:
            return found
        request.page_token = answer.next_page_token


async def make_shop(api: Client, jobs: int = 7) -> None:
    stanzas = "".join(f"- {{id: j{i:03}, noop: {{}}}}\n" for i in range(jobs))
    await api.apply(f"project: shop\njobs:\n{stanzas}")


async def make_runs(
    stage: Stage, count: int, *, active: int = 0, incoming: bytes = b"", job: str = "j000"
) -> list[int]:
    """Runs of a job, one a minute; the `active` newest have not been acknowledged. Ids, newest first."""
    job_id = await stage.db.fetchval("select job_id from job where name = $1", job)
    now = datetime.now(UTC)
    ids = [int(make_invocation_id(now - timedelta(minutes=i), i)) for i in range(count)]
    for index, invocation_id in enumerate(ids):
        await stage.db.execute(
            "insert into invocation_input (invocation_id, job_name, job_uid, definition, incoming) "
            "select $1, $2, uid, definition, $3 from job where job_id = $4",
            invocation_id,
            f"projects/shop/jobs/{job}",
            incoming,
            job_id,
        )
        if index < active:
            await stage.db.execute(
                "insert into invocation (invocation_id, job_id, project_id, status, launch_task_id, created_at, "
                "deadline_at) values ($1, $2, 1, 3, 1, $3, $3)",
                invocation_id,
                job_id,
                now - timedelta(minutes=index),
            )
        else:
            await stage.db.execute(
                "insert into invocation_history (invocation_id, job_id, project_id, status, attempt, launch_attempts, "
                "created_at, finished_at, deadline_at, triggered_by, revision, view_url, error_reason, error_message, "
                "error_retryable) values ($1, $2, 1, 4, 1, 1, $3, $3, $3, '', '', '', '', '', false)",
                invocation_id,
                job_id,
                now - timedelta(minutes=index),
            )
    return ids


@pytest.mark.parametrize(("size", "lengths"), [(0, [7]), (3, [3, 3, 1]), (7, [7]), (1, [1] * 7), (1000, [7])])
async def test_jobs_come_by_name_in_pages(api: Client, size: int, lengths: list[int]) -> None:
    await make_shop(api)
    found = await pages(api, "ListJobs", jobs_pb2.ListJobsRequest(parent="projects/shop", page_size=size), "jobs")
    assert [len(page) for page in found] == lengths
    assert names_of([job for page in found for job in page]) == [f"j{i:03}" for i in range(7)]


async def test_a_page_has_100_items_unless_told_otherwise_and_500_at_most(api: Client) -> None:
    await make_shop(api, 601)
    for asked, given in ((0, 100), (500, 500), (501, 500), (2**31 - 1, 500)):
        request = jobs_pb2.ListJobsRequest(parent="projects/shop", page_size=asked)
        assert len((await api.send("ListJobs", request)).jobs) == given


async def test_jobs_of_all_projects_come_by_project_and_name(api: Client) -> None:
    for project in ("beta", "alpha", "alpha-2"):
        await api.apply(f"project: {project}\njobs: [{{id: z, noop: {{}}}}, {{id: A, noop: {{}}}}]")
    found = await pages(api, "ListJobs", jobs_pb2.ListJobsRequest(parent="projects/-", page_size=2), "jobs")
    assert [job.name.removeprefix("projects/") for page in found for job in page] == [
        "alpha/jobs/A",
        "alpha/jobs/z",
        "alpha-2/jobs/A",
        "alpha-2/jobs/z",
        "beta/jobs/A",
        "beta/jobs/z",
    ]


async def test_projects_without_jobs_are_passed_over(api: Client, database: Database) -> None:
    await database.execute(
        "insert into project (name, created_at, updated_at) "
        "select 'p' || lpad(i::text, 3, '0'), now(), now() from generate_series(1, 300) i"
    )
    for project in ("p005", "p042", "p280", "zoo"):
        await api.apply(f"project: {project}\njobs: [{{id: a, noop: {{}}}}, {{id: b, noop: {{}}}}]")
    found = await pages(api, "ListJobs", jobs_pb2.ListJobsRequest(parent="projects/-", page_size=3), "jobs")
    assert [job.name.split("/")[1] + job.name[-1] for page in found for job in page] == [
        "p005a",
        "p005b",
        "p042a",
        "p042b",
        "p280a",
        "p280b",
        "zooa",
        "zoob",
    ]


async def test_listing_jobs_shows_only_what_the_caller_may_see(api: Client) -> None:
    config = """
project: {0}
bindings:
  - {{role: reader, members: ["user:ana"], realms: ["prod", "{0}"]}}
  - {{role: owner, members: ["user:boss"]}}
jobs:
  - {{id: a, realm: prod, noop: {{}}}}
  - {{id: b, realm: test, noop: {{}}}}
  - {{id: c, realm: {0}, noop: {{}}}}
"""
    for project in ("shop", "farm"):
        await api.apply(config.format(project))
    await api.apply("project: vault\njobs: [{id: a, noop: {}}]")

    async def seen(user: str, parent: str) -> list[str]:
        answer = await api.as_user(user).send("ListJobs", jobs_pb2.ListJobsRequest(parent=parent))
        return [job.name.removeprefix("projects/").replace("/jobs/", "/") for job in answer.jobs]

    assert await seen("user:ana", "projects/shop") == ["shop/a", "shop/c"]
    assert await seen("user:ana", "projects/-") == ["farm/a", "farm/c", "shop/a", "shop/c"]
    assert await seen("user:boss", "projects/-") == ["farm/a", "farm/b", "farm/c", "shop/a", "shop/b", "shop/c"]
    assert await seen("user:bob", "projects/-") == []
    for parent in ("projects/vault", "projects/none"):
        refusal = await refused(api.as_user("user:ana").send("ListJobs", jobs_pb2.ListJobsRequest(parent=parent)))
        assert (refusal.code, refusal.resource) == ("NOT_FOUND", parent)


async def test_batch_get_leaves_out_what_is_missing_or_invisible(api: Client) -> None:
    await api.apply(
        "project: shop\nbindings: [{role: reader, members: ['user:ana'], realms: [prod]}]\n"
        "jobs: [{id: a, noop: {}}, {id: b, realm: prod, noop: {}}]"
    )
    names = [f"projects/shop/jobs/{job}" for job in ("b", "nobody", "a", "b")]
    request = jobs_pb2.BatchGetJobsRequest(names=names)
    assert names_of((await api.send("BatchGetJobs", request)).jobs) == ["b", "a"]
    assert names_of((await api.as_user("user:ana").send("BatchGetJobs", request)).jobs) == ["b"]
    assert names_of((await api.as_user("user:bob").send("BatchGetJobs", request)).jobs) == []
    assert names_of((await api.send("BatchGetJobs", jobs_pb2.BatchGetJobsRequest())).jobs) == []


@pytest.mark.leaves_damage("statuses are written by hand")
@pytest.mark.parametrize("active", [0, 1, 3, 7])
async def test_runs_come_newest_first_wherever_they_are_kept(api: Client, stage: Stage, active: int) -> None:
    await make_shop(api)
    ids = await make_runs(stage, 7, active=active)
    await make_runs(stage, 2, job="j001")
    request = invocations_pb2.ListInvocationsRequest(parent=JOB, page_size=2)
    found = await pages(api, "ListInvocations", request, "invocations")
    assert [run.name for page in found for run in page] == [f"{JOB}/invocations/{each}" for each in ids]
    assert [len(page) for page in found] == [2, 2, 2, 1]
    assert sum(not run.final for page in found for run in page) == active


@pytest.mark.leaves_damage("statuses are written by hand")
async def test_a_page_of_large_runs_ends_early(api: Client, stage: Stage) -> None:
    await make_shop(api)
    trigger = triggers_pb2.Trigger(id="t", title="x" * 1000)
    incoming = b"".join(b"\x0a" + _varint(trigger.ByteSize()) + trigger.SerializeToString() for _ in range(1000))
    ids = await make_runs(stage, 9, active=4, incoming=incoming)
    request = invocations_pb2.ListInvocationsRequest(parent=JOB)
    found = await pages(api, "ListInvocations", request, "invocations")
    assert [run.name for page in found for run in page] == [f"{JOB}/invocations/{each}" for each in ids]
    assert len(found) > 1
    assert all(sum(run.ByteSize() for run in page) < 4 * 1024 * 1024 for page in found)


async def test_pending_triggers_come_oldest_first(api: Client) -> None:
    await make_shop(api)
    await api.emit("j000", *(f"t{i:02}" for i in range(12)))
    request = triggers_pb2.ListTriggersRequest(parent=JOB, page_size=5)
    found = await pages(api, "ListTriggers", request, "triggers")
    assert [trigger.id for page in found for trigger in page] == [f"t{i:02}" for i in range(12)]
    assert [len(page) for page in found] == [5, 5, 2]


async def test_pages_of_large_triggers_end_early(api: Client) -> None:
    await make_shop(api)
    for start in range(0, 100, 50):
        batches = [
            {"trigger": {"id": f"t{i:03}", "event": {"k": "v" * 60_000}}, "jobs": [JOB]}
            for i in range(start, start + 50)
        ]
        await api.send("EmitTriggers", triggers_pb2.EmitTriggersRequest(batches=batches))
    found = await pages(api, "ListTriggers", triggers_pb2.ListTriggersRequest(parent=JOB), "triggers")
    assert [trigger.id for page in found for trigger in page] == [f"t{i:03}" for i in range(100)]
    assert len(found) > 1


async def test_log_lines_come_oldest_first(api: Client, stage: Stage) -> None:
    await make_shop(api)
    (invocation_id,) = await make_runs(stage, 1)
    for version, line_no in ((1, 0), (1, 1), (2, 0), (3, 0), (3, 1)):
        await stage.db.execute(
            "insert into invocation_log (invocation_id, version, line_no, at, line) "
            "values ($1, $2, $3, ostinato_now(), $4)",
            invocation_id,
            version,
            line_no,
            f"{version}.{line_no}",
        )
    request = invocations_pb2.ListLogsRequest(parent=f"{JOB}/invocations/{invocation_id}", page_size=2)
    found = await pages(api, "ListLogs", request, "lines")
    assert [line.text for page in found for line in page] == ["1.0", "1.1", "2.0", "3.0", "3.1"]
    assert all(line.HasField("time") for page in found for line in page)


async def test_projects_come_by_name_as_far_as_they_are_visible(api: Client) -> None:
    owner = "bindings: [{role: owner, members: ['user:ana']}]"
    for name, bindings in (("c", owner), ("a", owner), ("b", ""), ("d", owner.replace("owner", "operator"))):
        await api.apply(f"project: {name}\n{bindings}\njobs: [{{id: j, noop: {{}}}}]", revision=f"r-{name}")
    request = projects_pb2.ListProjectsRequest(page_size=1)
    found = await pages(api, "ListProjects", request, "projects")
    assert [project.name for page in found for project in page] == [f"projects/{name}" for name in "abcd"]
    found = await pages(
        api.as_user("user:ana"), "ListProjects", projects_pb2.ListProjectsRequest(page_size=1), "projects"
    )
    assert [(each.name, each.revision, each.enabled_jobs) for page in found for each in page] == [
        ("projects/a", "r-a", 1),
        ("projects/c", "r-c", 1),
    ]


async def test_dead_letters_come_newest_first_and_can_be_put_back(api: Client, stage: Stage) -> None:
    class_id = stage.dispatcher.class_ids[TRIAGE_JOB.name]
    for i in range(5):
        await stage.db.execute(
            "insert into tq_dead (id, died_at, strand, fair_key, class_id, attempt, failures, flags, error, payload) "
            "values ($1, '2026-01-01T00:00Z'::timestamptz + $2 * interval '1 s', $3 << 9, 0, $4, 3, 3, 0, 'boom', $5)",
            i + 1,
            i // 2,
            stage.dispatcher.queue_ids["triages"],
            class_id if i else 99,
            TriageJobTask(job_id=i).SerializeToString() if i != 4 else b"\xff",
        )
    await stage.db.execute("insert into tq_class (class_id, name) overriding system value values (99, 'of-the-future')")
    request = admin_pb2.ListDeadLettersRequest(page_size=2)
    found = [letter for page in await pages(api, "ListDeadLetters", request, "dead_letters") for letter in page]
    assert [letter.id for letter in found] == [5, 4, 3, 2, 1]
    assert [letter.payload_json for letter in found] == ["", '{"jobId": "3"}', '{"jobId": "2"}', '{"jobId": "1"}', ""]
    assert (found[0].queue, found[0].task_class, found[0].attempts, found[0].error) == (
        "triages",
        "triage-job",
        3,
        "boom",
    )
    assert found[4].task_class == "of-the-future"
    empty = await api.send("ListDeadLetters", admin_pb2.ListDeadLettersRequest(queue="launches"))
    assert list(empty.dead_letters) == []
    requeue = admin_pb2.RequeueDeadLettersRequest(ids=[2, 3, 3, 77, -1])
    assert (await api.send("RequeueDeadLetters", requeue)).requeued == 2
    assert (await api.send("RequeueDeadLetters", requeue)).requeued == 0
    queues = (await api.send("ListQueues", admin_pb2.ListQueuesRequest())).queues
    assert [(queue.name, queue.ready, queue.dead) for queue in queues] == [
        ("launches", 0, 0),
        ("notifications", 0, 0),
        ("timers", 0, 0),
        ("triages", 2, 3),
    ]


LISTINGS: Sequence[tuple[str, Message]] = (
    ("ListJobs", jobs_pb2.ListJobsRequest(parent="projects/shop")),
    ("ListInvocations", invocations_pb2.ListInvocationsRequest(parent=JOB)),
    ("ListTriggers", triggers_pb2.ListTriggersRequest(parent=JOB)),
    ("ListLogs", invocations_pb2.ListLogsRequest(parent=f"{JOB}/invocations/1")),
    ("ListProjects", projects_pb2.ListProjectsRequest()),
    ("ListDeadLetters", admin_pb2.ListDeadLettersRequest()),
)


@pytest.mark.parametrize(("method", "request_"), LISTINGS, ids=[method for method, _ in LISTINGS])
async def test_wrong_page_fields_are_named_together(api: Client, method: str, request_: Message) -> None:
    request = type(request_)()
    request.CopyFrom(request_)
    request.page_size = -1
    request.page_token = "nonsense"
    refusal = await refused(api.send(method, request))
    assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", ["page_size", "page_token"])


async def test_a_token_is_good_for_its_own_listing_only(api: Client) -> None:
    await make_shop(api)
    await api.apply("project: farm\njobs: [{id: a, noop: {}}]")
    request = jobs_pb2.ListJobsRequest(parent="projects/shop", page_size=2)
    token = (await api.send("ListJobs", request)).next_page_token
    for method, other in (
        ("ListJobs", jobs_pb2.ListJobsRequest(parent="projects/farm", page_token=token)),
        ("ListJobs", jobs_pb2.ListJobsRequest(parent="projects/-", page_token=token)),
        (
            "ListJobs",
            jobs_pb2.ListJobsRequest(
                parent="projects/shop", page_token=token[:-1] + ("B" if token[-1] == "A" else "A")
            ),
        ),
        ("ListTriggers", triggers_pb2.ListTriggersRequest(parent=JOB, page_token=token)),
    ):
        refusal = await refused(api.send(method, other))
        assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", ["page_token"])
    again = jobs_pb2.ListJobsRequest(parent="projects/shop", page_size=1, page_token=token)
    assert names_of((await api.send("ListJobs", again)).jobs) == ["j002"]


def _varint(number: int) -> bytes:
    encoded = b""
    while number > 127:
        encoded += bytes([number & 127 | 128])
        number >>= 7
    return encoded + bytes([number])
