"""Reads the log of a run, once or as it grows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import aclosing

import click

from ostinato.cli.formatting import printable, time_of
from ostinato.cli.json_output import to_json_line
from ostinato.client import OstinatoClient
from ostinato.pb.scheduler.v1.invocations_pb2 import ListLogsResponse, LogLine


async def read_log(client: OstinatoClient, run: str) -> ListLogsResponse:
    return ListLogsResponse(lines=[line async for line in client.list_logs(run)])


async def follow_log(client: OstinatoClient, run: str, show: Callable[[LogLine], None]) -> None:
    """Shows every line as it comes, until the run has ended and its last line was shown."""
    async with aclosing(client.watch_invocation(run)) as responses:
        async for response in responses:
            for line in response.lines:
                show(line)


def print_lines(lines: Iterable[LogLine]) -> None:
    for line in lines:
        print_line(line)


def print_line(line: LogLine) -> None:
    click.echo(f"{time_of(line, 'time')}  {printable(line.text)}")


def print_as_json_line(line: LogLine) -> None:
    click.echo(to_json_line(line))
