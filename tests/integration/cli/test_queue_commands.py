from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from ostinato.errors import PermissionDenied
from ostinato.pb.scheduler.v1.admin_pb2 import (
    DeadLetter,
    GetDeadLetterRequest,
    ListDeadLettersRequest,
    ListDeadLettersResponse,
    ListQueuesResponse,
    PauseQueueRequest,
    PurgeDeadLettersRequest,
    PurgeDeadLettersResponse,
    PurgeQueueRequest,
    PurgeQueueResponse,
    Queue,
    RemoteTasks,
    RequeueDeadLettersRequest,
    RequeueDeadLettersResponse,
    ResumeQueueRequest,
)
from tests.integration.cli.conftest import Ran
from tests.integration.client.fake_api import FakeApi

Ostinato = Callable[..., Ran]


def letter(number: int) -> DeadLetter:
    dead = DeadLetter(
        id=number, queue="launches", task_class="launch-invocation", attempts=50, error="Fatal: " + "no payload " * 20
    )
    dead.die_time.FromDatetime(datetime(2026, 11, 21, 12, tzinfo=UTC))
    return dead


def test_queues_are_counted_and_the_oldest_task_has_an_age(ostinato: Ostinato, api: FakeApi) -> None:
    busy = Queue(name="launches", ready=5, claimed=3, later=2, dead=1)
    busy.oldest_ready_time.FromDatetime(datetime.now(UTC) - timedelta(hours=3, minutes=1))
    api.answers["ListQueues"] = ListQueuesResponse(queues=[busy, Queue(name="triages")])
    ran = ostinato("queues")
    assert ran.lines[1].split() == ["launches", "5", "3", "2", "1", "3h", "01m"]
    assert ran.lines[2].split() == ["triages", "0", "0", "0", "0"]


def test_a_pause_and_limits_are_seen_at_a_glance(ostinato: Ostinato, api: FakeApi) -> None:
    api.answers["ListQueues"] = ListQueuesResponse(
        queues=[Queue(name="launches", paused=True, max_rate=2.5, max_burst=10, max_concurrent=200)]
    )
    ran = ostinato("queues")
    assert " ".join(ran.lines[1].split()) == "launches 0 0 0 0 PAUSED 2.5/s, burst 10, 200 at once"
    assert max(map(len, ran.lines)) <= 100


def test_a_queue_is_paused_and_resumed_by_name(ostinato: Ostinato, api: FakeApi) -> None:
    api.answers["PauseQueue"] = Queue(name="launches", paused=True, ready=7, claimed=2)
    api.answers["ResumeQueue"] = Queue(name="launches", ready=7)
    assert ostinato("queues", "pause", "launches").out == "launches is paused: 7 wait, 2 run.\n"
    assert ostinato("queues", "resume", "launches").out == "launches is active: 7 wait.\n"
    assert api.requests == [PauseQueueRequest(name="launches"), ResumeQueueRequest(name="launches")]


def test_what_waits_in_a_remote_queue_has_columns_where_there_is_one(ostinato: Ostinato, api: FakeApi) -> None:
    there = Queue(name="launches", dead=1, remote=RemoteTasks(waiting=3, reminders=2))
    many = Queue(name="timers", remote=RemoteTasks(waiting=1000))
    silent = Queue(name="triages", remote=RemoteTasks(reminders=4))
    api.answers["ListQueues"] = ListQueuesResponse(queues=[there, many, silent, Queue(name="old")])
    ran = ostinato("queues")
    assert ran.lines[0].split()[:3] == ["QUEUE", "REMINDERS", "REMOTE"]
    assert [line.split() for line in ran.lines[1:]] == [
        ["launches", "2", "3", "0", "0", "0", "1"],
        ["timers", "0", "1000+", "0", "0", "0", "0"],
        ["triages", "4", "?", "0", "0", "0", "0"],
        ["old", "0", "0", "0", "0"],
    ]
    api.answers["ResumeQueue"] = there
    told = "launches is active: 3 wait in the remote queue, 2 on their way there, 0 here.\n"
    assert ostinato("queues", "resume", "launches").out == told
    api.answers["PurgeQueue"] = PurgeQueueResponse(purged=2, purged_remote=1000)
    told = "2 purged here, 1000+ in the remote queue.\n"
    assert ostinato("queues", "purge", "launches", "--yes").out == told


