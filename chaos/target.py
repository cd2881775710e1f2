"""The service that the http jobs call. It never fails by itself, and notifies as carelessly as a service may.

Of a run that it answered with 202 it tells the end several times, with different results, some of them before the
answer to the call, some long after the end, with a late RUNNING among them. Exactly one may count.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

from aiohttp import ClientError, ClientSession, ClientTimeout, web

from ostinato.storage.embedded.listening_port import free_port

END_LINE = "the end, told as number "
_LONGEST_WORK = 0.5
_LONGEST_REPORT = 1.5
_LATE = 5.0


class Target:
    """Build it with `open_target`."""

    def __init__(self, port: int, random: Random) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.calls: Counter[str] = Counter()  # by idempotency key
        self.ended: set[str] = set()  # runs of which the ingester has accepted an end
        self.refused: Counter[str] = Counter()  # notifications, by the answer
        self.repeated = 0  # notifications that got no answer and were sent again
        self._random = random
        self._reports: set[asyncio.Task[None]] = set()

    @property
    def has_more_to_tell(self) -> bool:
        return bool(self._reports)

    async def work(self, request: web.Request) -> web.Response:
        self._count(request)
        await asyncio.sleep(self._random.uniform(0, _LONGEST_WORK))
        return web.json_response({"done": True})

    async def fail(self, request: web.Request) -> web.Response:
        self._count(request)
        return web.json_response({"done": False}, status=500)

    async def report(self, request: web.Request) -> web.Response:
        key = self._count(request)
        token, url = (request.headers[f"Ostinato-Notify-{name}"] for name in ("Token", "Url"))
        task = asyncio.create_task(self._report(key, token, url))
        self._reports.add(task)
        task.add_done_callback(self._reports.discard)
        if self._random.random() < 0.3:
            await asyncio.sleep(self._random.uniform(0, 0.3))  # some notifications overtake the answer
        return web.json_response({"accepted": True}, status=202)

    async def close(self) -> None:
        for task in self._reports:
            task.cancel()
        await asyncio.gather(*self._reports, return_exceptions=True)

    def _count(self, request: web.Request) -> str:
        key = request.headers["Idempotency-Key"]
        self.calls[key] += 1
        return key

    async def _report(self, key: str, token: str, url: str) -> None:
        random = self._random
        messages = [
            (random.uniform(0, _LONGEST_REPORT), f"{key} end 1", "SUCCEEDED"),
            *([(random.uniform(0, 0.1), f"{key} running", "RUNNING")] if random.random() < 0.5 else []),
            *([(random.uniform(0, _LONGEST_REPORT), f"{key} end 1", "SUCCEEDED")] if random.random() < 0.3 else []),
            *([(random.uniform(0, _LATE), f"{key} end 2", "SUCCEEDED")] if random.random() < 0.3 else []),
            *([(random.uniform(0, _LATE), f"{key} late running", "RUNNING")] if random.random() < 0.2 else []),
        ]
        async with ClientSession(timeout=ClientTimeout(total=5)) as session, asyncio.TaskGroup() as group:
            for delay, message_id, status in messages:
                group.create_task(self._tell(session, (url, token), delay, message_id, status))

    async def _tell(
        self, session: ClientSession, to: tuple[str, str], delay: float, message_id: str, status: str
    ) -> None:
        await asyncio.sleep(delay)
        key, _, what = message_id.partition(" ")
        body: dict[str, object] = {"message_id": message_id, "status": status, "log_lines": [f"told: {what}"]}
        if status == "SUCCEEDED":
            body |= {"log_lines": [f"{END_LINE}{what}"], "result": {"told": what}}
        await self._until_taken(session, to, body)
        if status == "SUCCEEDED":
            self.ended.add(key)

    async def _until_taken(self, session: ClientSession, to: tuple[str, str], body: dict[str, object]) -> None:
        """Again and again until the ingester takes it or says that it never will."""
        url, token = to
        while True:
            try:
                async with session.post(url, json=body, headers={"Authorization": f"Bearer {token}"}) as answer:
                    if answer.status < 500:
                        if answer.status != 204:
                            self.refused[f"{answer.status} {await answer.text()}"] += 1
                        return
            except (ClientError, TimeoutError):
                pass
            self.repeated += 1
            await asyncio.sleep(self._random.uniform(0.1, 0.5))


@asynccontextmanager
async def open_target(seed: int) -> AsyncIterator[Target]:
    """Serves in this process during the block: it is the one thing here that nobody kills."""
    port = free_port()
    assert port
    target = Target(port, Random(f"target {seed}"))
    app = web.Application()
    app.add_routes([web.post("/work", target.work), web.post("/fail", target.fail), web.post("/report", target.report)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield target
    finally:
        await target.close()
        await runner.cleanup()
