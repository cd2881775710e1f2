"""How what a crash left behind on its way to a remote queue is found, and who looks for it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from ostinato.config.environment import EnvironmentReader, is_host

TASK_QUEUE = "OSTINATO_SWEEP_TASK_QUEUE"
TASK_PREFIX = "OSTINATO_SWEEP_TASK_PREFIX"
TASK_HOST = "OSTINATO_SWEEP_TASK_HOST"

_QUEUE = re.compile(r"[A-Za-z0-9-]{1,100}")
# Where engines take what is pushed.
SERVED_PATH = re.compile(r"/internal/tasks(/[A-Za-z0-9\-._~!$&'()*+,;=:@/]*)?")
SERVED_PATH_RULE = "must be a path that begins with /internal/tasks"


class SweeperKind(StrEnum):
    """`distributed`: as tasks of a queue, by all engines. `in_process`: by whoever begins the sweep."""

    DISTRIBUTED = "distributed"
    IN_PROCESS = "in_process"


@dataclass(frozen=True, slots=True)
class SweepSettings:
    """A sweep begins with `shards` ranges of ids; what a scan of `tasks_per_scan` leaves over is split into at most
    `secondary_scan_shards`. An empty `task_host` is that of all other tasks.
    """

    sweeper: SweeperKind = SweeperKind.DISTRIBUTED
    every: timedelta = timedelta(seconds=15)
    shards: int = 16
    tasks_per_scan: int = 2048
    secondary_scan_shards: int = 16
    task_queue: str = "tq-sweep"
    task_prefix: str = "/internal/tasks"
    task_host: str = ""


def read_sweep(reader: EnvironmentReader) -> SweepSettings:
    usual = SweepSettings()
    host = reader.given(TASK_HOST)
    if host and not is_host(host):
        reader.refuse(TASK_HOST, "must be HOST or HOST:PORT")
    return SweepSettings(
        sweeper=reader.choice("OSTINATO_SWEEPER", usual.sweeper),
        every=timedelta(seconds=reader.integer("OSTINATO_SWEEP_EVERY", 15, low=1, high=3600)),
        shards=reader.integer("OSTINATO_SWEEP_SHARDS", usual.shards, low=1, high=1024),
        tasks_per_scan=reader.integer("OSTINATO_SWEEP_TASKS_PER_SCAN", usual.tasks_per_scan, low=1, high=100_000),
        secondary_scan_shards=reader.integer(
            "OSTINATO_SWEEP_SECONDARY_SCAN_SHARDS", usual.secondary_scan_shards, low=1, high=1024
        ),
        task_queue=_text(reader, TASK_QUEUE, usual.task_queue, _QUEUE, "must be 1 to 100 letters, digits or `-`"),
        task_prefix=_text(reader, TASK_PREFIX, usual.task_prefix, SERVED_PATH, SERVED_PATH_RULE),
        task_host=host,
    )


def _text(reader: EnvironmentReader, name: str, default: str, form: re.Pattern[str], rule: str) -> str:
    text = reader.given(name) or default
    if not form.fullmatch(text):
        reader.refuse(name, rule)
        return default
    return text
