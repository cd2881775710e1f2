"""A process with a worker whose handler kills it when it meets the task 13. Run with the URL of a database."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

from google.protobuf.wrappers_pb2 import Int64Value

from ostinato.storage.database import Database, DatabaseSettings, open_database
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


async def main(url: str) -> None:
    async with open_database(DatabaseSettings(url)) as db, open_dispatcher(db, classes=[NUMBERED]) as dispatcher:
        pace = Pace(lease=1.0, beat_every=0.2)
        await Worker(db, dispatcher, [handler(db)], settings=WorkerSettings(pace=pace)).run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
