"""Reasons to run a job, and the ids that make each of them count once.

An id deduplicates within one job. Ids made here are unique by construction: a generation never repeats, and an
invocation's name is global.
"""

from __future__ import annotations

from enum import StrEnum

MAX_TRIGGER_ID_BYTES = 500
# Such ids are made here only: one from outside could take the place of a slot or of an upstream's end.
RESERVED_ID_PREFIXES = ("cron:", "upstream:", "retry:")
# Triggers that become an invocation each are never dropped, so no more than this many of a job may wait.
MAX_WAITING = 10_000


class TriggerKind(StrEnum):
    """Which payload a trigger carries."""

    CRON = "CRON"
    CONSOLE = "CONSOLE"
    NOOP = "NOOP"
    EVENT = "EVENT"
    UPSTREAM = "UPSTREAM"
    RETRY = "RETRY"


def cron_trigger_id(generation: int) -> str:
    return f"cron:v1:{generation}"


def upstream_trigger_id(invocation_name: str) -> str:
    return f"upstream:{invocation_name}"


def retry_trigger_id(invocation_name: str) -> str:
    """Of an invocation at most one retry waits at a time."""
    return f"retry:{invocation_name}"


def retried_invocation_name(trigger_id: str) -> str:
    return trigger_id.removeprefix("retry:")


def noop_trigger_id(invocation_id: int, index: int) -> str:
    return f"noop:{invocation_id}:{index}"
