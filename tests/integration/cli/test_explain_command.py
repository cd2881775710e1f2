"""`ostinato explain`: the answer first, then what else matters, then the triages."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from ostinato.pb.scheduler.v1.jobs_pb2 import ExplainJobRequest, ExplainJobResponse, Finding, TriageRecord
from tests.integration.cli.conftest import Ran
from tests.integration.client.fake_api import FakeApi

Ostinato = Callable[..., Ran]
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def record() -> TriageRecord:
    decided = [
        TriageRecord.Decision(reason="STARTED", count=1, invocation="projects/shop/jobs/j/invocations/7"),
        TriageRecord.Decision(reason="AT_CONCURRENCY_LIMIT", count=2),
    ]
    made = TriageRecord(saw=TriageRecord.Saw(pending=3, active=1, finished_since=1), decisions=decided)
    made.time.FromDatetime(AT)
    made.next_wake_time.FromDatetime(AT)
    return made


def test_the_first_line_is_the_answer(ostinato: Ostinato, api: FakeApi) -> None:
    findings = [Finding(code="PAUSED", text="It was paused."), Finding(code="NO_ENGINE", text="No \x1b[31mengine.")]
    api.answers["ExplainJob"] = ExplainJobResponse(findings=findings, records=[record()])
    ran = ostinato("explain", "shop/j")
    assert ran.exit_code == 0
    lines = ran.lines
    assert lines[:3] == ["It was paused.", "  - No \\x1b[31mengine.", ""]
    assert lines[3].split() == ["TRIAGE", "PENDING", "ACTIVE", "ENDED", "DECIDED"]
    told = " ".join(line.strip() for line in lines[4:])
    assert told.startswith("2026-03-01T12:00:00Z")
    for part in ("STARTED 1 → shop/j/7", "AT_CONCURRENCY_LIMIT 2"):
        assert part in " ".join(told.split())
    assert api.requests == [ExplainJobRequest(name="projects/shop/jobs/j", limit=10)]


def test_a_time_may_be_asked_about(ostinato: Ostinato, api: FakeApi) -> None:
    api.answers["ExplainJob"] = ExplainJobResponse(findings=[Finding(code="NO_SLOT", text="That is no slot.")])
    ran = ostinato("explain", "shop/j", "--at", "2026-03-01T12:00:00Z", "--records", "1")
    assert ran == Ran(0, "That is no slot.\n", "")
    expected = ExplainJobRequest(name="projects/shop/jobs/j", limit=1)
    expected.at.FromDatetime(AT)
    assert api.requests == [expected]
