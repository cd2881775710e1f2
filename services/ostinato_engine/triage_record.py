"""The record that explains a triage: what it saw, what it chose, and why. Pure.

The JSON has the fields of the api's TriageRecord; its time is the row's.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

from ostinato.scheduling.names import invocation_name
from ostinato.scheduling.triage import ReasonCode, TriageDecision, TriagePlan
from ostinato_engine.triage_loading import LoadedJob

_encode = json.JSONEncoder(separators=(",", ":")).encode


def triage_record(
    job: LoadedJob, plan: TriagePlan, *, job_name: str, invocation_ids: Sequence[int], problems: Sequence[str]
) -> str | None:
    """None for a triage that saw nothing to decide. `invocation_ids` are those of the plan's requests."""
    snapshot = job.snapshot
    pending = len(snapshot.triggers) + snapshot.more_pending + len(snapshot.waiting)
    if not (pending or plan.acknowledged or problems):
        return None
    record: dict[str, object] = {
        "job_revision": job.row.revision,
        "saw": {
            "pending": pending,
            "active": len(snapshot.active) - len(plan.acknowledged),
            "finished_since": len(plan.acknowledged),
        },
        "decisions": [
            _decision(decision, job_name, invocation_ids) for decision in plan.decisions if _explains(job, decision)
        ],
    }
    if plan.next_wake_at is not None:
        record["next_wake_time"] = _rfc3339(plan.next_wake_at)
    if problems:
        record["error"] = "; ".join(problems)
    return _encode(record)


def failure_record(error: str) -> str:
    """Of a triage that could not be carried out."""
    return _encode({"error": error.replace("\0", "")})


def _explains(job: LoadedJob, decision: TriageDecision) -> bool:
    # With an unreadable definition nothing starts, but no limit is the reason: the error is.
    return not (job.terms.problem and decision.reason is ReasonCode.AT_CONCURRENCY_LIMIT)


def _decision(decision: TriageDecision, job_name: str, invocation_ids: Sequence[int]) -> dict[str, object]:
    told: dict[str, object] = {
        "reason": decision.reason.value,
        "count": decision.count,
        "trigger_ids": decision.trigger_ids,
    }
    if decision.request is not None:
        told["invocation"] = invocation_name(job_name, invocation_ids[decision.request])
    return told


def _rfc3339(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
