"""The schema of the scheduler: which migrations it needs and which of its tables are partitioned."""

from __future__ import annotations

from datetime import datetime

from ostinato.scheduling.invocation_id import id_range
from ostinato.storage.migrate import MigrationLine
from ostinato.storage.partitions import PartitionedTable, by_time


def by_invocation_id(start: datetime, end: datetime) -> tuple[str, str]:
    low, high = id_range(start, end)
    return str(low), str(high)


SCHEDULER_LINE = MigrationLine("scheduler", "ostinato.jobstore")

PARTITIONED_TABLES = (
    PartitionedTable("invocation_input", by_invocation_id),
    PartitionedTable("invocation_history", by_invocation_id),
    PartitionedTable("invocation_log", by_invocation_id),
    PartitionedTable("invocation_message", by_invocation_id),
    PartitionedTable("rejected_report", by_invocation_id),
    PartitionedTable("triage_log", by_time),
)
