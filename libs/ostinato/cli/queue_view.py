"""Queues and dead letters as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from ostinato.cli.formatting import find_time, format_duration, time_of
from ostinato.cli.tables import Column, note, print_record, print_table
from ostinato.clock import SystemClock
from ostinato.pb.scheduler.v1.admin_pb2 import DeadLetter, Queue

_QUEUE_COLUMNS = (
    Column("QUEUE"),
    Column("READY", right=True),
    Column("CLAIMED", right=True),
    Column("LATER", right=True),
    Column("DEAD", right=True),
    Column("OLDEST READY", right=True),
    Column("STATE"),
    Column("LIMITS"),
)
_MOST_DEAD_COUNTED = 10_000
_LETTER_COLUMNS = (
    Column("ID", right=True),
    Column("QUEUE"),
    Column("CLASS"),
    Column("KIND"),
    Column("DIED"),
    Column("ATTEMPTS", right=True),
    Column("ERROR", shrinks_to=20),
)


def print_queues(queues: Sequence[Queue]) -> None:
    now = SystemClock().now()
    print_table(_QUEUE_COLUMNS, [_queue_row(queue, now) for queue in queues])


def print_dead_letters(letters: Sequence[DeadLetter]) -> None:
    if not letters:
        note("There are no dead letters.")
        return
    print_table(_LETTER_COLUMNS, [_letter_row(letter) for letter in letters])


def print_dead_letter(letter: DeadLetter) -> None:
    print_record(
        [
            ("id", str(letter.id)),
            ("queue", letter.queue),
            ("class", letter.task_class),
            ("kind", letter.kind),
            ("died", time_of(letter, "die_time")),
            ("attempts", str(letter.attempts)),
            ("failures", str(letter.failures)),
            ("trace", letter.traceparent),
            ("error", letter.error),
            ("payload", _payload(letter)),
        ]
    )


def _payload(letter: DeadLetter) -> str:
    if letter.payload_json:
        return letter.payload_json
    if letter.kind == "reminder":
        return f"{letter.payload_bytes} bytes, the request to the remote queue: {letter.raw_payload.hex()}"
    return f"{letter.payload_bytes} bytes of a class unknown to the api: {letter.raw_payload.hex()}"


def _queue_row(queue: Queue, now: datetime) -> list[str]:
    oldest = find_time(queue, "oldest_ready_time")
    dead = f"{queue.dead}+" if queue.dead >= _MOST_DEAD_COUNTED else queue.dead
    counts = (queue.ready, queue.claimed, queue.later, dead)
    age = format_duration(max(now - oldest, now - now)) if oldest else ""
    return [queue.name, *map(str, counts), age, "PAUSED" if queue.paused else "", _limits(queue)]


def _limits(queue: Queue) -> str:
    rate = f"{queue.max_rate:g}/s, burst {queue.max_burst}" if queue.max_rate else ""
    concurrent = f"{queue.max_concurrent} at once" if queue.max_concurrent else ""
    return ", ".join(filter(None, (rate, concurrent)))


def _letter_row(letter: DeadLetter) -> list[str]:
    return [
        str(letter.id),
        letter.queue,
        letter.task_class,
        letter.kind,
        time_of(letter, "die_time"),
        str(letter.attempts),
        letter.error,
    ]