def test_a_purge_asks_first(ostinato: Ostinato, api: FakeApi) -> None:
    api.answers["PurgeQueue"] = PurgeQueueResponse(purged=12)
    refused = ostinato("queues", "purge", "triages", stdin=b"n\n")
    assert (refused.exit_code, api.requests) == (1, [])
    assert ostinato("queues", "purge", "triages", stdin=b"y\n").out.endswith("12 purged.\n")
    assert ostinato("queues", "purge", "triages", "--yes").out == "12 purged.\n"
    assert api.requests == [PurgeQueueRequest(name="triages")] * 2


def test_who_purges_reports_is_told_what_is_lost(ostinato: Ostinato, api: FakeApi) -> None:
    refused = ostinato("queues", "purge", "notifications", stdin=b"n\n")
    assert "runs whose end is among them last until their timeout" in refused.err
    assert "runs" not in ostinato("queues", "purge", "triages", stdin=b"n\n").err
    assert api.requests == []


def test_dead_letters_are_purged_in_calls_of_500(ostinato: Ostinato, api: FakeApi) -> None:
    def purge(request: PurgeDeadLettersRequest) -> PurgeDeadLettersResponse:
        return PurgeDeadLettersResponse(purged=min(400, len(request.ids)))

    api.answers["PurgeDeadLetters"] = purge
    ran = ostinato("dead-letters", "purge", *map(str, range(1, 502)))
    assert ran == Ran(1, "401 of 501 purged.\n", "Error: some of these ids are no dead letters (any more).\n")
    assert [len(request.ids) for request in api.requests] == [500, 1]


def test_dead_letters_of_a_queue_or_an_age_are_purged_after_a_question(ostinato: Ostinato, api: FakeApi) -> None:
    api.answers["PurgeDeadLetters"] = PurgeDeadLettersResponse(purged=12)
    refused = ostinato("dead-letters", "purge", "--queue", "triages", stdin=b"n\n")
    assert (refused.exit_code, api.requests) == (1, [])
    assert ostinato("dead-letters", "purge", "--queue", "triages", "--older-than", "7", "--yes").out == "12 purged.\n"
    assert api.requests == [PurgeDeadLettersRequest(queue="triages", older_than=timedelta(days=7))]


@pytest.mark.parametrize("arguments", [(), ("1", "--queue", "triages"), ("1", "--older-than", "0")])
def test_a_purge_is_of_ids_or_of_what_is_described(
    ostinato: Ostinato, api: FakeApi, arguments: tuple[str, ...]
) -> None:
    assert ostinato("dead-letters", "purge", *arguments).exit_code == 2
    assert api.requests == []


def test_all_of_a_dead_letter_is_shown(ostinato: Ostinato, api: FakeApi) -> None:
    dead = letter(7)
    dead.payload_json = '{"jobId": "4"}'
    api.answers["GetDeadLetter"] = dead
    ran = ostinato("dead-letters", "show", "7")
    assert api.requests == [GetDeadLetterRequest(id=7)]
    shown = {" ".join(line.split()) for line in ran.lines}
    assert {"id 7", "class launch-invocation", 'payload {"jobId": "4"}'} <= shown
    assert ran.out.replace("\n", " ").count("payload") > 15  # the whole error
    dead.payload_json, dead.raw_payload, dead.payload_bytes = "", b"\x08\x04", 2
    assert "2 bytes" in ostinato("dead-letters", "show", "7").out


def test_more_dead_letters_than_are_counted_have_a_plus(ostinato: Ostinato, api: FakeApi) -> None:
    api.answers["ListQueues"] = ListQueuesResponse(queues=[Queue(name="triages", dead=10_000)])
    assert ostinato("queues").lines[1].split() == ["triages", "0", "0", "0", "10000+"]


