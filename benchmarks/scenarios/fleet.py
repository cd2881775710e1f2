"""Many engines sweep together what was left behind: each task is submitted, hardly any twice, and memory stays flat."""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import AsyncExitStack

import aiohttp
from google.cloud import tasks_v2

from benchmarks.cloud_process import open_cloud
from benchmarks.comparison import Comparison, also_at_most
from benchmarks.laboratory import Laboratory, connected
from benchmarks.left_behind import leave_behind
from benchmarks.resident_memory import peak_megabytes, resident_megabytes
from benchmarks.results import Sample, Series
from benchmarks.service_process import Service, open_service
from benchmarks.sides.remote import QUEUE, cloud_settings
from benchmarks.sizes import Sizes
from ostinato.client.ostinato_client import open_client
from ostinato.storage.embedded.listening_port import free_port
from ostinato.taskqueue.cloud_tasks.cloud_client import open_cloud_client
from ostinato.taskqueue.cloud_tasks.remote_names import queue_path

_ENGINES = 4
_SWEEPERS = 2
_LEAST_RATE = 200  # a second: slower is broken
_PATIENCE = 60.0
_SUBMITS = re.compile(
    r'^ostinato_taskqueue_submit_seconds_count\{class="remote",code="(\w+)",path="sweep".*\} ([\d.e+]+)$', re.MULTILINE
)


async def sweep_with_many_engines(laboratory: Laboratory, sizes: Sizes) -> list[Comparison]:
    """Once: it measures how the parts work together rather than a rate."""
    count = sizes.fleet_reminders
    series = Series((await _sweep(laboratory, count),))
    work = f"{_ENGINES} engines sweep {count:,} stale reminders, {_SWEEPERS} sweeps begun at once"
    return [Comparison(work, "tasks/s", series, None, also_at_most("asked twice %", 1.0, "%"))]


async def _sweep(laboratory: Laboratory, count: int) -> Sample:
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(_ENGINES)]
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(laboratory.scheduler_database())
        balance = f"--balance={addresses[0]}={','.join(addresses)}"
        log = laboratory.scratch / "cloud.log"
        cloud = await stack.enter_async_context(open_cloud(log, balance))
        settings = _settings(cloud.address, cloud.issuer, cloud.jwks_url, addresses[0])
        engines = [
            await stack.enter_async_context(
                open_service("engine", url, laboratory.scratch / "engine.log", http_address=address, settings=settings)
            )
            for address in addresses
        ]
        apis = [
            await stack.enter_async_context(open_service("api", url, laboratory.scratch / "api.log", settings=settings))
            for _ in range(_SWEEPERS)
        ]
        await leave_behind(url, count)
        before = [resident_megabytes(engine.pid) or 0.0 for engine in engines]
        with laboratory.observe(*engines, cloud) as usage:
            began = time.perf_counter()
            await asyncio.gather(*(_begin_sweep(api) for api in apis))
            await _until_swept(url, count)
            seconds = time.perf_counter() - began
        submits = await _submits(engines)
        growth = max((peak_megabytes(each.pid) or 0.0) - was for each, was in zip(engines, before, strict=True))
        if (added := await _count_tasks(cloud.address)) != count:
            raise RuntimeError(f"{added} of {count} tasks were added, by these answers: {submits}")
        twice = submits.get("ALREADY_EXISTS", 0) / count * 100
        return Sample(count / seconds, count, usage, {"asked twice %": twice, "growth MB": growth})


def _settings(address: str, issuer: str, jwks_url: str, target: str) -> dict[str, str]:
    cloud = cloud_settings(address)
    return {
        "OSTINATO_QUEUE_BACKEND": "cloud_tasks",
        "OSTINATO_CLOUD_TASKS_ADDRESS": address,
        "OSTINATO_CLOUD_PROJECT": cloud.project,
        "OSTINATO_CLOUD_LOCATION": cloud.location,
        "OSTINATO_CLOUD_PUSH_AS": cloud.push_as,
        "OSTINATO_CLOUD_TARGET_URL": f"http://{target}",
        "OSTINATO_OIDC_ISSUERS": issuer,
        "OSTINATO_OIDC_JWKS_URL": jwks_url,
    }


async def _begin_sweep(api: Service) -> None:
    async with open_client(api.grpc_address) as client:
        await client.sweep()


async def _count_tasks(address: str) -> int:
    settings = cloud_settings(address)
    async with open_cloud_client(settings) as client:
        request = tasks_v2.ListTasksRequest(
            parent=queue_path(settings.project, settings.location, QUEUE), page_size=1000
        )
        return sum([1 async for _ in await client.list_tasks(request)])


async def _until_swept(url: str, count: int) -> None:
    async with connected(url) as connection, asyncio.timeout(_PATIENCE + count / _LEAST_RATE):
        while await connection.fetchval("select exists (select from tq_reminder)"):  # noqa: ASYNC110 - only it knows
            await asyncio.sleep(0.05)


async def _submits(engines: list[Service]) -> dict[str, int]:
    """Of all engines' sweeps, by what Cloud Tasks answered."""
    found: dict[str, int] = {}
    async with aiohttp.ClientSession() as session:
        for engine in engines:
            async with session.get(f"http://{engine.http_address}/metrics") as answer:
                for code, number in _SUBMITS.findall(await answer.text()):
                    found[code] = found.get(code, 0) + int(float(number))
    return found
