"""The queue's small pure parts: strands, headers, refusals, polling, load."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from ostinato.taskqueue.embedded.poll_interval import next_interval
from ostinato.taskqueue.embedded.queue_load import QueueLoad
from ostinato.taskqueue.embedded.queue_state import QueueState
from ostinato.taskqueue.embedded.refusal import decide_refusal
from ostinato.taskqueue.embedded.strand import queue_of, strand_of
from ostinato.taskqueue.outcome import Verdict
from ostinato.taskqueue.task_header import TaskHeader, decode_header
from ostinato.taskqueue.wake_up import parse_hint

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("queue", [1, 7, 32767])
@pytest.mark.parametrize("priority", range(4))
def test_strand_packs_queue_priority_and_subqueue(queue: int, priority: int) -> None:
    strand = strand_of(queue, priority=priority, subqueue=5)
    assert queue_of(strand) == queue
    assert strand < 2**31


def test_empty_header_is_not_stored() -> None:
    assert TaskHeader().encode() is None
    assert decode_header(None) == TaskHeader()


def test_header_round_trip_and_unknown_keys() -> None:
    header = TaskHeader(traceparent="00-a-b-01", refused_since=NOW)
    assert decode_header(header.encode()) == header
    assert decode_header(b'{"traceparent":"x","later":1}') == TaskHeader(traceparent="x")


def test_a_refused_task_is_retried_for_an_hour_from_its_eta() -> None:
    first = decide_refusal(eta=NOW, refused_since=None, now=NOW)
    assert (first.give_up, first.refused_since) == (False, NOW)
    later = decide_refusal(eta=NOW, refused_since=NOW, now=NOW + timedelta(minutes=59))
    assert (later.give_up, later.delay) == (False, timedelta(minutes=5))
    assert decide_refusal(eta=NOW, refused_since=NOW, now=NOW + timedelta(hours=1)).give_up


def test_polling_is_quick_while_there_is_work_and_slows_down_after() -> None:
    assert next_interval(1.0, since_work=0.5, listening=True) == 0.02
    assert next_interval(0.02, since_work=5, listening=True) == pytest.approx(0.03)
    assert next_interval(1.9, since_work=5, listening=True) == 2.0
    assert next_interval(0.9, since_work=5, listening=False) == 0.3


@pytest.mark.parametrize(
    ("payload", "hint"), [("512,513", frozenset({512, 513})), ("*", None), ("x", None), ("", None)]
)
def test_hints_that_are_not_ours_mean_look_at_everything(payload: str, hint: frozenset[int] | None) -> None:
    assert parse_hint(payload) == hint


@dataclass
class FakeExecutor:
    free: int
    buffered: int
    in_batches: int = 0


def test_an_idle_queue_claims_for_its_free_runners_only() -> None:
    assert QueueLoad([FakeExecutor(free=10, buffered=4)], QueueState(1)).room(100.0) == 6


def test_a_quick_queue_prefetches_what_it_ends_in_50_ms() -> None:
    load = QueueLoad([FakeExecutor(free=0, buffered=0)], QueueState(1))
    load.room(0.5)
    for _ in range(1000):
        load.ended(0.55, Verdict.DONE)
    assert load.room(0.6) == 250  # 10,000/s, smoothed to 5,000/s, times 50 ms


def test_a_full_queue_with_slow_tasks_claims_nothing() -> None:
    load = QueueLoad([FakeExecutor(free=0, buffered=0)], QueueState(1))
    load.room(0.0)
    load.ended(5.0, Verdict.DONE)
    assert load.room(10.0) == 0
