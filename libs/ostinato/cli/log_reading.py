"""Reads the log of a run, once or as it grows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable

import click

from ostinato.cli.formatting import printable, time_of
from ostinato.cli.json_output import to_json_line
from ostinato.client import OstinatoClient
from ostinato.clock import Clock, SystemClock
from ostinato.pb.scheduler.v1.invocations_pb2 import ListLogsRequest, ListLogsResponse, LogLine

# Seconds between two looks at a growing log.
POLL_INTERVAL = 1.0
_PAGE_SIZE = 500


class LogReader:
    """Keeps its place in one log, so that every line is read once although pages are read again while they grow."""

    def __init__(self, client: OstinatoClient, run: str) -> None:
        self._client = client
        self._request = ListLogsRequest(parent=run, page_size=_PAGE_SIZE)
        self._seen_of_page = 0

    async def read_on(self) -> AsyncIterator[LogLine]:
        """The lines that have come since the last time."""
        while True:
            page = await self._client.list_log_page(self._request)
            for line in page.lines[self._seen_of_page :]:
                yield line
            if not page.next_page_token:
                self._seen_of_page = len(page.lines)
                return
            self._request.page_token = page.next_page_token
            self._seen_of_page = 0


async def read_log(client: OstinatoClient, run: str) -> ListLogsResponse:
    return ListLogsResponse(lines=[line async for line in LogReader(client, run).read_on()])


async def follow_log(
    client: OstinatoClient, run: str, show: Callable[[LogLine], None], *, clock: Clock | None = None
) -> None:
    """Shows every line as it comes, until the run has ended and its last line was shown."""
    clock = clock or SystemClock()
    reader = LogReader(client, run)
    while True:
        ended = (await client.get_invocation(run)).final  # asked first: what a run writes, it writes before its end
        async for line in reader.read_on():
            show(line)
        if ended:
            return
        await clock.sleep(POLL_INTERVAL)


def print_lines(lines: Iterable[LogLine]) -> None:
    for line in lines:
        print_line(line)


def print_line(line: LogLine) -> None:
    click.echo(f"{time_of(line, 'time')}  {printable(line.text)}")


def print_as_json_line(line: LogLine) -> None:
    click.echo(to_json_line(line))
