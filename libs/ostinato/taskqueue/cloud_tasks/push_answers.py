"""What a pushed task is answered: the code says how it goes on, the text says nothing of what went wrong. Pure.

2xx ends the task, all else brings it again; 429 and 503 slow its whole queue down, which a process that stops must not.
"""

from __future__ import annotations

from dataclasses import dataclass

from ostinato.taskqueue.outcome import NextStep, Outcome, Verdict, decide_next_step
from ostinato.taskqueue.task_class import Retry


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    text: str = ""


# Why a push does not get to a handler.
REJECTIONS = ("auth", "bad_request", "bad_payload", "unknown_class", "no_handler")

DONE = Answer(200, "OK")
BURIED = Answer(200, "dead letter")  # out of attempts, or of patience
FATAL = Answer(202, "fatal error")
IGNORED = Answer(204)
NO_ENVELOPE = Answer(400, "bad request")
BAD_PAYLOAD = Answer(400, "bad payload")
NO_BODY = Answer(408, "request timeout")
NO_TOKEN = Answer(401, "authentication required")
NOT_ALLOWED = Answer(403, "not allowed")
UNKNOWN_CLASS = Answer(404, "unknown class")
NO_HANDLER = Answer(404, "no handler")
RETRY_LATER = Answer(409, "later")
OVERLOADED = Answer(429, "overloaded")
FAILED = Answer(500, "error")
STOPPING = Answer(500, "stopping")
KEYS_AWAY = Answer(503, "unavailable")


@dataclass(frozen=True, slots=True)
class PushEnd:
    """`excused`: the attempt is not to count, although Cloud Tasks counts it. `buried`: a dead letter before it is
    answered.
    """

    answer: Answer
    step: NextStep
    excused: bool = False
    buried: bool = False


def decide_end(outcome: Outcome, retry: Retry, *, failures: int) -> PushEnd:
    """`failures` is the number before this run. The failing last attempt dies."""
    step = decide_next_step(outcome, retry, failures=failures, jitter=0.0)
    match step.verdict, outcome.verdict:
        case Verdict.DONE, _:
            return PushEnd(DONE, step)
        case Verdict.IGNORE, _:
            return PushEnd(IGNORED, step)
        case Verdict.DEAD, Verdict.DEAD:
            return PushEnd(FATAL, step, buried=True)
        case Verdict.DEAD, _:
            return PushEnd(BURIED, step, buried=True)
        case _, Verdict.RETRY_LATER | Verdict.AGAIN:
            return PushEnd(RETRY_LATER, step, excused=True)
        case _, Verdict.OVERLOADED:
            return PushEnd(OVERLOADED, step, excused=True)
        case _, Verdict.RELEASE:
            return PushEnd(STOPPING, step, excused=True)
        case _, Verdict.LOST:
            return PushEnd(FAILED, step, excused=True)
        case _:
            return PushEnd(FAILED, step)
