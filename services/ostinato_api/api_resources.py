"""What the commands of the api work with."""

from __future__ import annotations

from dataclasses import dataclass

from ostinato.auth.page_token import PageTokens
from ostinato.jobflow.task_queue import TaskQueue
from ostinato.storage.database import Database
from ostinato.taskqueue import Dispatcher
from ostinato_api.append_logs import AppendLogs
from ostinato_api.watch_loop import WatchLoop


@dataclass(frozen=True, slots=True)
class ApiResources:
    db: Database
    queue: TaskQueue
    page_tokens: PageTokens
    watches: WatchLoop
    append_logs: AppendLogs  # the one command with keys and counters of its own

    @property
    def dispatcher(self) -> Dispatcher:
        return self.queue.dispatcher
