"""Random walks by hand: `make simulate SEED=7` replays one, `make simulate-long` takes new ones for minutes.

Walks are those of schedulers; with `--orders`, of transactional reminders.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from ostinato.testing.postgres import create_template, drop_database
from ostinato.testing.server import open_test_server
from tests.simulation.seeds import Walk, walk_of_seed, walks_of
from tests.simulation.walk import WalkResult

_say = partial(print, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", action="store_true", help="walks through transactional reminders")
    parser.add_argument("--seed", type=int, help="take this one walk")
    parser.add_argument("--trace", help="write the trace of that walk to this file")
    parser.add_argument("--first", type=int, default=1, help="the first of many seeds")
    parser.add_argument("--seconds", type=float, default=300, help="how long to take walks")
    parser.add_argument("--least", type=int, default=0, help="how many walks to take however long that takes")
    parser.add_argument("--most", type=int, default=1 << 40, help="how many walks to take at most")
    parser.add_argument("--jobs", type=int, default=1, help="how many to take at a time")
    options = parser.parse_args()
    with _template() as (server_url, template):
        walk = partial(walk_of_seed, server_url, template, orders=options.orders)
        again = "make simulate ARGS=--orders" if options.orders else "make simulate"
        if options.seed is not None:
            result = walk(options.seed)
            if options.trace:
                Path(options.trace).write_text("\n".join(result.trace))
            return _show(result, again)
        return _walk_for(walk, options, again)


def _walk_for(walk: Walk, options: argparse.Namespace, again: str) -> int:
    began = time.monotonic()
    taken = failed = 0
    seeds = range(options.first, options.first + options.most)
    with walks_of(walk, seeds, options.jobs) as results:
        while taken < options.most and (taken < options.least or time.monotonic() < began + options.seconds):
            failed += _show(next(results), again)
            taken += 1
    _say(f"{taken} walks in {time.monotonic() - began:.0f} s, {failed} failed")
    return 1 if failed else 0


def _show(result: WalkResult, again: str) -> int:
    verdict = "FAILED" if result.problems else "ok"
    _say(f"seed {result.seed}: {len(result.trace)} steps, trace {result.digest}: {verdict}")
    for problem in result.problems:
        _say(f"    {problem}")
    if result.problems:
        _say(f"    again: {again} SEED={result.seed}")
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
