"""What an add must obey, so that it can be delivered. Checked before anything is buffered or written. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from google.protobuf.message import Message

from ostinato.errors import Violation
from ostinato.taskqueue.priority import Priority
from ostinato.taskqueue.task_class import TaskClass, TaskKind
from ostinato.taskqueue.task_name import dedup_key_rule

MAX_PAYLOAD_BYTES = 1 << 20
LONGEST_DELAY = timedelta(days=3660)
_FAIR_KEY_END = (1 << 31) - 1
_PRIORITIES = frozenset(Priority)


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
    if delay is not None and delay > LONGEST_DELAY:
        yield Violation("delay", f"must be at most {LONGEST_DELAY.days} days")
    if eta is not None and eta.tzinfo is None:
        yield Violation("eta", "must be an aware datetime")
    elif eta is not None and not 1970 <= eta.year < 9999:
        yield Violation("eta", "must be in the years 1970 to 9998")


def share_violations(fair_keys: Sequence[int], priority: int) -> Iterator[Violation]:
    if min(fair_keys) < -_FAIR_KEY_END or max(fair_keys) > _FAIR_KEY_END:
        yield Violation("fair_key", f"must be from -{_FAIR_KEY_END} to {_FAIR_KEY_END}")
    if priority not in _PRIORITIES:  # nobody would ever look where it goes
        yield Violation("priority", "must be one of Priority")


def type_violations(task_class: TaskClass[Any], payloads: Sequence[Message]) -> Sequence[Violation]:
    if {*map(type, payloads)} != {task_class.payload}:
        return [Violation("payload", f"`{task_class.name}` takes {task_class.payload.__name__}")]
    return ()


def payload_violations(
    task_class: TaskClass[Any], payloads: Sequence[Message], encoded: Sequence[bytes]
) -> Sequence[Violation]:
    if violations := type_violations(task_class, payloads):
        return violations
    if max(map(len, encoded)) > MAX_PAYLOAD_BYTES:
        return [Violation("payload", f"must be at most {MAX_PAYLOAD_BYTES} bytes")]
    return ()


def dedup_key_violations(keys: Sequence[str], *, in_transaction: bool) -> Iterator[Violation]:
    """A name that is taken can't be told to a caller whose transaction goes on and may yet roll back."""
    if in_transaction:
        yield Violation("dedup_key", "must not be given in a transaction")
    for rule in {rule for key in keys if (rule := dedup_key_rule(key)) is not None}:
        yield Violation("dedup_key", rule)
