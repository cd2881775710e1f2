"""`python -m benchmarks`: measures, prints, exits 1 if a first-level target was missed."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import report
from benchmarks.comparison import Comparison
from benchmarks.laboratory import open_laboratory
from benchmarks.scenarios import GROUPS, SCENARIOS
from benchmarks.server import Server, open_server
from benchmarks.sizes import DEFAULT, FULL, Sizes

_LONGEST = {"default": 1200.0, "full": 7200.0}  # a bound, not an expectation


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "scenarios",
        nargs="*",
        metavar="SCENARIO",
        help=f"of {', '.join(SCENARIOS)}, or {', '.join(GROUPS)} for those of one part; default: everything",
    )
    parser.add_argument("--full", action="store_true", help="larger numbers and more repetitions: takes an hour")
    parser.add_argument("--database-url", help="a server and a role that may create databases; default: one of our own")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also writes every repetition")
    arguments = parser.parse_args()
    if unknown := set(arguments.scenarios) - SCENARIOS.keys() - GROUPS.keys():
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    return arguments


def chosen(words: Sequence[str]) -> list[str]:
    """The scenarios that names and groups stand for, each once, in the order of the report."""
    wanted = {name for word in words for name in GROUPS.get(word, [word])}
    return [name for name in SCENARIOS if name in wanted or not words]


async def measure(server: Server, names: list[str], sizes: Sizes) -> list[Comparison]:
    lines: list[Comparison] = []
    async with open_laboratory(server) as laboratory:
        for name in names:
            print(f"measuring {name} …", file=sys.stderr, flush=True)
            lines += await SCENARIOS[name](laboratory, sizes)
    return lines


async def main() -> int:
    arguments = parse_arguments()
    logging.basicConfig(level=logging.WARNING)
    sizes = FULL if arguments.full else DEFAULT
    async with (
        asyncio.timeout(_LONGEST["full" if arguments.full else "default"]),
        open_server(arguments.database_url) as server,
    ):
        print(report.headline(server))
        if not server.durable:
            print("WARNING: this server does not keep what it commits; these numbers are not comparable")
        lines = await measure(server, chosen(arguments.scenarios), sizes)
        print("", report.main_table(lines), "", report.detail_table(lines), sep="\n")
        if arguments.json:
            report.write_json(arguments.json, server, lines)
    return 1 if any(line.first is not None and not line.first.reached(line) for line in lines) else 0


if __name__ == "__main__":
    # As Ctrl-C: what was started is ended, and its files are removed.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    sys.exit(asyncio.run(main()))
