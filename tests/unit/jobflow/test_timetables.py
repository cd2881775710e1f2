"""Timetables of stored jobs: shared where names make no difference, and refused when they can't be understood."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ostinato.jobflow.timetables import cached_timetable
from ostinato.jobstore.schedule_terms_codec import encode_terms
from ostinato.pb.scheduler.v1.project_config_pb2 import JobConfig
from ostinato.scheduling.schedule import ScheduleError, ScheduleTerms

ROME = encode_terms(ScheduleTerms(time_zone="Europe/Rome"))
JITTER = encode_terms(ScheduleTerms(jitter=timedelta(minutes=1)))


@pytest.mark.parametrize(("text", "terms"), [("0 3 * MAR THU", b""), ("every 1h", b""), ("0 3 * * *", ROME)])
def test_jobs_share_a_table_that_is_the_same_for_all(text: str, terms: bytes) -> None:
    assert cached_timetable(text, terms, "projects/p/jobs/a") is cached_timetable(text, terms, "projects/p/jobs/b")


@pytest.mark.parametrize(
    ("text", "terms"), [("H * * * *", b""), ("0 5,h/3 * * *", ROME), ("0 0 * * H(1-5)", b""), ("0 3 * * *", JITTER)]
)
def test_a_hash_and_jitter_are_each_job_s_own(text: str, terms: bytes) -> None:
    tables = {id(cached_timetable(text, terms, f"projects/p/jobs/{name}")) for name in "ab"}
    assert len(tables) == 2


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("of a later release", b""),
        ("0 3 * * *", b"\xff"),
        ("0 3 * * *", JobConfig(time_zone="Mars/Olympus").SerializeToString()),
        ("0 3 * * *", JobConfig(gap_policy=9).SerializeToString()),  # type: ignore[arg-type]
    ],
)
def test_what_another_release_stored_is_no_schedule_here(text: str, terms: bytes) -> None:
    with pytest.raises(ScheduleError):
        cached_timetable(text, terms)
