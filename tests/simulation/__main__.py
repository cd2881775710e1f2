"""Random walks by hand: `make simulate SEED=7` replays one, `make simulate-long` takes new ones for minutes."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path

from ostinato.testing.postgres import create_template, drop_database
from ostinato.testing.server import open_test_server
from tests.simulation.walk import WalkResult, take_walk
from tests.simulation.world import clone

_say = partial(print, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, help="take this one walk")
    parser.add_argument("--trace", help="write the trace of that walk to this file")
    parser.add_argument("--first", type=int, default=1, help="the first of many seeds")
    parser.add_argument("--seconds", type=float, default=300, help="how long to take walks")
    options = parser.parse_args()
    with _template() as (server_url, template):
        if options.seed is not None:
            result = _walk(server_url, template, options.seed)
            if options.trace:
                Path(options.trace).write_text("\n".join(result.trace))
            return _show(result)
        return _walk_for(options.seconds, options.first, server_url, template)


def _walk_for(seconds: float, first: int, server_url: str, template: str) -> int:
    until = time.monotonic() + seconds
    failed = 0
    for seed in count(first):
        if time.monotonic() > until:
            _say(f"{seed - first} walks in {seconds:g} s, {failed} failed")
            return 1 if failed else 0
        failed += _show(_walk(server_url, template, seed))
    raise AssertionError("unreachable")


def _walk(server_url: str, template: str, seed: int) -> WalkResult:
    with clone(server_url, template) as url:
        return take_walk(url, seed)


def _show(result: WalkResult) -> int:
    verdict = "FAILED" if result.problems else "ok"
    _say(f"seed {result.seed}: {len(result.trace)} steps, trace {result.digest}: {verdict}")
    for problem in result.problems:
        _say(f"    {problem}")
    if result.problems:
        _say(f"    again: make simulate SEED={result.seed}")
    return 1 if result.problems else 0


@contextmanager
def _template() -> Iterator[tuple[str, str]]:
    if url := os.environ.get("OSTINATO_TEST_DATABASE_URL"):
        yield from _on(url)
        return
    with open_test_server() as url:
        yield from _on(url)


def _on(url: str) -> Iterator[tuple[str, str]]:
    name = f"template_walks_{os.getpid()}"
    asyncio.run(create_template(url, name))
    try:
        yield url, name
    finally:
        asyncio.run(drop_database(url, name))


if __name__ == "__main__":
    sys.exit(main())
