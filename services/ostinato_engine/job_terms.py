"""What triage needs of a job's definition, decoded once per version of the job."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta

from google.protobuf.message import DecodeError

from ostinato.errors import InvalidArgument
from ostinato.jobstore.job_definition_codec import decode_definition
from ostinato.jobstore.triage_store import TriagedJobRow
from ostinato.scheduling.deadline import RunTimeouts
from ostinato.scheduling.job_definition import DEFAULT_TIMEOUT, Intake, JobDefinition, TriggeringPolicy
from ostinato.scheduling.names import job_name
from ostinato.scheduling.schedule.due_time import Delay
from ostinato.scheduling.start_limit import StartLimit

_log = logging.getLogger(__name__)
_MOST = 20_000
_START_NOTHING = TriggeringPolicy(max_concurrent_invocations=0)


@dataclass(frozen=True, slots=True)
class JobTerms:
    """`problem` says why the definition can't be read; then nothing starts until it is replaced."""

    policy: TriggeringPolicy
    timeouts: RunTimeouts
    pause_after_failure: timedelta  # at least, until a relative schedule starts the next run
    intake: Intake
    problem: str = ""
    start_limit: StartLimit | None = None


class JobTermsCache:
    """Remembers the terms of the jobs triaged last; a new version of a job replaces its entry."""

    def __init__(self) -> None:
        self._terms: dict[int, tuple[int, JobTerms]] = {}

    def of(self, job: TriagedJobRow) -> JobTerms:
        known = self._terms.get(job.job_id)
        if known is not None and known[0] == job.version:
            return known[1]
        terms = read_terms(job)
        if len(self._terms) >= _MOST:
            del self._terms[next(iter(self._terms))]
        self._terms[job.job_id] = (job.version, terms)
        return terms


def read_terms(job: TriagedJobRow) -> JobTerms:
    """An unreadable definition must not hold up the jobs it is triaged with, so it is a value and not an error."""
    try:
        definition = decode_definition(job.definition)
    except (DecodeError, InvalidArgument) as error:
        problem = f"the stored definition can't be read: {error}"
        _log.error("job projects/%s/jobs/%s starts nothing: %s", job.project, job.name, problem)
        return JobTerms(_START_NOTHING, RunTimeouts(DEFAULT_TIMEOUT), timedelta(0), Intake(), problem)
    return JobTerms(
        policy=definition.policy,
        timeouts=definition.timeouts,
        pause_after_failure=definition.retry.min_backoff,
        intake=definition.intake,
        start_limit=_start_limit(job, definition),
    )


def _start_limit(job: TriagedJobRow, definition: JobDefinition) -> StartLimit | None:
    if definition.start_deadline is None:
        return None
    delay = Delay(job_name(job.project, job.name), definition.terms.offset, definition.terms.jitter)
    return StartLimit(delay, definition.start_deadline)
