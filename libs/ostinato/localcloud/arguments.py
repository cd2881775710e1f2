"""The command line of the local clouds. Only loopback is served: whoever can reach them may do everything."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import timedelta

from ostinato.config.environment import is_loopback, split_address
from ostinato.localcloud.cloud_tasks.queue_directory import TombstoneSettings
from ostinato.localcloud.local_cloud import LocalCloudSettings

_LONGEST_WINDOW = 9 * 86_400


def parse_arguments(arguments: Sequence[str]) -> LocalCloudSettings:
    """Says what is wrong and exits with 2."""
    defaults = LocalCloudSettings()
    parser = argparse.ArgumentParser(
        prog="python -m ostinato.localcloud",
        description="Cloud Tasks and Cloud Pub/Sub on this machine, in memory.",
        allow_abbrev=False,
    )
    address = "HOST:PORT, loopback only; port 0 takes a free one"
    parser.add_argument("--grpc", type=_loopback, default=defaults.grpc_address, metavar="ADDRESS", help=address)
    parser.add_argument("--http", type=_loopback, default=defaults.http_address, metavar="ADDRESS", help=address)
    parser.add_argument(
        "--task-name-window",
        type=_window,
        default=defaults.tombstones.tasks,
        metavar="SECONDS",
        help="how long the name of a task stays taken after its end",
    )
    parser.add_argument(
        "--queue-name-window",
        type=_window,
        default=defaults.tombstones.queues,
        metavar="SECONDS",
        help="how long the name of a queue stays taken after its deletion",
    )
    parser.add_argument("--seed", type=int, default=defaults.seed, help="steers faults that happen by chance")
    parser.add_argument(
        "--balance",
        type=_balance,
        action="append",
        default=[],
        metavar="ADDRESS=MEMBER,MEMBER",
        help="tasks that are pushed to ADDRESS go to its members in turn; may be repeated",
    )
    given = parser.parse_args(arguments)
    tombstones = TombstoneSettings(given.task_name_window, given.queue_name_window)
    return LocalCloudSettings(given.grpc, given.http, tombstones, given.seed, dict(given.balance))


def _loopback(text: str) -> str:
    try:
        split_address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if not is_loopback(text):
        raise argparse.ArgumentTypeError("must be an address of loopback, such as 127.0.0.1:9022")
    return text


def _balance(text: str) -> tuple[str, tuple[str, ...]]:
    front, _, members = text.partition("=")
    for address in (front, *members.split(",")):
        try:
            split_address(address)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{address!r} {error}") from None
    return front, tuple(members.split(","))


def _window(text: str) -> timedelta:
    if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) > _LONGEST_WINDOW:
        raise argparse.ArgumentTypeError(f"must be whole seconds from 0 to {_LONGEST_WINDOW}")
    return timedelta(seconds=int(text))
