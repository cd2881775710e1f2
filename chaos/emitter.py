"""The client: emits triggers at a steady rate and repeats every call, with the same ids, until it is answered."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from random import Random

import grpc

from chaos.project import TRIGGERED, resource_name
from ostinato.client import ClientError, open_client
from ostinato.client.ostinato_client import OstinatoClient
from ostinato.pb.scheduler.v1.triggers_pb2 import EmitTriggersRequest

# What a caller has to expect while servers die.
_PASSING = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNKNOWN,  # the stream broke without a status
}
_BATCH = 10
_CALLERS = 12
_CALL_LIMIT = timedelta(seconds=5)

# (job, trigger id)
Emitted = tuple[str, str]


class Emitter:
    """`accepted` is what the api has answered OK for, the first time or as a duplicate."""

    def __init__(self, address: str, rate: float, seed: int) -> None:
        self.accepted: set[Emitted] = set()
        self.repeated_calls = 0
        self.accepted_at: list[float] = []  # on the loop's clock, one per answer
        self.unexpected: Counter[str] = Counter()
        self._address = address
        self._rate = rate
        self._random = Random(f"emitter {seed}")
        self._stopping = asyncio.Event()
        self._begun = 0

    async def run(self) -> None:
        """Returns when it was told to stop and every call that was begun has been answered."""
        async with asyncio.TaskGroup() as group:
            for number in range(_CALLERS):
                group.create_task(self._call_again_and_again(number))

    def stop(self) -> None:
        self._stopping.set()

    async def _call_again_and_again(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()
        async with open_client(self._address, call_limit=_CALL_LIMIT) as client:
            while not self._stopping.is_set():
                at = start + self._begun * _BATCH / self._rate
                self._begun += 1
                await asyncio.sleep(max(0.0, at - loop.time()))
                await self._emit(client, f"{number}-{self._begun}")

    async def _emit(self, client: OstinatoClient, prefix: str) -> None:
        request = EmitTriggersRequest()
        emitted: set[Emitted] = set()
        for index in range(_BATCH):
            batch = request.batches.add(jobs=[resource_name(job) for job in self._some_jobs()])
            batch.trigger.id = f"{prefix}-{index}"
            emitted |= {(name.rpartition("/")[2], batch.trigger.id) for name in batch.jobs}
        await self._until_answered(client, request, len(emitted))
        self.accepted |= emitted
        self.accepted_at.append(asyncio.get_running_loop().time())

    async def _until_answered(self, client: OstinatoClient, request: EmitTriggersRequest, count: int) -> None:
        while True:
            try:
                answer = await client.emit_triggers(request)
            except ClientError as error:
                if error.code not in _PASSING:
                    self.unexpected[f"{error.code.name}: {error.message}"] += 1
                self.repeated_calls += 1
                await asyncio.sleep(self._random.uniform(0.05, 0.3))
                continue
            if sum(result.accepted + result.duplicate for result in answer.results) != count:
                self.unexpected[f"not all triggers were taken: {answer}"] += 1
            return

    def _some_jobs(self) -> list[str]:
        return self._random.sample(TRIGGERED, 2 if self._random.random() < 0.1 else 1)
