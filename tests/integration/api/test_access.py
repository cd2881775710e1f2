"""Every method against every role: NOT_FOUND for what is invisible, PERMISSION_DENIED for what is only visible."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf.message import Message

from ostinato.auth.permissions import METHOD_PERMISSIONS
from ostinato.pb.scheduler.v1 import admin_pb2, invocations_pb2, jobs_pb2, projects_pb2, triggers_pb2
from tests.integration.api.served_api import Client, refused
from tests.integration.api.test_queue_admin import add_dead_letters
from tests.integration.engine.stage import Stage

JOB = "projects/shop/jobs/a"
ROLES = ("reader", "triggerer", "operator", "owner")
BINDINGS = "\n".join(f"  - {{role: {role}, members: ['user:{role}']}}" for role in ROLES)
CONFIG = f"""
project: shop
bindings:
{BINDINGS}
  - {{role: owner, members: ["user:elsewhere"], realms: [other]}}
jobs:
  - {{id: a, noop: {{}}}}
"""
ADMIN_ONLY = frozenset(
    {
        "GetDebugJobState",
        "ListQueues",
        "PauseQueue",
        "ResumeQueue",
        "PurgeQueue",
        "ListDeadLetters",
        "GetDeadLetter",
        "RequeueDeadLetters",
        "PurgeDeadLetters",
        "Sweep",
    }
)


def requests(invocation: str) -> dict[str, Message]:
    return {
        "GetJob": jobs_pb2.GetJobRequest(name=JOB),
        "ListJobs": jobs_pb2.ListJobsRequest(parent="projects/shop"),
        "PauseJob": jobs_pb2.PauseJobRequest(name=JOB, abort_active=True),
        "ResumeJob": jobs_pb2.ResumeJobRequest(name=JOB),
        "PreviewSchedule": jobs_pb2.PreviewScheduleRequest(job=JOB),
        "ExplainJob": jobs_pb2.ExplainJobRequest(name=JOB),
        "ForecastStarts": jobs_pb2.ForecastStartsRequest(parent="projects/shop"),
        "VerifyJob": jobs_pb2.VerifyJobRequest(name=JOB),
        "GetInvocation": invocations_pb2.GetInvocationRequest(name=invocation),
        "ListInvocations": invocations_pb2.ListInvocationsRequest(parent=JOB),
        "AbortInvocation": invocations_pb2.AbortInvocationRequest(name=invocation),
        "RetryInvocation": invocations_pb2.RetryInvocationRequest(name=invocation),
        "ListLogs": invocations_pb2.ListLogsRequest(parent=invocation),
        "WatchInvocation": invocations_pb2.WatchInvocationRequest(name=invocation),
        "EmitTriggers": triggers_pb2.EmitTriggersRequest(batches=[{"trigger": {"id": "x"}, "jobs": [JOB]}]),
        "ListTriggers": triggers_pb2.ListTriggersRequest(parent=JOB),
        "ApplyProjectConfig": projects_pb2.ApplyProjectConfigRequest(config=CONFIG),
        "GetProject": projects_pb2.GetProjectRequest(name="projects/shop"),
        "GetDebugJobState": admin_pb2.GetDebugJobStateRequest(name=JOB),
        "ListQueues": admin_pb2.ListQueuesRequest(),
        "PauseQueue": admin_pb2.PauseQueueRequest(name="launches"),
        "ResumeQueue": admin_pb2.ResumeQueueRequest(name="launches"),
        "PurgeQueue": admin_pb2.PurgeQueueRequest(name="launches"),
        "ListDeadLetters": admin_pb2.ListDeadLettersRequest(),
        "GetDeadLetter": admin_pb2.GetDeadLetterRequest(id=1),
        "RequeueDeadLetters": admin_pb2.RequeueDeadLettersRequest(),
        "PurgeDeadLetters": admin_pb2.PurgeDeadLettersRequest(),
        "Sweep": admin_pb2.SweepRequest(),
    }


READING = {
    *("GetJob", "ListJobs", "PreviewSchedule", "ExplainJob", "ForecastStarts", "VerifyJob", "ListTriggers"),
    *("GetInvocation", "ListInvocations", "ListLogs", "WatchInvocation"),
}
TRIGGERING = READING | {"EmitTriggers", "RetryInvocation"}
OPERATING = TRIGGERING | {"PauseJob", "ResumeJob", "AbortInvocation"}
OWNING = OPERATING | {"ApplyProjectConfig", "GetProject"}
# Filters: what they answer depends on who asks, and is tested where listings are.
FILTERS = {"BatchGetJobs", "ListProjects"}


async def make_shop(api: Client, stage: Stage) -> str:
    """The name of an invocation of job a; it has ended."""
    await api.apply(CONFIG)
    await api.emit("a", "t1")
    await stage.triage_until_quiet()
    answer = await api.send("ListInvocations", invocations_pb2.ListInvocationsRequest(parent=JOB))
    name: str = answer.invocations[0].name
    await api.send("AbortInvocation", invocations_pb2.AbortInvocationRequest(name=name))
    return name


async def outcome(api: Client, user: str, method: str, request: Message) -> str:
    try:
        call = api.as_user(user).send(method, request)
        await (call.read() if isinstance(call, grpc.aio.UnaryStreamCall) else call)
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"


def test_every_method_is_looked_at() -> None:
    served = {method.rpartition("/")[2] for method in METHOD_PERMISSIONS if "/ostinato.scheduler." in method}
    assert set(requests("x")) | FILTERS == served


@pytest.mark.parametrize(
    ("role", "allowed"),
    [("reader", READING), ("triggerer", TRIGGERING), ("operator", OPERATING), ("owner", OWNING)],
)
async def test_a_role_may_what_it_holds_and_is_told_so_otherwise(
    api: Client, stage: Stage, role: str, allowed: set[str]
) -> None:
    invocation = await make_shop(api, stage)
    for method, request in requests(invocation).items():
        expected = "OK" if method in allowed else "PERMISSION_DENIED"
        assert (method, await outcome(api, f"user:{role}", method, request)) == (method, expected)


async def test_a_stranger_learns_nothing(api: Client, stage: Stage) -> None:
    invocation = await make_shop(api, stage)
    for method, request in requests(invocation).items():
        expected = "PERMISSION_DENIED" if method in ADMIN_ONLY else "NOT_FOUND"
        assert (method, await outcome(api, "user:stranger", method, request)) == (method, expected)


async def test_whoever_owns_another_realm_sees_the_project_but_no_job_of_this_one(api: Client, stage: Stage) -> None:
    invocation = await make_shop(api, stage)
    listed = await api.as_user("user:elsewhere").send("ListJobs", jobs_pb2.ListJobsRequest(parent="projects/shop"))
    assert list(listed.jobs) == []
    forecast = jobs_pb2.ForecastStartsRequest(parent="projects/shop")
    assert (await api.as_user("user:elsewhere").send("ForecastStarts", forecast)).starts == 0
    for method, request in requests(invocation).items():
        if method in {"ListJobs", "ForecastStarts"}:
            continue
        visible = method in ADMIN_ONLY | {"ApplyProjectConfig", "GetProject"}
        expected = "PERMISSION_DENIED" if visible else "NOT_FOUND"
        assert (method, await outcome(api, "user:elsewhere", method, request)) == (method, expected)


async def test_an_administrator_may_everything(api: Client, stage: Stage) -> None:
    invocation = await make_shop(api, stage)
    await add_dead_letters(stage, 1)
    for method, request in requests(invocation).items():
        expected = "FAILED_PRECONDITION" if method == "Sweep" else "OK"  # nothing is swept in a database
        assert (method, await outcome(api, "user:dev@localhost", method, request)) == (method, expected)


async def test_missing_and_invisible_look_the_same(api: Client, stage: Stage) -> None:
    invocation = await make_shop(api, stage)
    stranger = api.as_user("user:stranger")
    hidden = await refused(stranger.send("GetJob", jobs_pb2.GetJobRequest(name=JOB)))
    absent = await refused(stranger.send("GetJob", jobs_pb2.GetJobRequest(name=JOB + "x")))
    assert hidden.message.replace(JOB, "?") == absent.message.replace(JOB + "x", "?")
    assert (hidden.reason, hidden.resource) == ("NOT_FOUND", JOB)
    hidden = await refused(stranger.send("GetInvocation", invocations_pb2.GetInvocationRequest(name=invocation)))
    assert hidden.resource == JOB


async def test_pausing_needs_no_right_to_abort_unless_it_aborts(api: Client, stage: Stage) -> None:
    await make_shop(api, stage)
    triggerer = api.as_user("user:triggerer")
    refusal = await refused(triggerer.send("PauseJob", jobs_pb2.PauseJobRequest(name=JOB)))
    assert "scheduler.jobs.pause" in refusal.message
    assert not (await api.send("GetJob", jobs_pb2.GetJobRequest(name=JOB))).paused
