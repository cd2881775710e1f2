"""One run: load and faults together, then peace, then the audit. Bounded at every step."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import asyncpg

from chaos.audit import Claims, audit
from chaos.emitter import Emitter
from chaos.evidence import Evidence, collect, what_waits
from chaos.installation import Installation, open_installation
from chaos.project import SCHEDULED
from chaos.report import Outcome
from chaos.service_logs import read_logs
from ostinato.client import ClientError

T = TypeVar("T")

LOWEST_RATE = 200.0
_START = 60.0
_SETTLE = 90.0
_END = 40.0


@dataclass(frozen=True, slots=True)
class Plan:
    """`seconds` of faults under `rate` triggers a second."""

    seed: int
    seconds: float
    rate: float

    @property
    def wanted_rate(self) -> float:
        """Below it there was too little load to prove anything."""
        return min(LOWEST_RATE, self.rate * 0.8)


async def run_chaos(plan: Plan, folder: Path) -> Outcome:
    """Raises NotStartedError, and TimeoutError should a step exceed its bound."""
    async with (
        asyncio.timeout(_START + plan.seconds + 2 * _SETTLE + _END),
        open_installation(folder, plan.seed) as installed,
    ):
        async with asyncio.timeout(_START):
            await installed.begin()
        clock = asyncio.get_running_loop().time
        emitter = Emitter(installed.api.grpc_address, plan.rate, plan.seed)
        emitting = asyncio.create_task(emitter.run())
        began = clock()
        await installed.suffer(plan.seed, plan.seconds)
        suffered = clock()
        restless = await _settle(installed, emitter, emitting)
        settled = clock()
        evidence = await collect(installed.postgres.owner_url)
        async with asyncio.timeout(_END):
            await installed.end()
    rate = len(emitter.accepted) / (suffered - began)
    facts = {
        **_facts(installed, emitter, evidence),
        "seconds": f"{suffered - began:.0f} of faults, settled in {settled - suffered:.1f}",
        "triggers per second": f"{rate:.0f}",
    }
    logged, bugs = read_logs(folder)
    broken = {
        **audit(evidence, Claims(frozenset(emitter.accepted), frozenset(installed.target.ended))),
        "unexpected answers": _told(emitter.unexpected) + _told(installed.target.refused),
        "misbehaving processes": [*installed.journal.complaints, *restless],
        "log lines that tell of a bug": bugs,
        "too little load": [f"{rate:.0f} triggers/s"] if rate < plan.wanted_rate else [],
    }
    return Outcome(plan.seed, facts, broken, logged)


async def _settle(installed: Installation, emitter: Emitter, emitting: asyncio.Task[None]) -> list[str]:
    """No more faults: everything has to come to its end by itself. Returns what did not."""
    try:
        async with asyncio.timeout(_SETTLE):
            await installed.until_ready()
            emitter.stop()
            await emitting
            before = await _patiently(installed.successes)
            await _until(lambda: _all_newer(installed, before))
            await _patiently(installed.pause_schedules)
    except TimeoutError:
        emitting.cancel()
        return [
            f"after {_SETTLE:g} s of peace the services do not serve, or some of {', '.join(SCHEDULED)} stands still"
        ]
    try:
        async with asyncio.timeout(_SETTLE):
            await _until(lambda: _nothing_waits(installed))
    except TimeoutError:
        return [f"not at rest after {_SETTLE:g} s of peace"]
    return []


async def _all_newer(installed: Installation, before: dict[str, str]) -> bool:
    now = await _patiently(installed.successes)
    return all(now[job] > before[job] for job in SCHEDULED)


async def _nothing_waits(installed: Installation) -> bool:
    if installed.target.has_more_to_tell:
        return False
    try:
        return not await what_waits(installed.postgres.owner_url)
    except (OSError, TimeoutError, asyncpg.PostgresError):
        return False


async def _until(condition: Callable[[], Awaitable[bool]]) -> None:
    while not await condition():
        await asyncio.sleep(0.2)


async def _patiently(call: Callable[[], Awaitable[T]]) -> T:
    """Our caller's patience bounds it."""
    while True:
        try:
            return await call()
        except ClientError:
            await asyncio.sleep(0.2)


def _facts(installed: Installation, emitter: Emitter, evidence: Evidence) -> dict[str, str]:
    statuses = Counter(run.status.name for run in evidence.runs)
    calls = installed.target.calls
    longest_wait = _longest_wait(installed.served_again_at, emitter.accepted_at)
    return {
        "PostgreSQL": str(installed.postgres.major),
        "faults": str(installed.journal.faults.total()),
        **{f"  {kind}": str(count) for kind, count in sorted(installed.journal.faults.items())},
        "processes started": ", ".join(f"{count} {kind}" for kind, count in sorted(installed.journal.starts.items())),
        "triggers accepted": str(len(emitter.accepted)),
        "calls of the api repeated": str(emitter.repeated_calls),
        "runs": f"{len(evidence.runs)}: " + ", ".join(f"{count} {name}" for name, count in sorted(statuses.items())),
        "calls of the target": f"{calls.total()}, of them repeated {calls.total() - len(calls)}",
        "notifications repeated": str(installed.target.repeated),
        "slots in the ledger": str(sum(len(slots) for slots in evidence.ledger.values())),
        "longest wait for the api after the database": f"{longest_wait:.1f} s",
    }


def _longest_wait(served_again_at: list[float], accepted_at: list[float]) -> float:
    waits = [min((at - served for at in accepted_at if at > served), default=0.0) for served in served_again_at]
    return max(waits, default=0.0)


def _told(counted: Counter[str]) -> list[str]:
    return [f"{count} x {text}" for text, count in counted.most_common()]
