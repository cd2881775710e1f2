"""Reasons to run a job, and the ids that make each of them count once.

An id deduplicates within one job. Ids made here are unique by construction: a generation never repeats, and an
invocation's name is global.
"""

from __future__ import annotations

from enum import StrEnum

MAX_TRIGGER_ID_BYTES = 500
# Such ids are made here only: one from outside could take the place of a slot or of an upstream's end.
RESERVED_ID_PREFIXES = ("cron:", "upstream:")


class TriggerKind(StrEnum):
    """Which payload a trigger carries."""

    CRON = "CRON"
    CONSOLE = "CONSOLE"
    NOOP = "NOOP"
    EVENT = "EVENT"
    UPSTREAM = "UPSTREAM"


def cron_trigger_id(generation: int) -> str:
    return f"cron:v1:{generation}"


def upstream_trigger_id(invocation_name: str) -> str:
    return f"upstream:{invocation_name}"


def noop_trigger_id(invocation_id: int, index: int) -> str:
    return f"noop:{invocation_id}:{index}"
