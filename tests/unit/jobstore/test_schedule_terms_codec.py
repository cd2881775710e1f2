"""Terms of a schedule as they are stored."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.message import DecodeError

from ostinato.errors import InvalidArgument
from ostinato.jobstore.job_definition_codec import decode_definition, encode_definition, to_definition
from ostinato.jobstore.schedule_terms_codec import decode_terms, encode_terms, terms_of
from ostinato.pb.scheduler.v1 import jobs_pb2
from ostinato.pb.scheduler.v1.project_config_pb2 import JobConfig
from ostinato.scheduling.job_definition import JobDefinition
from ostinato.scheduling.schedule import Blackout, CatchUp, CatchUpPolicy, FoldPolicy, GapPolicy, ScheduleTerms

START = datetime(2026, 3, 1, tzinfo=UTC)
FULL = ScheduleTerms(
    time_zone="Europe/Rome",
    gap_policy=GapPolicy.SKIP,
    fold_policy=FoldPolicy.BOTH,
    offset=timedelta(minutes=5),
    jitter=timedelta(seconds=1, milliseconds=1),
    start_after=START,
    end_before=START + timedelta(days=9),
    blackouts=(Blackout(START, START + timedelta(days=1), "holidays"), Blackout(START, START + timedelta(hours=1))),
    catch_up=CatchUp(CatchUpPolicy.ALL, timedelta(hours=3), 7),
)
CAUGHT_UP = ScheduleTerms(catch_up=CatchUp(CatchUpPolicy.LATEST))


@pytest.mark.parametrize("terms", [FULL, ScheduleTerms(), ScheduleTerms(time_zone="Asia/Tokyo"), CAUGHT_UP])
def test_terms_can_be_read_back(terms: ScheduleTerms) -> None:
    assert decode_terms(encode_terms(terms)) == terms
    stored = encode_definition(JobDefinition("j", schedule="0 3 * * *", terms=terms))
    assert decode_definition(stored).terms == terms


@pytest.mark.parametrize("terms", [FULL, ScheduleTerms(), ScheduleTerms(offset=timedelta(seconds=1)), CAUGHT_UP])
def test_those_of_a_stored_definition_have_the_same_bytes(terms: ScheduleTerms) -> None:
    stored = encode_definition(JobDefinition("j", display_name="J", schedule="0 3 * * *", terms=terms))
    assert terms_of(JobConfig.FromString(stored)) == encode_terms(terms)


def test_the_defaults_take_no_bytes_nor_do_definitions_from_before_there_were_any() -> None:
    assert encode_terms(ScheduleTerms()) == b""
    assert terms_of(JobConfig(id="j", schedule="0 3 * * *")) == b""
    assert not JobConfig.FromString(encode_definition(JobDefinition("j"))).HasField("catch_up")


def test_a_policy_of_a_later_release_is_unreadable() -> None:
    config = JobConfig(id="j", gap_policy=9, fold_policy=9)  # type: ignore[arg-type]
    config.catch_up.policy = 9  # type: ignore[assignment]
    config.noop.SetInParent()
    with pytest.raises(InvalidArgument) as caught:
        to_definition(config)
    wrong = ["job.gap_policy", "job.fold_policy", "job.catch_up.policy"]
    assert [violation.path for violation in caught.value.violations] == wrong
    with pytest.raises((DecodeError, ValueError)):
        decode_terms(terms_of(config))


def test_what_is_left_out_of_catch_up_is_its_default() -> None:
    config = JobConfig(id="j", schedule="0 3 * * *")
    config.catch_up.policy = jobs_pb2.CatchUp.ALL
    assert decode_terms(terms_of(config)).catch_up == CatchUp(CatchUpPolicy.ALL, timedelta(hours=24), 100)
