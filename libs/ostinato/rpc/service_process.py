"""A service as a process: runs until it is asked to end, drains, and tells by its exit code how that went.

SIGTERM and SIGINT end it with 0 after the drain; an error that nobody expected is logged and ends it with 1.
A second signal cuts the drain short.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import uvloop

OpenService = Callable[[], AbstractAsyncContextManager[object]]

_log = logging.getLogger(__name__)
# A batch of a few hundred tasks makes tens of thousands of objects, which die by reference counts. At the default of
# 700 the search for cycles among them took a sixth of an engine's time.
_COLLECT_AFTER = (20_000, 20, 50)


def run_service(open_service: OpenService) -> None:
    """Keeps the service open until a signal comes. Exits with 1 if it can't start or fails."""
    gc.freeze()  # what was imported stays
    gc.set_threshold(*_COLLECT_AFTER)
    try:
        uvloop.run(_run_until_signal(open_service))
    except Exception as error:  # noqa: BLE001 - the process ends either way, with a log line instead of a raw traceback
        _log.critical("stopped by an error: %s", error, exc_info=True)
        raise SystemExit(1) from None


async def _run_until_signal(open_service: OpenService) -> None:
    loop = asyncio.get_running_loop()
    running = asyncio.ensure_future(_keep_open(open_service))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _ask_to_end, running, number)
    try:
        await running
    except asyncio.CancelledError:
        _log.info("stopped")


async def _keep_open(open_service: OpenService) -> None:
    async with open_service():
        _log.info("serving")
        await asyncio.Event().wait()


def _ask_to_end(running: asyncio.Future[None], number: signal.Signals) -> None:
    _log.info("%s: draining", number.name)
    running.cancel()
