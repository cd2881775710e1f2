"""One invocation of the command line: which api it talks to, how it prints, and how failures are told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ostinato.config import split_address

if TYPE_CHECKING:  # gRPC takes longer to import than most commands to run
    from google.protobuf.message import Message

    from ostinato.client import OstinatoClient

DEFAULT_ADDRESS = "127.0.0.1:7070"
INTERRUPTED = 130  # as shells count it: 128 and the number of SIGINT

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., object])


class OutputFormat(StrEnum):
    TABLE = "table"
    JSON = "json"


OUTPUT_CHOICE = click.Choice([output.value for output in OutputFormat])


@dataclass(frozen=True, slots=True)
class Session:
    """`user` is the identity to claim in development; empty: the server's default."""

    address: str
    output: OutputFormat
    user: str = ""

    def call(self, work: Callable[[OstinatoClient], Awaitable[T]]) -> T:
        """Runs `work` with a client. What the api refuses ends the command with exit code 1 and a message."""
        from ostinato.cli.refusal import refusal
        from ostinato.client import ClientError

        try:
            return asyncio.run(self._with_client(work))
        except ClientError as error:
            raise refusal(error, self.address) from None

    def show(self, message: Message, as_table: Callable[[], None]) -> None:
        """Prints `message` as JSON, or calls `as_table`."""
        if self.output is OutputFormat.TABLE:
            as_table()
            return
        from ostinato.cli.json_output import to_json

        click.echo(to_json(message))

    async def _with_client(self, work: Callable[[OstinatoClient], Awaitable[T]]) -> T:
        from ostinato.client import open_client

        async with open_client(self.address, user=self.user) as client:
            return await work(client)


@contextmanager
def quiet_on_interrupt() -> Iterator[None]:
    """For commands that go on until one has seen enough: Ctrl-C is no failure to complain of."""
    try:
        yield
    except KeyboardInterrupt:
        raise click.exceptions.Exit(INTERRUPTED) from None


def session_options(command: F) -> F:
    """`--address` and `--output` are understood after a command's name as well as before it."""
    for option in (
        click.option("--address", metavar="HOST:PORT", expose_value=False, hidden=True, callback=_override),
        click.option("--output", type=OUTPUT_CHOICE, expose_value=False, hidden=True, callback=_override),
    ):
        command = option(command)
    return command


def check_address(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    try:
        split_address(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    return value


def _override(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    if value is None:
        return
    if param.name == "address":
        check_address(ctx, param, value)
        ctx.obj = replace(ctx.obj, address=value)
    else:
        ctx.obj = replace(ctx.obj, output=OutputFormat(value))
