"""What a job is, as the engine and the api think of it: plain values with every default filled in.

Whoever builds one fills the defaults; `validate_job` says whether the values are allowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import IntEnum, StrEnum

from ostinato.scheduling.deadline import RunTimeouts
from ostinato.scheduling.schedule import ScheduleTerms
from ostinato.scheduling.targets import NoopSpec, TargetSpec, can_report

DEFAULT_SCHEDULE = "triggered"
DEFAULT_TERMS = ScheduleTerms()
DEFAULT_TIMEOUT = timedelta(hours=1)
DEFAULT_PENDING_TIMEOUT = timedelta(days=7)
DEFAULT_TARGET = NoopSpec()
DEFAULT_REALM = "@legacy"


class PolicyKind(IntEnum):
    """How pending triggers become invocations. Numbers as in `TriggeringPolicy.Kind`."""

    GREEDY_BATCHING = 1
    LOGARITHMIC_BATCHING = 2
    NEWEST_FIRST = 3


@dataclass(frozen=True, slots=True)
class TriggeringPolicy:
    """`log_base` is of LOGARITHMIC_BATCHING, `pending_timeout` of NEWEST_FIRST."""

    kind: PolicyKind = PolicyKind.GREEDY_BATCHING
    max_concurrent_invocations: int = 1
    max_batch_size: int = 1000
    log_base: float = 0.0
    pending_timeout: timedelta | None = None

    @property
    def expires_after(self) -> timedelta:
        """How long NEWEST_FIRST lets a trigger wait."""
        return self.pending_timeout or DEFAULT_PENDING_TIMEOUT


class Overflow(IntEnum):
    """What happens to triggers beyond a job's cap. Numbers as in `Job.Overflow`."""

    DROP_OLDEST = 1
    REJECT = 2


@dataclass(frozen=True, slots=True)
class Intake:
    """How much may wait, and how often a triage may start something."""

    max_pending: int = 1000
    overflow: Overflow = Overflow.DROP_OLDEST
    min_interval: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Whether a run that failed is tried again by itself. `max_attempts` counts the first run: 1 is no retry."""

    max_attempts: int = 1
    min_backoff: timedelta = timedelta(seconds=1)
    max_backoff: timedelta = timedelta(minutes=10)


class TriggerOn(StrEnum):
    """Which ends of a run trigger a downstream job. FAILURE is FAILED or TIMED_OUT, FINISH any final status."""

    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    FINISH = "FINISH"


@dataclass(frozen=True, slots=True)
class Downstream:
    """A job of the same project, by id, that is triggered by the end of this one."""

    job: str
    trigger_on: TriggerOn = TriggerOn.SUCCESS


@dataclass(frozen=True, slots=True)
class JobDefinition:
    id: str
    display_name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    owner: str = ""
    realm: str = DEFAULT_REALM
    schedule: str = DEFAULT_SCHEDULE
    terms: ScheduleTerms = DEFAULT_TERMS
    start_deadline: timedelta | None = None  # None: a slot may start however late it is
    policy: TriggeringPolicy = TriggeringPolicy()
    target: TargetSpec = DEFAULT_TARGET
    downstream: tuple[Downstream, ...] = ()
    timeout: timedelta = DEFAULT_TIMEOUT
    heartbeat_timeout: timedelta | None = None  # None: a run may be silent as long as it likes
    retry: RetryPolicy = RetryPolicy()
    intake: Intake = Intake()

    @property
    def timeouts(self) -> RunTimeouts:
        """What ends its runs by time. Work that can't report is not asked for signs of life, whatever is stored."""
        reports = can_report(self.target)
        return RunTimeouts(self.timeout, self.heartbeat_timeout if reports else None, reports)
