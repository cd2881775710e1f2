"""Queues and dead letters as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from ostinato.cli.formatting import find_time, format_duration, time_of
from ostinato.cli.tables import Column, note, print_record, print_table
from ostinato.clock import SystemClock
from ostinato.pb.scheduler.v1.admin_pb2 import DeadLetter, PurgeQueueResponse, Queue

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
# Where tasks wait in another system: committed and on their way there, and there.
_REMOTE_COLUMNS = (Column("REMINDERS", right=True), Column("REMOTE", right=True))
_MOST_DEAD_COUNTED = 10_000
_MOST_REMOTE_COUNTED = 1000
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
    if any(queue.HasField("remote") for queue in queues):
        name, *others = _QUEUE_COLUMNS
        rows = [_queue_row(queue, now) for queue in queues]
        told = [[row[0], *_remote_cells(queue), *row[1:]] for queue, row in zip(queues, rows, strict=True)]
        print_table((name, *_REMOTE_COLUMNS, *others), told)
    else:
        print_table(_QUEUE_COLUMNS, [_queue_row(queue, now) for queue in queues])


def told_waiting(queue: Queue) -> str:
    """`7 wait`, and where another system has the queue's tasks, how many wait there or on their way."""
    if not queue.HasField("remote"):
        return f"{queue.ready} wait"
    reminders, there = _remote_cells(queue)
    return f"{there} wait in the remote queue, {reminders} on their way there, {queue.ready} here"


def told_purged(purged: PurgeQueueResponse) -> str:
    if not purged.HasField("purged_remote"):
        return f"{purged.purged} purged."
    return f"{purged.purged} purged here, {_counted(purged.purged_remote, _MOST_REMOTE_COUNTED)} in the remote queue."


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


def _remote_cells(queue: Queue) -> tuple[str, str]:
    if not queue.HasField("remote"):
        return "", ""
    remote = queue.remote
    there = _counted(remote.waiting, _MOST_REMOTE_COUNTED) if remote.HasField("waiting") else "?"
    return str(remote.reminders), there


def _counted(count: int, most: int) -> str:
    return f"{count}+" if count >= most else str(count)


def _queue_row(queue: Queue, now: datetime) -> list[str]:
    oldest = find_time(queue, "oldest_ready_time")
    counts = (queue.ready, queue.claimed, queue.later, _counted(queue.dead, _MOST_DEAD_COUNTED))
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
