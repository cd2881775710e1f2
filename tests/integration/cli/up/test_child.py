"""Processes under a supervisor."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from ostinato.cli.up.child import Child, ChildSpec, told_exit
from ostinato.cli.up.data_directory import DataDirectory, open_data_directory
from ostinato.clock import SystemClock
from ostinato.storage.embedded.child_process import find_process

WAITS = "import time; print('here', flush=True); time.sleep(60)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('here', flush=True); time.sleep(60)"


class SkippingClock(SystemClock):
    """Real time plus what the test adds."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[DataDirectory]:
    with open_data_directory(tmp_path) as opened:
        yield opened


@pytest.fixture
async def start(directory: DataDirectory) -> AsyncIterator[Callable[..., Child]]:
    children: list[Child] = []

    def started(
        program: str, clock: SystemClock | None = None, grace: float = 10, said: list[str] | None = None
    ) -> Child:
        spec = ChildSpec("worker", (sys.executable, "-c", program), dict(os.environ), timedelta(seconds=grace))
        child = Child(spec, directory, clock or SystemClock(), (said if said is not None else []).append)
        children.append(child)
        child.start()
        return child

    yield started
    for child in children:
        child.kill()
        await child.stop()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


def logged(directory: DataDirectory) -> str:
    return (directory.logs / "worker.log").read_text()


async def test_one_that_was_killed_starts_again_after_the_delay(start, directory: DataDirectory) -> None:
    clock, said = SkippingClock(), []
    child = start(WAITS, clock, said=said)
    await until(lambda: "here" in logged(directory))
    first = child.pid
    assert first
    os.kill(first, signal.SIGKILL)
    await until(lambda: child.pid is None)
    child.watch()
    child.watch()
    assert child.pid is None
    assert said == [f"worker: was killed by SIGKILL, starts again in 0.5 s, see {directory.logs / 'worker.log'}"]
    clock.ahead += 0.5
    child.watch()
    assert child.pid not in {None, first}
    assert said[1:] == ["worker: starting again"]
    await until(lambda: logged(directory).count("here") == 2)


async def test_one_that_keeps_dying_is_started_less_and_less_often(start) -> None:
    clock, said = SkippingClock(), []
    child = start("raise SystemExit(3)", clock, said=said)
    for _ in range(3):
        await until(lambda: child.pid is None)
        child.watch()
        clock.ahead += 4
        child.watch()
    deaths = [line for line in said if "ended" in line]
    assert [line.split(",")[0] for line in deaths] == ["worker: ended with exit code 3"] * 3
    assert [line.split(",")[1] for line in deaths] == [f" starts again in {s} s" for s in ("0.5", "1", "2")]


async def test_stopping_lets_it_end_by_itself(start, directory: DataDirectory) -> None:
    said: list[str] = []
    child = start(
        "import signal, time\n"
        "def end(*_): print('ended', flush=True); raise SystemExit\n"
        "signal.signal(signal.SIGTERM, end); print('here', flush=True); time.sleep(60)",
        said=said,
    )
    await until(lambda: "here" in logged(directory))
    await child.stop()
    assert (child.pid, said) == (None, [])
    assert "ended" in logged(directory)
    await child.stop()


async def test_one_that_does_not_end_is_killed_after_its_grace(start, directory: DataDirectory) -> None:
    said: list[str] = []
    child = start(DEAF, grace=0.1, said=said)
    await until(lambda: "here" in logged(directory))
    await child.stop()
    assert (child.pid, said) == (None, ["worker: still running after 0.1 s, killed"])


async def test_a_ctrl_c_in_the_terminal_does_not_reach_it(start) -> None:
    child = start(WAITS)
    assert child.pid
    assert os.getpgid(child.pid) != os.getpgid(0)


PARENT = """
import os, sys
from pathlib import Path
from ostinato.cli.up.child import Child, ChildSpec
from ostinato.cli.up.data_directory import open_data_directory
from ostinato.clock import SystemClock
with open_data_directory(Path(sys.argv[1])) as directory:
    spec = ChildSpec("worker", (sys.executable, "-c", "import time; time.sleep(60)"), dict(os.environ))
    child = Child(spec, directory, SystemClock(), print)
    child.start()
    print(child.pid, flush=True)
    input()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent's death")
async def test_it_does_not_outlive_a_killed_supervisor(tmp_path: Path) -> None:
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PARENT, str(tmp_path / "data")), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert parent.stdout
    child = int(await parent.stdout.readline())
    assert find_process(child)
    parent.kill()
    await parent.wait()
    await until(lambda: find_process(child) is None)
    with open_data_directory(tmp_path / "data"):
        pass  # and its lock is free


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (0, "ended with exit code 0"),
        (1, "ended with exit code 1"),
        (-9, "was killed by SIGKILL"),
        (-99, "was killed by signal 99"),
    ],
)
def test_how_it_ended_is_told_in_words(code: int, told: str) -> None:
    assert told_exit(code) == told
