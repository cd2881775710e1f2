"""What an add must obey, so that it can be delivered. Checked before anything is buffered or written. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from google.protobuf.message import Message

from ostinato.errors import Violation
from ostinato.taskqueue.task_class import TaskClass, TaskKind
from ostinato.taskqueue.task_name import dedup_key_rule

MAX_PAYLOAD_BYTES = 1 << 20


def kind_violations(task_class: TaskClass[Any], *, in_transaction: bool) -> Sequence[Violation]:
    if not in_transaction and task_class.kind is TaskKind.TRANSACTIONAL:
        return [Violation("tx", f"`{task_class.name}` must be added in a transaction")]
    if in_transaction and task_class.kind is TaskKind.NON_TRANSACTIONAL:
        return [Violation("tx", f"`{task_class.name}` must not be added in a transaction")]
    return ()


def due_time_violations(delay: timedelta | None, eta: datetime | None) -> Iterator[Violation]:
    if delay is not None and eta is not None:
        yield Violation("delay", "give a delay or an eta, not both")
    if delay is not None and delay < timedelta(0):
        yield Violation("delay", "must not be negative")
    if eta is not None and eta.tzinfo is None:
        yield Violation("eta", "must be an aware datetime")


def payload_violations(
    task_class: TaskClass[Any], payloads: Sequence[Message], encoded: Sequence[bytes]
) -> Sequence[Violation]:
    if {*map(type, payloads)} != {task_class.payload}:
        return [Violation("payload", f"`{task_class.name}` takes {task_class.payload.__name__}")]
    if max(map(len, encoded)) > MAX_PAYLOAD_BYTES:
        return [Violation("payload", f"must be at most {MAX_PAYLOAD_BYTES} bytes")]
    return ()


def dedup_key_violations(keys: Sequence[str], *, in_transaction: bool) -> Iterator[Violation]:
    """A name that is taken can't be told to a caller whose transaction goes on and may yet roll back."""
    if in_transaction:
        yield Violation("dedup_key", "must not be given in a transaction")
    for rule in {rule for key in keys if (rule := dedup_key_rule(key)) is not None}:
        yield Violation("dedup_key", rule)
