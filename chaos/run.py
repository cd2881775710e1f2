"""One run: load and faults together, then peace, then the audit. Bounded at every step."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from chaos.evidence import Evidence, collect
from chaos.installation import open_installation
from chaos.load import SETTLE_SECONDS, Load, open_load
from chaos.report import Outcome
from chaos.service_logs import read_logs

LOWEST_RATE = 200.0
_START_SECONDS = 60.0
_END_SECONDS = 40.0


@dataclass(frozen=True, slots=True)
class Plan:
    """`seconds` of faults under `rate` triggers a second; `with_cloud`: tasks wait in local clouds."""

    seed: int
    seconds: float
    rate: float
    with_cloud: bool = False

    @property
    def lowest_rate(self) -> float:
        """Below it there was too little load to prove anything."""
        return min(LOWEST_RATE, self.rate * 0.8)


async def run_chaos(plan: Plan, folder: Path) -> Outcome:
    """Raises NotStartedError, and TimeoutError should a step exceed its bound."""
    clock = asyncio.get_running_loop().time
    async with (
        asyncio.timeout(_START_SECONDS + plan.seconds + 2 * SETTLE_SECONDS + _END_SECONDS),
        open_installation(folder, plan.seed, with_cloud=plan.with_cloud) as installed,
    ):
        async with asyncio.timeout(_START_SECONDS):
            await installed.begin()
        async with open_load(installed, plan.rate, plan.seed) as load:
            began = clock()
            await installed.suffer(plan.seed, plan.seconds)
            suffered = clock()
            restless = await load.settle()
            settled = clock()
        evidence = await collect(installed.postgres.owner_url)
        async with asyncio.timeout(_END_SECONDS):
            await installed.end()
    rate = len(load.emitter.accepted) / (suffered - began)
    facts = {
        **_facts(load, evidence),
        "seconds": f"{suffered - began:.0f} of faults, settled in {settled - suffered:.1f}",
        "triggers per second": f"{rate:.0f}",
    }
    logged, bugs = read_logs(folder)
    broken = {
        **load.audit(evidence),
        "restless": restless,
        "log lines that tell of a bug": bugs,
        "too little load": [f"{rate:.0f} triggers/s"] if rate < plan.lowest_rate else [],
    }
    return Outcome(plan.seed, facts, broken, logged)


def _facts(load: Load, evidence: Evidence) -> dict[str, str]:
    installed, emitter = load.installed, load.emitter
    statuses = Counter(run.status.name for run in evidence.runs)
    calls, journal = installed.target.calls, installed.journal
    return {
        "PostgreSQL": str(installed.postgres.major),
        "faults": str(journal.faults.total()),
        **{f"  {kind}": str(count) for kind, count in sorted(journal.faults.items())},
        "processes started": ", ".join(f"{count} {kind}" for kind, count in sorted(journal.starts.items())),
        "triggers accepted": str(len(emitter.accepted)),
        "calls of the api repeated": str(emitter.repeated_calls),
        "runs": f"{len(evidence.runs)}: " + ", ".join(f"{count} {name}" for name, count in sorted(statuses.items())),
        "calls of the target": f"{calls.total()}, of them repeated {calls.total() - len(calls)}",
        "notifications repeated": str(installed.target.repeated),
        "looks for contradictions": str(load.looks),
        "slots in the ledger": str(sum(len(slots) for slots in evidence.ledger.values())),
        "longest wait for the api after a fault of the database": f"{_longest_wait(load):.1f} s",
    }


def _longest_wait(load: Load) -> float:
    accepted_at = load.emitter.accepted_at
    ends = load.installed.served_again_at
    return max((min((at - end for at in accepted_at if at > end), default=0.0) for end in ends), default=0.0)
