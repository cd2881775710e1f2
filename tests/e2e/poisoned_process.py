"""A process with a worker whose handler kills it when it meets the task 13. Told its database as services are."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

from google.protobuf.wrappers_pb2 import Int64Value

from ostinato.config.database import read_database
from ostinato.config.environment import EnvironmentReader
from ostinato.storage.database import Database, open_database
from ostinato.taskqueue import Handler, TaskClass, TaskContext, TaskKind, Worker, WorkerSettings, open_dispatcher
from ostinato.taskqueue.embedded.pace import Pace

POISON = 13
NUMBERED = TaskClass("numbered", Int64Value, TaskKind.FOLLOWS_CONTEXT, "numbers", max_crashes=3)


def handler(db: Database) -> Handler:
    async def handle(task: TaskContext, number: Any) -> None:
        if number.value == POISON:
            if task.attempt % 2:
                os._exit(1)
            os.kill(os.getpid(), signal.SIGKILL)
        await asyncio.sleep(0.2)  # so that neighbours are under way when the poison strikes
        await db.execute("insert into ended (number, crashes) values ($1, $2)", number.value, task.crashes)

    return Handler.single(NUMBERED, handle)


async def main() -> None:
    settings = read_database(EnvironmentReader(os.environ), "test")
    async with open_database(settings) as db, open_dispatcher(db, classes=[NUMBERED]) as dispatcher:
        pace = Pace(lease=1.0, beat_every=0.2)
        await Worker(db, dispatcher, [handler(db)], settings=WorkerSettings(pace=pace)).run()


if __name__ == "__main__":
    asyncio.run(main())
