"""An installation under load: how soon it works again after a fault, how it comes to rest, and whether all is right."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import TypeVar

import asyncpg

from chaos.audit import Claims, audit
from chaos.emitter import Emitter
from chaos.evidence import Evidence, find_contradictions, what_waits
from chaos.installation import Installation
from chaos.project import SCHEDULED, resource_name
from ostinato.client import ClientError, open_client

T = TypeVar("T")

SETTLE_SECONDS = 90.0
_LOOK_EVERY = 2.0


class Load:
    """Build it with `open_load`."""

    def __init__(self, installed: Installation, emitter: Emitter) -> None:
        self.installed = installed
        self.emitter = emitter
        self.contradictions: Counter[str] = Counter()
        self.looks = 0
        self._emitting = asyncio.create_task(emitter.run())
        self._looking = asyncio.create_task(self._look_again_and_again())

    async def works_again(self, *jobs: str) -> float:
        """Seconds from now until the api has taken triggers and each of `jobs` has had a success, or the scheduled."""
        clock = asyncio.get_running_loop().time
        began, now = clock(), datetime.now(UTC)
        await _until(lambda: _done(any(at > began for at in self.emitter.accepted_at[-1:])))
        await self._newer_successes(dict.fromkeys(jobs or SCHEDULED, now))
        return clock() - began

    async def settle(self) -> list[str]:
        """No more faults: everything has to come to its end by itself. Returns what did not."""
        try:
            async with asyncio.timeout(SETTLE_SECONDS):
                self.installed.journal.note("peace")
                await self.installed.until_ready()
                self.installed.journal.note("all serve")
                self.emitter.stop()
                await self._emitting
                self.installed.journal.note("the emitter has been answered")
                await self._newer_successes(dict.fromkeys(SCHEDULED, datetime.now(UTC)))
                await _patiently(self.installed.pause_schedules)
                self.installed.journal.note("schedules are paused")
        except TimeoutError:
            return [f"after {SETTLE_SECONDS:g} s of peace a service does not serve, or a schedule stands still"]
        try:
            async with asyncio.timeout(SETTLE_SECONDS):
                await _until(self._nothing_waits)
        except TimeoutError:
            return [f"not at rest after {SETTLE_SECONDS:g} s of peace"]
        return []

    def audit(self, evidence: Evidence) -> dict[str, Sequence[str]]:
        """What breaks each rule."""
        target = self.installed.target
        return {
            **audit(evidence, Claims(frozenset(self.emitter.accepted), frozenset(target.ended))),
            "unexpected answers": [
                f"{count} x {text}" for text, count in (self.emitter.unexpected + target.refused).items()
            ],
            "contradictions at any moment": [f"{count} x {text}" for text, count in self.contradictions.items()],
            "misbehaving processes": self.installed.journal.complaints,
        }

    def end(self) -> None:
        self._emitting.cancel()
        self._looking.cancel()

    async def _look_again_and_again(self) -> None:
        """In whatever state a fault has left the database."""
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            with suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                found = await find_contradictions(
                    self.installed.postgres.owner_url, tasks_elsewhere=self.installed.cloud is not None
                )
                self.contradictions.update(found)
                self.looks += 1

    async def _newer_successes(self, than: dict[str, datetime]) -> None:
        async with open_client(self.installed.api.grpc_address) as client:

            async def all_newer() -> bool:
                for job, at in than.items():
                    found = await client.get_job(resource_name(job))
                    if found.last_success_time.ToDatetime(tzinfo=UTC) <= at:
                        return False
                return True

            await _until(lambda: _patiently(all_newer))

    async def _nothing_waits(self) -> bool:
        if self.installed.target.has_more_to_tell:
            return False
        try:
            waiting = await what_waits(self.installed.postgres.owner_url)
        except (OSError, TimeoutError, asyncpg.PostgresError):
            return False
        if waiting:
            self.installed.journal.note(f"waiting: {waiting}")
        return not waiting


@asynccontextmanager
async def open_load(installed: Installation, rate: float, seed: int) -> AsyncIterator[Load]:
    """Triggers are emitted until `settle`, at the latest until the end of the block."""
    load = Load(installed, Emitter(installed.api.grpc_address, rate, seed))
    try:
        yield load
    finally:
        load.end()


async def _done(answer: bool) -> bool:  # noqa: FBT001 - what `_until` asks for
    return answer


async def _until(condition: Callable[[], Awaitable[bool]]) -> None:
    while not await condition():
        await asyncio.sleep(0.1)


async def _patiently(call: Callable[[], Awaitable[T]]) -> T:
    """Our caller's patience bounds it."""
    while True:
        try:
            return await call()
        except ClientError:
            await asyncio.sleep(0.1)
