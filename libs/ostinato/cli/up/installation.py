"""Brings an installation up, keeps it up, and takes it down in order: services, what they call, the database.

Everything is started from one loop in the main thread, and a child that dies is started again by it.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ostinato.cli.up.apply_examples import apply_examples
from ostinato.cli.up.child import Child, ChildSpec, Say
from ostinato.cli.up.data_directory import DataDirectory
from ostinato.cli.up.database_server import DatabaseServer, choose_database
from ostinato.cli.up.local_cloud import local_cloud_environ, local_cloud_spec
from ostinato.cli.up.messages import running_lines
from ostinato.cli.up.readiness import ask_ready
from ostinato.cli.up.service_specs import DatabaseUrls, Services, plan_examples, plan_services
from ostinato.clock import Clock
from ostinato.config import DatabaseSettings
from ostinato.jobflow.schema import install_schema

WATCH_SECONDS = 0.1
TELL_AFTER_SECONDS = 15.0
_NO_DATABASE_YET = DatabaseUrls("postgresql://127.0.0.1/unknown", "postgresql://127.0.0.1/unknown")
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class UpOptions:
    """`examples` is the folder of example projects, None for none. `cloud`: tasks wait in local Cloud Tasks."""

    engines: int
    examples: Path | None
    cloud: bool = False


class Installation:
    """One run of `ostinato up`. `run` returns when everything has ended."""

    def __init__(
        self, options: UpOptions, directory: DataDirectory, environ: Mapping[str, str], clock: Clock, say: Say
    ) -> None:
        self._options = options
        self._directory = directory
        self._environ = local_cloud_environ(environ) if options.cloud else environ
        self._clock = clock
        self._say = say
        self._services: list[Child] = []
        self._called: list[Child] = []  # what the example jobs call
        self._clouds: list[Child] = []  # what the services need besides the database
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Until a signal comes. A second one cuts the drain short."""
        self._plan(_NO_DATABASE_YET)  # wrong settings are told before anything is started
        database = choose_database(self._environ, self._directory, self._say)
        with _signals_to(self._asked_to_stop):
            try:
                await self._until_stopped(self._bring_up(database))
            finally:
                await self._take_down(database)

    async def _bring_up(self, database: DatabaseServer) -> None:
        await database.start()
        services = self._plan(database.urls())
        await self._migrate(database)
        self._clouds = self._start(self._cloud_programs(services))
        self._called = self._start(self._example_programs())
        self._services = self._start(services.specs)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch(database))
            await self._wait_until_ready([*(child.spec for child in self._clouds), *services.specs])
            await self._apply_examples(services)
            self._tell(running_lines(services, self._directory, database.told(), self._called_names(), Path.cwd()))

    async def _migrate(self, database: DatabaseServer) -> None:
        settings = DatabaseSettings(database.urls().maintenance, application_name="ostinato-migrate")
        change = await install_schema(settings, now=self._clock.now(), runtime_role=database.runtime_role)
        if change.migrations:
            self._say(f"Schema: applied {len(change.migrations)} migrations.")

    async def _watch(self, database: DatabaseServer) -> None:
        while True:
            await database.watch()
            for child in (*self._clouds, *self._called, *self._services):
                child.watch()
            await asyncio.sleep(WATCH_SECONDS)

    async def _wait_until_ready(self, specs: Sequence[ChildSpec]) -> None:
        told_at = self._clock.monotonic()
        while waiting := await _not_ready(specs):
            if self._clock.monotonic() - told_at >= TELL_AFTER_SECONDS:
                told_at = self._clock.monotonic()
                self._tell(f"Still waiting for {name}: {reason}" for name, reason in waiting.items())
            await asyncio.sleep(WATCH_SECONDS)

    async def _apply_examples(self, services: Services) -> None:
        files = sorted(self._options.examples.glob("*.yaml")) if self._options.examples else []
        if files:
            self._say(await apply_examples(files, services.api.grpc_address, self._environ))

    async def _take_down(self, database: DatabaseServer) -> None:
        if self._services:
            self._say("Stopping: what runs may end first. A second Ctrl-C does not wait.")
        await asyncio.gather(*(child.stop() for child in self._services))
        await asyncio.gather(*(child.stop() for child in (*self._called, *self._clouds)))
        await database.stop()
        self._say("Stopped.")

    def _asked_to_stop(self) -> None:
        if self._stopping.is_set():
            for child in (*self._services, *self._called, *self._clouds):
                child.kill()
        self._stopping.set()

    async def _until_stopped(self, work: Coroutine[Any, Any, None]) -> None:
        working = asyncio.ensure_future(work)
        stopping = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        working.cancel()
        with suppress(asyncio.CancelledError):
            await working

    def _plan(self, urls: DatabaseUrls) -> Services:
        return plan_services(self._environ, urls, secret=self._directory.secret(), engines=self._options.engines)

    def _cloud_programs(self, services: Services) -> Sequence[ChildSpec]:
        if not self._options.cloud:
            return ()
        return [local_cloud_spec(self._environ, [engine.http_address for engine in services.engines])]

    def _example_programs(self) -> Sequence[ChildSpec]:
        return plan_examples(self._options.examples, self._environ) if self._options.examples else ()

    def _called_names(self) -> list[str]:
        return [child.spec.name for child in self._called]

    def _start(self, specs: Sequence[ChildSpec]) -> list[Child]:
        children = [Child(spec, self._directory, self._clock, self._say) for spec in specs]
        for child in children:
            child.start()
        return children

    def _tell(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._say(line)


async def _not_ready(specs: Sequence[ChildSpec]) -> dict[str, str]:
    """Name to reason."""
    asked = [spec for spec in specs if spec.http_address]
    reasons = await asyncio.gather(*(ask_ready(spec.http_address) for spec in asked))
    return {spec.name: reason for spec, reason in zip(asked, reasons, strict=True) if reason}


@contextmanager
def _signals_to(handler: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
