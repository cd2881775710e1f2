"""Definitions survive storage, defaults are filled in, and what can't be expressed is refused with its path."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from google.protobuf.json_format import ParseDict
from google.protobuf.message import DecodeError

from ostinato.errors import InvalidArgument
from ostinato.jobstore.job_definition_codec import (
    Aftermath,
    decode_aftermath,
    decode_definition,
    decode_timeouts,
    encode_definition,
    from_definition,
    to_definition,
)
from ostinato.pb.scheduler.v1.project_config_pb2 import JobConfig
from ostinato.scheduling.job_definition import (
    Downstream,
    Intake,
    JobDefinition,
    Overflow,
    PolicyKind,
    RetryPolicy,
    TriggeringPolicy,
    TriggerOn,
)
from ostinato.scheduling.targets import HttpSpec, NoopSpec

FULL = JobDefinition(
    id="report",
    display_name="Daily report",
    labels={"team": "a", "env": "prod"},
    annotations={"note": "x"},
    owner="user:ana@shop.example",
    realm="shop:reports",
    schedule="0 3 * * *",
    policy=TriggeringPolicy(max_concurrent_invocations=3, max_batch_size=7),
    target=HttpSpec(
        url="https://svc.example/run",
        method="PUT",
        headers=(("A", "1"), ("B", "2")),
        body="{}",
        timeout=timedelta(milliseconds=1500),
        multistage=True,
    ),
    downstream=(Downstream("next"), Downstream("repair", TriggerOn.FAILURE), Downstream("log", TriggerOn.FINISH)),
    timeout=timedelta(minutes=90),
    heartbeat_timeout=timedelta(minutes=5),
    retry=RetryPolicy(3, timedelta(milliseconds=200), timedelta(minutes=1)),
    intake=Intake(17, Overflow.REJECT, timedelta(seconds=90)),
)


def config(**fields: object) -> JobConfig:
    return ParseDict({"id": "j", "noop": {}, **fields}, JobConfig())


@pytest.mark.parametrize(
    "definition",
    [
        FULL,
        JobDefinition(id="j"),
        JobDefinition(id="j", target=NoopSpec(timedelta(seconds=2), triggers_count=3)),
        JobDefinition(id="j", policy=TriggeringPolicy(PolicyKind.LOGARITHMIC_BATCHING, log_base=1.5)),
        JobDefinition(id="j", policy=TriggeringPolicy(PolicyKind.NEWEST_FIRST, pending_timeout=timedelta(seconds=3))),
        replace(FULL, target=NoopSpec()),
        replace(FULL, target=HttpSpec(url="https://svc.example/run")),
    ],
    ids=["full", "defaults", "noop", "logarithmic", "newest first", "noop with a heartbeat", "http with a heartbeat"],
)
def test_a_definition_survives_storage(definition: JobDefinition) -> None:
    assert decode_definition(encode_definition(definition)) == definition
    assert decode_aftermath(encode_definition(definition)) == Aftermath(definition.downstream, definition.retry)
    assert decode_timeouts(encode_definition(definition)) == definition.timeouts


def test_equal_definitions_have_equal_bytes() -> None:
    one = JobDefinition(id="j", labels={str(number): "x" for number in range(50)})
    other = JobDefinition(id="j", labels={str(number): "x" for number in reversed(range(50))})
    assert encode_definition(one) == encode_definition(other)


def test_defaults_are_filled_in() -> None:
    definition = to_definition(config())
    assert definition.schedule == "triggered"
    assert definition.timeout == timedelta(hours=1)
    assert definition.heartbeat_timeout is None
    assert definition.intake == Intake(1000, Overflow.DROP_OLDEST, timedelta(0))
    assert definition.retry == RetryPolicy(1, timedelta(seconds=1), timedelta(minutes=10))
    assert definition.policy == TriggeringPolicy(PolicyKind.GREEDY_BATCHING, 1, 1000)
    newest = to_definition(config(triggering_policy={"kind": "NEWEST_FIRST"})).policy
    assert newest == TriggeringPolicy(PolicyKind.NEWEST_FIRST, 1, 1000, pending_timeout=timedelta(days=7))
    http = to_definition(ParseDict({"id": "j", "http": {"url": "http://h/"}}, JobConfig())).target
    assert http == HttpSpec(url="http://h/", method="POST", timeout=timedelta(seconds=60))


def test_defaults_are_written_out_when_stored() -> None:
    stored = from_definition(to_definition(config()))
    assert stored.schedule == "triggered"
    assert stored.timeout.seconds == 3600
    assert stored.retry.max_attempts == 1
    assert not stored.HasField("heartbeat_timeout")
    assert stored.triggering_policy.max_batch_size == 1000


def test_the_short_form_of_downstream_is_read_and_not_written() -> None:
    definition = to_definition(config(downstream=[{"job": "a", "trigger_on": "FINISH"}], triggers=["b", "c"]))
    assert definition.downstream == (Downstream("a", TriggerOn.FINISH), Downstream("b"), Downstream("c"))
    assert not from_definition(definition).triggers


def test_an_explicit_zero_timeout_is_not_the_default() -> None:
    assert to_definition(config(timeout="0s")).timeout == timedelta(0)


def test_the_rest_of_a_retry_policy_is_filled_in() -> None:
    assert to_definition(config(retry={"max_attempts": 3})).retry == RetryPolicy(3)
    assert to_definition(config(retry={})).retry == RetryPolicy(1)
    assert to_definition(config(retry={"min_backoff": "0s"})).retry.min_backoff == timedelta(0)


def test_everything_that_cannot_be_expressed_is_told_at_once_with_its_path() -> None:
    broken = JobConfig(id="j")
    broken.triggering_policy.kind = 77  # type: ignore[assignment]
    broken.downstream.add(job="a", trigger_on=88)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument) as refused:
        to_definition(broken, "jobs[3]")
    assert [violation.path for violation in refused.value.violations] == [
        "jobs[3]",
        "jobs[3].triggering_policy.kind",
        "jobs[3].downstream[0].trigger_on",
    ]


def test_bytes_that_are_no_definition_are_refused() -> None:
    with pytest.raises(InvalidArgument):
        decode_definition(b"")


@pytest.mark.parametrize("damage", [{"timeout": 10**15}, {"retry": 10**15}, {"trigger_on": 77}])
def test_values_that_nobody_can_have_stored_are_as_unreadable_as_bytes(damage: dict[str, int]) -> None:
    """They raised what nobody expects of stored data, and took down the loop that met them."""
    config = from_definition(FULL)
    if "timeout" in damage:
        config.timeout.seconds = config.heartbeat_timeout.seconds = damage["timeout"]
    if "retry" in damage:
        config.retry.min_backoff.seconds = damage["retry"]
    if "trigger_on" in damage:
        config.downstream[0].trigger_on = damage["trigger_on"]  # type: ignore[assignment]
    data = config.SerializeToString()
    with pytest.raises((DecodeError, InvalidArgument)):
        decode_definition(data)
    with pytest.raises(DecodeError):
        decode_timeouts(data) if "timeout" in damage else decode_aftermath(data)
