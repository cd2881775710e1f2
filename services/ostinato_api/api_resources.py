"""What the commands of the api work with."""

from __future__ import annotations

from dataclasses import dataclass

from ostinato.auth.page_token import PageTokens
from ostinato.storage.database import Database
from ostinato.taskqueue import Dispatcher
from ostinato_api.append_logs import AppendLogs
from ostinato_api.watch_loop import WatchLoop


@dataclass(frozen=True, slots=True)
class ApiResources:
    db: Database
    dispatcher: Dispatcher
    page_tokens: PageTokens
    watches: WatchLoop
    append_logs: AppendLogs  # the one command with keys and counters of its own
