"""A span for each run of a task whose trace is recorded; tasks of one batch have one each, over the same time."""

from __future__ import annotations

from collections.abc import Iterable

from opentelemetry.trace import Span

from ostinato.taskqueue.outcome import Outcome, Verdict
from ostinato.taskqueue.task_context import TaskContext
from ostinato.telemetry.spans import Spans, mark_failed

_FAILURES = frozenset({Verdict.RETRY, Verdict.DEAD, Verdict.LOST})


def begin_spans(spans: Spans, tasks: Iterable[TaskContext]) -> None:
    for task in tasks:
        if task.raw_header is not None:
            task.span = spans.begin_task(task.class_name, task.header.traceparent, _attributes(task))


def _attributes(task: TaskContext) -> dict[str, str | int]:
    return {
        "messaging.system": "ostinato",
        "messaging.destination.name": task.queue,
        "messaging.message.id": str(task.id),
        "ostinato.task.attempt": task.attempt,
    }


def end_span(task: TaskContext, span: Span, outcome: Outcome) -> None:
    """Failures by the class of the error: its text may be secret."""
    span.set_attribute("ostinato.task.verdict", outcome.verdict.value)
    if outcome.verdict in _FAILURES:
        mark_failed(span, outcome.error.partition(":")[0] or outcome.verdict.value)
    span.end()
    task.span = None
