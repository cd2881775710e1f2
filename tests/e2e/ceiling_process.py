"""A process with a worker of a queue with a ceiling, that writes down what it runs. Reads settings as services do."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from google.protobuf.wrappers_pb2 import Int64Value

from ostinato.config.database import read_database
from ostinato.config.environment import EnvironmentReader
from ostinato.storage.database import Database, open_database
from ostinato.taskqueue import Handler, TaskClass, TaskContext, TaskKind, Worker, WorkerSettings, open_dispatcher
from ostinato.taskqueue.embedded.pace import Pace

NUMBERED = TaskClass("numbered", Int64Value, TaskKind.FOLLOWS_CONTEXT, "numbers", max_running=20)
HANGS_AT_FIRST = 100  # tasks from here on end only when they are run again


def handler(db: Database) -> Handler:
    async def handle(task: TaskContext, number: Any) -> None:
        run = await db.fetchval(
            "insert into run (process, number, began) values ($1, $2, clock_timestamp()) returning id",
            os.getpid(),
            number.value,
        )
        await asyncio.sleep(3600 if number.value >= HANGS_AT_FIRST and task.attempt == 1 else 0.03)
        await db.execute("update run set ended = clock_timestamp() where id = $1", run)

    return Handler.single(NUMBERED, handle)


async def main() -> None:
    settings = read_database(EnvironmentReader(os.environ), "test")
    async with open_database(settings) as db, open_dispatcher(db, classes=[NUMBERED]) as dispatcher:
        pace = Pace(lease=1.5, beat_every=0.2)
        await Worker(db, dispatcher, [handler(db)], settings=WorkerSettings(pace=pace)).run()


if __name__ == "__main__":
    asyncio.run(main())