def test_queues_as_json_are_one_object(ostinato: Ostinato, api: FakeApi) -> None:
    api.answers["ListQueues"] = ListQueuesResponse(queues=[Queue(name="triages", ready=1)])
    assert ostinato("--output", "json", "queues").json == {
        "queues": [
            {
                "name": "triages",
                "ready": "1",
                "claimed": "0",
                "later": "0",
                "dead": "0",
                "paused": False,
                "maxRate": 0.0,
                "maxBurst": 0,
                "maxConcurrent": 0,
            }
        ]
    }


def test_dead_letters_fit_a_hundred_columns(ostinato: Ostinato, api: FakeApi) -> None:
    api.answers["ListDeadLetters"] = ListDeadLettersResponse(dead_letters=[letter(7)])
    ran = ostinato("dead-letters", "--queue", "launches", "--limit", "5")
    assert api.requests == [ListDeadLettersRequest(queue="launches", page_size=5)]
    assert ran.lines[1].split()[:5] == ["7", "launches", "launch-invocation", "2026-11-21T12:00:00Z", "50"]
    assert len(ran.lines[1]) == 100


def test_no_more_dead_letters_are_listed_than_asked_for(ostinato: Ostinato, api: FakeApi) -> None:
    api.answers["ListDeadLetters"] = ListDeadLettersResponse(
        dead_letters=[letter(3), letter(2), letter(1)], next_page_token="more"
    )
    listed = ostinato("dead-letters", "--limit", "2", "--output", "json").json
    assert [dead["id"] for dead in listed["deadLetters"]] == ["3", "2"]


def test_no_dead_letters_are_good_news(ostinato: Ostinato, api: FakeApi) -> None:
    api.answers["ListDeadLetters"] = ListDeadLettersResponse()
    assert ostinato("dead-letters") == Ran(0, "", "There are no dead letters.\n")


def test_requeue_names_each_id_once_and_in_calls_of_500(ostinato: Ostinato, api: FakeApi) -> None:
    def requeue(request: RequeueDeadLettersRequest) -> RequeueDeadLettersResponse:
        return RequeueDeadLettersResponse(requeued=len(request.ids))

    api.answers["RequeueDeadLetters"] = requeue
    ran = ostinato("dead-letters", "requeue", "3", *map(str, range(1, 502)))
    assert (ran.exit_code, ran.out) == (0, "501 of 501 requeued.\n")
    assert [list(request.ids) for request in api.requests] == [list(range(1, 501)), [501]]


def test_ids_that_are_no_dead_letters_are_a_failure(ostinato: Ostinato, api: FakeApi) -> None:
    api.answers["RequeueDeadLetters"] = RequeueDeadLettersResponse(requeued=1)
    assert ostinato("dead-letters", "requeue", "1", "2") == Ran(
        1, "1 of 2 requeued.\n", "Error: some of these ids are no dead letters (any more).\n"
    )


@pytest.mark.parametrize("ids", [(), ("x",), ("0",), ("-1",)])
def test_requeue_without_proper_ids_is_wrong_usage(ostinato: Ostinato, api: FakeApi, ids: tuple[str, ...]) -> None:
    assert ostinato("dead-letters", "requeue", *ids).exit_code == 2
    assert api.requests == []


@pytest.mark.parametrize("arguments", [("queues",), ("dead-letters",), ("dead-letters", "requeue", "1")])
def test_who_is_no_administrator_is_told(ostinato: Ostinato, api: FakeApi, arguments: tuple[str, ...]) -> None:
    denied = PermissionDenied("user:bob may not do that")
    api.answers = dict.fromkeys(["ListQueues", "ListDeadLetters", "RequeueDeadLetters"], denied)
    assert ostinato(*arguments) == Ran(1, "", "Error: user:bob may not do that (PERMISSION_DENIED)\n")
