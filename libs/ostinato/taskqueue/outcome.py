"""What becomes of a task after its handler ran. Pure.

A handler ends by returning (done) or by raising; the table below says what each error means for the task.
Whatever the table does not know is a failure that uses up an attempt.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from ostinato import errors
from ostinato.taskqueue.retry_policy import backoff
from ostinato.taskqueue.task_class import Retry


class Verdict(StrEnum):
    """How a task goes on."""

    DONE = "done"
    IGNORE = "ignore"  # drop quietly
    RETRY = "retry"  # failed: again after the class's backoff, until its attempts are used up
    RETRY_LATER = "retry-later"  # expected: again after a delay, uses up no attempt
    OVERLOADED = "overloaded"  # as RETRY_LATER, and the whole queue slows down
    DEAD = "dead"  # to the dead letters
    RELEASE = "release"  # free at once for anybody, as if never claimed
    AGAIN = "again"  # still claimed: back into this process's memory
    LOST = "lost"  # no longer ours: nothing may be written


# Most specific first is not needed: the nearest ancestor in the method resolution order counts.
ERROR_VERDICTS: dict[type[BaseException], Verdict] = {
    errors.OstinatoError: Verdict.RETRY,
    errors.CallerError: Verdict.RETRY,
    errors.InvalidArgument: Verdict.RETRY,
    errors.ResourceError: Verdict.RETRY,
    errors.NotFound: Verdict.RETRY,
    errors.AlreadyExists: Verdict.RETRY,
    errors.PermissionDenied: Verdict.RETRY,
    errors.Unauthenticated: Verdict.RETRY,
    errors.FailedPrecondition: Verdict.RETRY,
    errors.Conflict: Verdict.RETRY,
    errors.ResourceExhausted: Verdict.RETRY,
    errors.Transient: Verdict.RETRY,
    errors.Unavailable: Verdict.RETRY,
    errors.Contention: Verdict.RETRY,
    errors.CommitOutcomeUnknown: Verdict.RETRY,
    errors.StaleLease: Verdict.LOST,
    errors.TaskOutcomeError: Verdict.RETRY,
    errors.Fatal: Verdict.DEAD,
    errors.Ignore: Verdict.IGNORE,
    errors.RetryLater: Verdict.RETRY_LATER,
    errors.Overloaded: Verdict.OVERLOADED,
    errors.InternalError: Verdict.RETRY,
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """A verdict with its delay (RETRY_LATER, AGAIN) and the error to record. `transient`: it passes by itself."""

    verdict: Verdict
    delay: timedelta = timedelta(0)
    error: str = ""
    transient: bool = False

    @classmethod
    def done(cls) -> Outcome:
        return _DONE

    @classmethod
    def again(cls, after: timedelta = timedelta(milliseconds=3)) -> Outcome:
        """Keeps the claim and runs the task again in this process, soon; no attempt is counted."""
        return cls(Verdict.AGAIN, delay=after)

    @classmethod
    def of_error(cls, error: BaseException) -> Outcome:
        verdict = next((ERROR_VERDICTS[kind] for kind in type(error).__mro__ if kind in ERROR_VERDICTS), Verdict.RETRY)
        delay = error.delay if isinstance(error, errors.RetryLater) else timedelta(0)
        return cls(verdict, delay=delay, error=describe(error), transient=isinstance(error, errors.Transient))


_DONE = Outcome(Verdict.DONE)


@dataclass(frozen=True, slots=True)
class NextStep:
    """What to write: done, release, later (after `delay`, with `failures`), or dead."""

    verdict: Verdict
    delay: timedelta = timedelta(0)
    failures: int = 0
    error: str = ""


def decide_next_step(outcome: Outcome, retry: Retry, *, failures: int, jitter: float) -> NextStep:
    """`failures` is the number before this run; `jitter` in [0, 1) spreads retries. The failing last attempt dies."""
    match outcome.verdict:
        case Verdict.RETRY:
            failed = failures + 1
            if retry.max_attempts and failed >= retry.max_attempts:
                return NextStep(Verdict.DEAD, failures=failed, error=outcome.error)
            delay = backoff(retry, failed, jitter, transient=outcome.transient)
            return NextStep(Verdict.RETRY, delay=delay, failures=failed, error=outcome.error)
        case Verdict.RETRY_LATER | Verdict.OVERLOADED:
            return NextStep(Verdict.RETRY, delay=outcome.delay, failures=failures, error=outcome.error)
        case Verdict.DEAD:
            return NextStep(Verdict.DEAD, failures=failures + 1, error=outcome.error)
        case _:
            return NextStep(outcome.verdict, delay=outcome.delay, failures=failures)


def describe(error: BaseException) -> str:
    """For logs and dead letters; bounded, and always text that a database takes."""
    text = f"{type(error).__name__}: {error}"[:4000]
    return text.encode(errors="replace").decode()
