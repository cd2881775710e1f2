"""A small service whose work Ostinato starts: `python examples/report_service.py [HOST:PORT]`.

Two things are worth copying into a service of your own. A run may be started more than once (the call was
made, its answer got lost), always with the same Idempotency-Key: work that was done is not done again. And a
notification is repeated, with the same message_id, until somebody has taken it.
"""

from __future__ import annotations

import asyncio
import sys
from collections import OrderedDict
from contextlib import suppress
from datetime import UTC, datetime

from aiohttp import ClientError, ClientSession, ClientTimeout, web

DEFAULT_ADDRESS = "127.0.0.1:9000"
EXPORT_SECONDS = 2.0
REMEMBERED_RUNS = 10_000


class FinishedRuns:
    """Idempotency keys of the latest runs. A real service keeps them where its results are."""

    def __init__(self) -> None:
        self._keys: OrderedDict[str, None] = OrderedDict()

    def is_new(self, key: str) -> bool:
        if key in self._keys:
            return False
        self._keys[key] = None
        if len(self._keys) > REMEMBERED_RUNS:
            self._keys.popitem(last=False)
        return True


class ReportService:
    def __init__(self) -> None:
        self._runs = FinishedRuns()
        self._exports: set[asyncio.Task[None]] = set()

    async def work(self, request: web.Request) -> web.Response:
        """Done at once: the answer is the end of the run."""
        is_new = self._note(request)
        return web.json_response({"done": request.path.strip("/"), "repeated": not is_new})

    async def export(self, request: web.Request) -> web.Response:
        """Takes longer: 202 now, a notification when it is done."""
        if self._note(request):
            export = asyncio.create_task(self._export(dict(request.headers)))
            self._exports.add(export)
            export.add_done_callback(self._exports.discard)
        return web.json_response({"accepted": True}, status=202)

    async def close(self, _: web.Application) -> None:
        for export in self._exports:
            export.cancel()

    def _note(self, request: web.Request) -> bool:
        key = request.headers.get("Idempotency-Key", "")
        is_new = self._runs.is_new(key)
        attempt, slot = (request.headers.get(f"Ostinato-{name}", "-") for name in ("Attempt", "Scheduled-For"))
        again = "" if is_new else "  (again: nothing to do)"
        say(f"{request.method} {request.path}  Idempotency-Key: {key}  attempt {attempt}  slot {slot}{again}")
        return is_new

    async def _export(self, headers: dict[str, str]) -> None:
        await asyncio.sleep(EXPORT_SECONDS)
        run = headers.get("Idempotency-Key", "")
        end = {
            "message_id": f"end of {run}",
            "status": "SUCCEEDED",
            "result": {"rows": 1234},
            "log_lines": ["exported 1234 rows"],
        }
        answer = await notify(headers.get("Ostinato-Notify-Url", ""), headers.get("Ostinato-Notify-Token", ""), end)
        say(f"notified the end of {run}: {answer}")


async def notify(url: str, token: str, body: dict[str, object]) -> str:
    """Again and again until the ingester takes it or says that it never will."""
    async with ClientSession(timeout=ClientTimeout(total=10)) as session:
        for pause in (0.2, 0.5, 1, 2, 5, 10, 10, 10, 10, 10):
            with suppress(ClientError, TimeoutError):
                async with session.post(url, json=body, headers={"Authorization": f"Bearer {token}"}) as response:
                    if response.status < 500:
                        return f"{response.status} {response.reason}"
            await asyncio.sleep(pause)
    return "given up"


def say(text: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S.%f}"[:-3], text, flush=True)


def application() -> web.Application:
    service = ReportService()
    app = web.Application()
    app.add_routes(
        [web.post("/report", service.work), web.post("/resize", service.work), web.post("/export", service.export)]
    )
    app.on_shutdown.append(service.close)
    return app


def main() -> None:
    host, _, port = (sys.argv[1] if len(sys.argv) > 1 else DEFAULT_ADDRESS).rpartition(":")
    say(f"listening on {host}:{port}")
    web.run_app(application(), host=host, port=int(port), print=None, access_log=None)


if __name__ == "__main__":
    main()
