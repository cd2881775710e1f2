"""Random walks by hand: `make simulate SEED=7` replays one, `make simulate-long` takes new ones for minutes.

Walks are those of schedulers; with `--orders`, of transactional reminders; with `--slots`, of hundreds of schedules.
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
from tests.simulation.seeds import Kind, Walk, walk_of_seed, walks_of
from tests.simulation.walk import WalkResult

_ENOUGH_FAILED = 20
_say = partial(print, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--orders", action="store_const", dest="kind", const=Kind.ORDERS, help="of reminders")
    kinds.add_argument("--slots", action="store_const", dest="kind", const=Kind.SLOTS, help="of schedules")
    parser.add_argument("--seed", type=int, help="take this one walk")
    parser.add_argument("--trace", help="write the trace of that walk to this file")
    parser.add_argument("--first", type=int, default=1, help="the first of many seeds")
    parser.add_argument("--seconds", type=float, default=300, help="how long to take walks")
    parser.add_argument("--least", type=int, default=0, help="how many walks to take however long that takes")
    parser.add_argument("--most", type=int, default=1 << 40, help="how many walks to take at most")
    parser.add_argument("--least-slots", type=int, default=0, help="how many slots to judge however long that takes")
    parser.add_argument("--jobs", type=int, default=1, help="how many to take at a time")
    options = parser.parse_args()
    with _template() as (server_url, template):
        kind = options.kind or Kind.RUNS
        walk = partial(walk_of_seed, server_url, template, kind=kind)
        again = "make simulate" if kind is Kind.RUNS else f"make simulate ARGS=--{kind.value}"
        if options.seed is not None:
            result = walk(options.seed)
            if options.trace:
                Path(options.trace).write_text("\n".join(result.trace))
            return _show(result, again)
        return _walk_for(walk, options, again)


def _walk_for(walk: Walk, options: argparse.Namespace, again: str) -> int:
    began = time.monotonic()
    taken = failed = slots = 0
    seeds = range(options.first, options.first + options.most)
    with walks_of(walk, seeds, options.jobs) as results:
        while (
            taken < options.most
            and failed < _ENOUGH_FAILED
            and (taken < options.least or slots < options.least_slots or time.monotonic() < began + options.seconds)
        ):
            result = next(results)
            failed += _show(result, again)
            taken += 1
            slots += result.slots
    judged = f"{slots:,} slots, " if slots else ""
    _say(f"{taken} walks in {time.monotonic() - began:.0f} s, {judged}{failed} failed")
    return 1 if failed else 0


def _show(result: WalkResult, again: str) -> int:
    verdict = "FAILED" if result.problems else "ok"
    slots = f" {result.slots:,} slots," if result.slots else ""
    _say(f"seed {result.seed}: {len(result.trace)} steps,{slots} trace {result.digest}: {verdict}")
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
