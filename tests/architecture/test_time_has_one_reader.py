"""Time is read by `ostinato.clock` and by the database. Everything else is told the time, so that tests can tell it."""

from __future__ import annotations

import ast

import pytest

from tests.architecture.source_tree import Source, dotted_names, own_sources

# Path → why it reads the machine's clock by itself.
EXCEPTIONS = {
    "libs/ostinato/clock.py": "the one reader",
    "libs/ostinato/testing/virtual_time.py": "the simulation's clock is its event loop's virtual one",
    "libs/ostinato/testing/simulated_database.py": "writes the virtual time into the trace",
    "libs/ostinato/testing/postgres.py": "prepares a database before there is a clock to inject",
}
READERS = {
    *(f"time.{name}" for name in ("time", "monotonic", "perf_counter", "process_time", "thread_time", "clock_gettime")),
    *(f"time.{name}_ns" for name in ("time", "monotonic", "perf_counter", "process_time", "clock_gettime")),
    *(f"time.{name}" for name in ("localtime", "gmtime", "sleep")),
    *(f"datetime.datetime.{name}" for name in ("now", "utcnow", "today")),
    "datetime.date.today",
}


def time_reads(source: Source) -> list[str]:
    if source.path in EXCEPTIONS:
        return []
    named = [f"{source.path}:{line} {name}" for line, name in dotted_names(source) if name in READERS]
    return named + [f"{source.path}:{line} loop.time" for line in _event_loop_reads(source.tree)]


def _event_loop_reads(tree: ast.Module) -> list[int]:
    """Lines of `….time()`: an instant as `datetime.time()` has no place here either."""
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call) and not node.args)
    return [
        call.lineno
        for call in calls
        if isinstance(call.func, ast.Attribute) and call.func.attr == "time" and "loop" in ast.unparse(call.func.value)
    ]


def test_time_is_read_in_one_place() -> None:
    assert [found for source in own_sources() for found in time_reads(source)] == []


def test_the_exceptions_are_still_needed() -> None:
    needed = {source.path for source in own_sources() if time_reads(Source("elsewhere.py", source.text))}
    assert set(EXCEPTIONS) <= needed


@pytest.mark.parametrize(
    "planted",
    [
        "import time\ntime.time()",
        "import time as t\nt.monotonic()",
        "from time import perf_counter\nperf_counter()",
        "from datetime import datetime as dt\ndt.now()",
        "import datetime\ndatetime.datetime.utcnow()",
        "from datetime import date\ndate.today()",
        "import asyncio\nasyncio.get_running_loop().time()",
        "self._loop.time()",
    ],
)
def test_a_read_of_time_is_found(planted: str) -> None:
    assert time_reads(Source("services/ostinato_engine/cron_loop.py", planted))


@pytest.mark.parametrize(
    "innocent", ["clock.now()", "await tx.now()", "from datetime import datetime\ndatetime(2026, 1, 1)"]
)
def test_being_told_the_time_is_fine(innocent: str) -> None:
    text = f"async def f():\n    {innocent}" if innocent.startswith("await") else innocent
    assert not time_reads(Source("services/ostinato_engine/cron_loop.py", text))
