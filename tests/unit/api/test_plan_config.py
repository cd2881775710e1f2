"""The diff between stored jobs and a config."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from ostinato.jobstore.job_definition_codec import encode_definition
from ostinato.jobstore.job_store import JobId, JobRow, ManagedBy
from ostinato.pb.scheduler.v1.project_config_pb2 import JobConfig
from ostinato.scheduling.job_definition import JobDefinition, RetryPolicy
from ostinato_api.project_config.plan_config import conflicts_with_api_jobs, plan_config
from ostinato_api.project_config.read_project_config import Stanza

AT = datetime(2026, 1, 1, tzinfo=UTC)


def stanza(name: str, **fields: str) -> Stanza:
    definition = JobDefinition(id=name, **fields)  # type: ignore[arg-type]
    return Stanza.of(definition)


def row(name: str, *, enabled: bool = True, managed_by: ManagedBy = ManagedBy.CONFIG, **fields: str) -> JobRow:
    return JobRow(
        job_id=JobId(hash(name) % 1000),
        project_id=1,
        project="shop",
        name=name,
        uid=UUID(int=1),
        realm="@legacy",
        managed_by=managed_by,
        definition=stanza(name, **fields).encoded,
        enabled=enabled,
        paused=False,
        pause_reason="",
        paused_by="",
        paused_at=None,
        revision="r1",
        revision_url="",
        version=1,
        last_triage_at=None,
        last_scheduled_at=None,
        last_completed_at=None,
        last_success_at=None,
        last_failure_at=None,
        last_status=None,
        last_error="",
        created_at=AT,
        updated_at=AT,
    )


def test_each_job_is_in_one_list_or_in_none() -> None:
    stored = [row("same"), row("edited"), row("left-out"), row("gone", enabled=False), row("back", enabled=False)]
    wanted = [stanza("new"), stanza("edited", schedule="every 1h"), stanza("same"), stanza("back")]
    plan = plan_config(stored, wanted)
    assert plan.added_names == ["back", "new"]
    assert plan.changed_names == ["edited"]
    assert plan.disabled_names == ["left-out"]
    assert [stanza.definition.id for stanza in plan.created] == ["new"]
    assert [redefinition.job.name for redefinition in plan.enabled_again] == ["back"]


def test_the_same_definition_in_other_bytes_is_the_same() -> None:
    labels = {f"k{i}": str(i) for i in range(20)}
    definition = JobDefinition(id="a", labels=labels)
    stored = row("a")
    shuffled = JobDefinition(id="a", labels=dict(reversed(labels.items())))
    stored = replace(stored, definition=encode_definition(shuffled) + b"\x0a\x01a")  # the id once more
    assert plan_config([stored], [Stanza.of(definition)]).changed == ()


def test_a_default_that_was_not_stored_yet_is_no_change() -> None:
    """A release that knows a field more must not find every job changed."""
    older = JobConfig.FromString(stanza("a").encoded)
    older.ClearField("retry")
    stored = replace(row("a"), definition=older.SerializeToString())
    assert plan_config([stored], [stanza("a")]).changed == ()
    retried = JobDefinition(id="a", retry=RetryPolicy(2))
    assert plan_config([stored], [Stanza.of(retried)]).changed_names == ["a"]


def test_a_definition_that_cannot_be_read_is_replaced() -> None:
    stored = replace(row("a"), definition=b"\xff")
    assert plan_config([stored], [stanza("a")]).changed_names == ["a"]


def test_a_realm_is_part_of_the_definition() -> None:
    assert plan_config([row("a")], [stanza("a", realm="prod")]).changed_names == ["a"]


def test_jobs_of_the_api_are_neither_changed_nor_disabled() -> None:
    stored = [row("mine", managed_by=ManagedBy.API), row("theirs", managed_by=ManagedBy.API, enabled=False)]
    assert plan_config(stored, []).disabled == ()
    wanted = [stanza("other"), stanza("theirs"), stanza("mine")]
    assert [violation.path for violation in conflicts_with_api_jobs(stored, wanted)] == ["jobs[1].id", "jobs[2].id"]


def test_an_empty_config_disables_everything() -> None:
    assert plan_config([row("a"), row("b")], []).disabled_names == ["a", "b"]
