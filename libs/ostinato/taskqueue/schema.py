"""Which migrations the embedded queue needs."""

from __future__ import annotations

from ostinato.storage.migrate import MigrationLine

TASKQUEUE_LINE = MigrationLine("taskqueue", "ostinato.taskqueue.embedded")
