"""What a target is sent, and what its answers do to the task and to its queue."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import jwt
import pytest
from aiohttp import web
from google.api_core.exceptions import NotFound, ServiceUnavailable
from google.cloud import tasks_v2

from ostinato.localcloud.faults import Fault, FaultKind
from ostinato.localcloud.tokens import ALGORITHM
from tests.integration.localcloud.served_cloud_tasks import (
    LOCATION,
    QUEUE,
    START,
    Answer,
    Cloud,
    status,
    statuses,
)

LATER = START + timedelta(hours=1)
SLOW_RETRIES = {"min_backoff": timedelta(seconds=10), "max_backoff": timedelta(seconds=300), "max_doublings": 3}


def held(released: asyncio.Event, code: int = 200) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        await released.wait()
        return web.Response(status=code)

    return answer


async def full(cloud: Cloud, task_id: str) -> tasks_v2.Task:
    return await cloud.client.get_task(
        request={"name": f"{QUEUE}/tasks/{task_id}", "response_view": tasks_v2.Task.View.FULL}
    )


async def test_a_push_carries_the_task_and_says_what_it_is(cloud: Cloud) -> None:
    http = cloud.http(
        "/work?x=1",
        body=b"hello",
        headers={"X-Mine": "1", "User-Agent": "me", "Host": "elsewhere", "X-CloudTasks-QueueName": "lie"},
    )
    await cloud.create("a", http_request=http)
    await cloud.local.idle()
    (seen,) = cloud.target.seen
    assert (seen.method, seen.path, seen.body) == ("POST", "/work?x=1", b"hello")
    assert seen.headers["Host"] == cloud.target.url.removeprefix("http://")
    assert {name: seen.headers.get(name) for name in ("X-Mine", "User-Agent", "Content-Type", "Authorization")} == {
        "X-Mine": "1",
        "User-Agent": "Google-Cloud-Tasks",
        "Content-Type": "application/octet-stream",
        "Authorization": None,
    }
    assert {name: value for name, value in seen.headers.items() if name.startswith("X-CloudTasks-")} == {
        "X-CloudTasks-QueueName": "q",
        "X-CloudTasks-TaskName": "a",
        "X-CloudTasks-TaskRetryCount": "0",
        "X-CloudTasks-TaskExecutionCount": "0",
        "X-CloudTasks-TaskETA": "1777636800.250000",
    }


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_every_method_is_sent(cloud: Cloud, method: str) -> None:
    await cloud.create(http_request=cloud.http(http_method=method))
    await cloud.local.idle()
    (seen,) = cloud.target.seen
    assert (seen.method, seen.headers.get("Content-Type")) == (method, None)


async def test_an_oidc_token_names_the_account_and_the_url(cloud: Cloud) -> None:
    token = tasks_v2.OidcToken(service_account_email="pusher@p.example")
    await cloud.create(http_request=cloud.http(oidc_token=token, headers={"authorization": "Bearer mine"}))
    await cloud.local.idle()
    kind, _, sent = cloud.target.seen[0].headers["Authorization"].partition(" ")
    key = jwt.PyJWK(cloud.tokens.jwks()["keys"][0])
    claims = jwt.decode(sent, key, algorithms=[ALGORITHM], audience=f"{cloud.target.url}/work", options=UNTIMED)
    assert (kind, claims["iss"], claims["email"]) == ("Bearer", cloud.tokens.issuer, "pusher@p.example")
    assert claims["email_verified"] is True
    assert claims["exp"] - claims["iat"] == 3600


async def test_an_oidc_token_is_for_the_audience_that_is_given(cloud: Cloud) -> None:
    token = tasks_v2.OidcToken(service_account_email="pusher@p.example", audience="https://a.example")
    await cloud.create(http_request=cloud.http(oidc_token=token))
    await cloud.local.idle()
    sent = cloud.target.seen[0].headers["Authorization"].removeprefix("Bearer ")
    assert jwt.decode(sent, options={"verify_signature": False})["aud"] == "https://a.example"


async def test_an_oauth_token_is_some_bearer(cloud: Cloud) -> None:
    token = tasks_v2.OAuthToken(service_account_email="pusher@p.example")
    await cloud.create(http_request=cloud.http(oauth_token=token))
    await cloud.local.idle()
    assert cloud.target.seen[0].headers["Authorization"].startswith("Bearer ya29.")


async def test_a_task_waits_for_its_time(cloud: Cloud) -> None:
    await cloud.create("a", schedule_time=LATER)
    await cloud.advance(3599)
    assert cloud.target.seen == []
    await cloud.advance(1)
    assert cloud.target.header("TaskETA") == ["1777640400.250000"]


@pytest.mark.parametrize("code", [200, 202, 204, 299])
async def test_any_2xx_ends_the_task(cloud: Cloud, code: int) -> None:
    cloud.target.answer = status(code)
    await cloud.create("a")
    await cloud.local.idle()
    assert cloud.ids() == []


async def test_retries_count_attempts_and_executions_as_documented(cloud: Cloud) -> None:
    cloud.target.answer = statuses(500, 404, 409, 503)
    await cloud.create("a")
    for _ in range(6):
        await cloud.advance(60)
    assert cloud.target.header("TaskRetryCount") == ["0", "1", "2", "3", "4"]
    # Answers of 500 and above don't count as executions.
    assert cloud.target.header("TaskExecutionCount") == ["0", "0", "1", "2", "2"]
    assert cloud.target.header("TaskPreviousResponse") == [None, "500", "404", "409", "503"]
    assert cloud.target.header("TaskRetryReason")[-1] == "UNAVAILABLE: HTTP status code 503"


async def test_a_failed_task_shows_its_attempts(cloud: Cloud) -> None:
    cloud.target.answer = statuses(500, 404)
    await cloud.client.update_queue(queue=tasks_v2.Queue(name=QUEUE, retry_config=SLOW_RETRIES))
    await cloud.create("a")
    await cloud.local.idle()
    await cloud.advance(10)
    task = await full(cloud, "a")
    assert (task.dispatch_count, task.response_count) == (2, 2)
    assert task.first_attempt == tasks_v2.Attempt(dispatch_time=START)
    second = START + timedelta(seconds=10)
    assert (task.last_attempt.dispatch_time, task.last_attempt.response_time) == (second, second)
    assert (task.last_attempt.response_status.code, task.last_attempt.response_status.message) == (
        5,
        "NOT_FOUND(5): HTTP status code 404",
    )
    assert task.schedule_time == second + timedelta(seconds=20)


async def test_retries_come_at_the_documented_times(cloud: Cloud) -> None:
    cloud.target.answer = status(500)
    await cloud.client.update_queue(queue=tasks_v2.Queue(name=QUEUE, retry_config=SLOW_RETRIES))
    await cloud.create("a")
    await cloud.local.idle()
    for delay in (10, 20, 40, 80, 160, 240, 300, 300):
        before = len(cloud.target.seen)
        await cloud.advance(delay - 1)
        assert len(cloud.target.seen) == before
        await cloud.advance(1)
        assert len(cloud.target.seen) == before + 1


async def test_a_task_that_used_up_its_attempts_is_gone(cloud: Cloud) -> None:
    cloud.target.answer = status(500)
    await cloud.client.update_queue(queue=tasks_v2.Queue(name=QUEUE, retry_config={"max_attempts": 3}))
    await cloud.create("a")
    for _ in range(5):
        await cloud.advance(60)
    assert (len(cloud.target.seen), cloud.ids()) == (3, [])


async def test_attempts_go_on_until_the_retry_duration_has_passed_too(cloud: Cloud) -> None:
    cloud.target.answer = status(500)
    retry = {"max_attempts": 1, "max_retry_duration": timedelta(seconds=100), "min_backoff": timedelta(seconds=40)}
    await cloud.client.update_queue(queue=tasks_v2.Queue(name=QUEUE, retry_config=retry | {"max_doublings": 1}))
    await cloud.create("a")
    await cloud.local.idle()
    for _ in range(20):
        await cloud.advance(20)
    # At 0, 40, 120: by then both limits are reached.
    assert (len(cloud.target.seen), cloud.ids()) == (3, [])


async def test_a_task_may_have_retry_rules_of_its_own(cloud: Cloud) -> None:
    cloud.target.answer = status(500)
    task = await cloud.create("a", retry_config=tasks_v2.RetryConfig(max_attempts=2))
    assert task.retry_config.max_attempts == 2
    for _ in range(3):
        await cloud.advance(60)
    assert (len(cloud.target.seen), cloud.ids()) == (2, [])


async def test_a_task_without_limits_is_deleted_after_thirty_one_days(cloud: Cloud) -> None:
    cloud.target.answer = status(500)
    retry = {"max_attempts": -1, "min_backoff": timedelta(days=10), "max_backoff": timedelta(days=10)}
    await cloud.client.update_queue(queue=tasks_v2.Queue(name=QUEUE, retry_config=retry))
    await cloud.create("a")
    for _ in range(5):
        await cloud.local.idle()
        await cloud.advance(10 * 86_400)
    assert (len(cloud.target.seen), cloud.ids()) == (4, [])


async def test_no_answer_by_the_deadline_is_a_failure(cloud: Cloud) -> None:
    released = asyncio.Event()
    cloud.target.answer = held(released)
    await cloud.create("a", dispatch_deadline=timedelta(seconds=15))
    await cloud.target.arrived.wait()
    assert (await full(cloud, "a")).dispatch_count == 1
    await cloud.advance(15)
    task = await full(cloud, "a")
    assert (task.dispatch_count, task.response_count) == (1, 0)
    assert task.last_attempt.response_status.message == "DEADLINE_EXCEEDED(4): no answer within 15 s"
    released.set()
    await cloud.advance(1)
    assert (cloud.target.header("TaskPreviousResponse"), cloud.ids()) == ([None, None], [])


async def test_a_target_that_is_not_there_is_tried_again(cloud: Cloud) -> None:
    await cloud.create("a", http_request=tasks_v2.HttpRequest(url="http://127.0.0.1:1/"))
    await cloud.local.idle()
    task = await full(cloud, "a")
    assert (task.dispatch_count, task.response_count, task.last_attempt.response_status.code) == (1, 0, 14)


async def test_a_rate_lets_a_burst_through_and_then_as_many_as_it_says(cloud: Cloud) -> None:
    slow = f"{LOCATION}/queues/slow"
    await cloud.create_queue(slow, rate_limits={"max_dispatches_per_second": 2})
    for _ in range(15):
        await cloud.create(queue=slow)
    await cloud.local.idle()
    counts = [len(cloud.target.seen)]
    for _ in range(3):
        await cloud.advance(0.5)
        counts.append(len(cloud.target.seen))
    assert counts == [10, 11, 12, 13]


async def test_no_more_pushes_are_under_way_than_the_queue_allows(cloud: Cloud) -> None:
    released = asyncio.Event()
    cloud.target.answer = held(released)
    narrow = f"{LOCATION}/queues/narrow"
    await cloud.create_queue(narrow, rate_limits={"max_concurrent_dispatches": 2})
    for _ in range(5):
        await cloud.create(queue=narrow)
    while len(cloud.target.seen) < 2:
        cloud.target.arrived.clear()
        await cloud.target.arrived.wait()
    assert sorted(task.dispatch_count for task in cloud.local.snapshot()) == [0, 0, 0, 1, 1]
    released.set()
    await cloud.local.idle()
    assert (len(cloud.target.seen), cloud.ids()) == (5, [])


@pytest.mark.parametrize("code", [429, 503])
async def test_a_target_that_has_too_much_to_do_stops_the_whole_queue_for_a_while(cloud: Cloud, code: int) -> None:
    cloud.target.answer = statuses(code, code)
    await cloud.create("a")
    await cloud.local.idle()
    await cloud.create("b")
    await cloud.advance(0.9)
    assert len(cloud.target.seen) == 1
    # Both go on when the second is over; the first of them is pushed back again, now for two.
    await cloud.advance(0.1)
    assert len(cloud.target.seen) == 3
    await cloud.create("c")
    await cloud.advance(1.9)
    assert len(cloud.target.seen) == 3
    await cloud.advance(0.1)
    assert cloud.ids() == []


async def test_retry_after_is_considered(cloud: Cloud) -> None:
    cloud.target.answer = status(503, **{"Retry-After": "90"})
    await cloud.create("a")
    await cloud.local.idle()
    cloud.target.answer = status(200)
    await cloud.advance(89)
    assert len(cloud.target.seen) == 1
    await cloud.advance(1)
    assert cloud.ids() == []


async def test_a_redirect_is_followed_within_the_attempt(cloud: Cloud) -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.path == "/work":
            return web.Response(status=307, headers={"Location": "/there"})
        return web.Response()

    cloud.target.answer = answer
    await cloud.create("a", http_request=cloud.http(body=b"x"))
    await cloud.local.idle()
    assert [(seen.path, seen.body) for seen in cloud.target.seen] == [("/work", b"x"), ("/there", b"x")]
    assert cloud.ids() == []


async def test_what_comes_of_an_attempt_after_a_purge_is_nobodys(cloud: Cloud) -> None:
    released = asyncio.Event()
    cloud.target.answer = held(released, 500)
    await cloud.create("a")
    await cloud.target.arrived.wait()
    await cloud.client.purge_queue(name=QUEUE)
    released.set()
    await cloud.local.idle()
    assert cloud.ids() == []


async def test_the_first_success_of_two_attempts_ends_the_task(cloud: Cloud) -> None:
    released = asyncio.Event()
    cloud.target.answer = held(released)
    await cloud.create("a")
    await cloud.target.arrived.wait()
    task = await cloud.client.run_task(name=f"{QUEUE}/tasks/a")
    assert task.dispatch_count == 2
    released.set()
    await cloud.local.idle()
    assert (len(cloud.target.seen), cloud.ids()) == (2, [])


# Faults


async def test_a_refused_call_has_no_effect(cloud: Cloud) -> None:
    cloud.faults.add(Fault("CreateTask", FaultKind.REFUSED, times=1))
    with pytest.raises(ServiceUnavailable):
        await cloud.create("a", schedule_time=LATER)
    assert cloud.ids() == []
    await cloud.create("a", schedule_time=LATER)


async def test_a_call_whose_answer_is_lost_has_its_effect(cloud: Cloud) -> None:
    cloud.faults.add(Fault("CreateTask", FaultKind.ANSWER_LOST, code="UNAVAILABLE"))
    with pytest.raises(ServiceUnavailable):
        await cloud.create("a", schedule_time=LATER)
    assert cloud.ids() == ["a"]


async def test_a_slow_call_is_answered_when_the_time_has_passed(cloud: Cloud) -> None:
    cloud.faults.add(Fault("CreateTask", FaultKind.SLOW, delay=timedelta(seconds=5)))
    creating = asyncio.ensure_future(cloud.create("a", schedule_time=LATER))
    await cloud.client.get_queue(name=QUEUE)
    while cloud.faults.planned()[0].seen == 0:
        await asyncio.sleep(0)
    assert cloud.ids() == []
    cloud.clock.advance(5)
    assert (await creating).create_time == (START + timedelta(seconds=5)).replace(microsecond=0)


async def test_a_duplicated_delivery_reaches_the_target_twice_as_the_same_attempt(cloud: Cloud) -> None:
    cloud.faults.add(Fault("dispatch", FaultKind.DUPLICATED, times=1))
    await cloud.create("a")
    await cloud.local.idle()
    assert (cloud.target.header("TaskRetryCount"), cloud.ids()) == (["0", "0"], [])


async def test_a_delivery_whose_answer_is_lost_is_repeated(cloud: Cloud) -> None:
    cloud.faults.add(Fault("dispatch", FaultKind.ANSWER_LOST, times=1))
    await cloud.create("a")
    await cloud.local.idle()
    assert cloud.ids() == ["a"]
    await cloud.advance(1)
    assert (cloud.target.header("TaskRetryCount"), cloud.ids()) == (["0", "1"], [])


async def test_a_refused_delivery_does_not_reach_the_target(cloud: Cloud) -> None:
    cloud.faults.add(Fault("dispatch", FaultKind.REFUSED, times=1))
    await cloud.create("a")
    await cloud.local.idle()
    assert cloud.target.seen == []
    await cloud.advance(1)
    assert cloud.target.header("TaskRetryCount") == ["1"]


async def test_a_failing_call_that_is_duplicated_tells_of_the_first_time(cloud: Cloud) -> None:
    cloud.faults.add(Fault("GetTask", FaultKind.DUPLICATED))
    with pytest.raises(NotFound):
        await full(cloud, "missing")


UNTIMED = {"verify_exp": False, "verify_iat": False, "verify_nbf": False}
