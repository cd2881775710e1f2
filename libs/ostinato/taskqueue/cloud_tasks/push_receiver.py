"""Takes the tasks that Cloud Tasks pushes: `POST /internal/tasks/…` with a token, answered when the task has ended.

The path is for people; the body says what it is. Answers never tell what went wrong. A task is done when it was
answered with 2xx, which is after everything it was to do was committed, and after its dead letter was, if it has one.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Protocol

from aiohttp import web
from google.protobuf.message import Message

from ostinato.clock import Clock, SystemClock
from ostinato.errors import OstinatoError, PermissionDenied, Unauthenticated, Unavailable
from ostinato.taskqueue.cloud_tasks import push_answers, push_store
from ostinato.taskqueue.cloud_tasks.envelope import (
    Envelope,
    NoEnvelopeError,
    NoPayloadError,
    decode_envelope,
    decode_payload,
)
from ostinato.taskqueue.cloud_tasks.push_answers import Answer, PushEnd, decide_end
from ostinato.taskqueue.cloud_tasks.push_letters import PushLetters
from ostinato.taskqueue.cloud_tasks.push_runs import OurTime, PushRuns
from ostinato.taskqueue.cloud_tasks.pushed_task import pushed_task
from ostinato.taskqueue.cloud_tasks.task_headers import PushHeaders, parse_push_headers
from ostinato.taskqueue.dispatcher import Dispatcher
from ostinato.taskqueue.embedded.refusal import PATIENCE
from ostinato.taskqueue.embedded.task_log import TaskLog
from ostinato.taskqueue.embedded.worker_stats import ClassStats, WorkerStats
from ostinato.taskqueue.handler import Handler, check_handlers
from ostinato.taskqueue.outcome import Verdict
from ostinato.taskqueue.task_class import TaskClass
from ostinato.taskqueue.task_context import TaskContext
from ostinato.telemetry.spans import OFF, Spans

PUSH_PATH = "/internal/tasks/{tail:.*}"
_BODY_SECONDS = 30.0
_EXCUSES_KEPT = timedelta(days=31)  # no task waits longer

_ENDS = frozenset({Verdict.DONE, Verdict.IGNORE})

_log = logging.getLogger(__name__)


class PushVerifier(Protocol):
    async def verify(self, authorization: str | None, *, host: str) -> str:
        """Who pushes. Raises Unauthenticated, PermissionDenied, or Unavailable when it can't be told now."""
        ...


class _Refused(Exception):  # noqa: N818 - it is no error of ours
    """What came can't be handled by this build."""

    def __init__(self, answer: Answer, reason: str, class_name: str, why: str) -> None:
        super().__init__(why)
        self.answer = answer
        self.reason = reason
        self.class_name = class_name


class PushReceiver:
    """One per process; build it with `open_push_receiver`. `rejected`: pushes that did not get to a handler."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        handlers: Sequence[Handler],
        verifier: PushVerifier,
        *,
        clock: Clock,
        spans: Spans = OFF,
        stats: WorkerStats | None = None,
    ) -> None:
        """`stats`: of a worker of the same process, to count beside it."""
        check_handlers(handlers, dispatcher.class_ids)
        self.stats = stats or WorkerStats()
        self.rejected: Counter[str] = Counter()
        self._db = dispatcher.db
        self._verifier = verifier
        self._clock = clock
        self._class_ids = dispatcher.class_ids
        self._classes = {task_class.name: task_class for task_class in dispatcher.classes}
        self._by_type = {each.payload.DESCRIPTOR.full_name: each for each in dispatcher.classes}
        by_id = {dispatcher.class_ids[handler.task_class.name]: handler for handler in handlers}
        for class_id, handler in by_id.items():
            task_class = handler.task_class
            self.stats.classes.setdefault(class_id, ClassStats(task_class.name, ", ".join(task_class.queues)))
        self._handled = frozenset(by_id)
        self._runs = PushRuns(by_id, self.stats.classes, clock, spans)
        self._letters = PushLetters(self._db)
        self._log = TaskLog(OurTime(clock), clock)
        self._draining = False
        self._requests = 0
        self._quiet = asyncio.Event()

    @property
    def running(self) -> int:
        """Tasks whose handler runs now."""
        return self._runs.running

    @property
    def draining(self) -> bool:
        return self._draining

    def routes(self) -> list[web.RouteDef]:
        return [web.post(PUSH_PATH, self.handle)]

    async def handle(self, request: web.Request) -> web.Response:
        self._requests += 1
        try:
            answer = await self._answer(request)
        except OstinatoError as error:
            _log.warning("a pushed task comes again: %s", error)
            answer = push_answers.FAILED
        finally:
            self._requests -= 1
            if not self._requests:
                self._quiet.set()
        return web.Response(status=answer.status, text=answer.text or None)

    async def drain(self, grace: float) -> None:
        """Takes no new tasks. What runs gets `grace` seconds, then it is cancelled and comes again."""
        self._draining = True
        if not await self._until_quiet(grace):
            await self._runs.interrupt()
            await self._until_quiet(grace)  # they are written down and answered

    async def tend(self) -> None:
        """Until cancelled."""
        try:
            await push_store.forget_old_excuses(self._db, _EXCUSES_KEPT)
        except OstinatoError as error:
            _log.warning("old excuses of pushed tasks were not forgotten, the next start will: %s", error)
        await self._runs.tend()

    async def _until_quiet(self, seconds: float) -> bool:
        self._quiet.clear()
        if not self._requests:
            return True
        try:
            async with asyncio.timeout(seconds):
                await self._quiet.wait()
        except TimeoutError:
            return False
        return True

    async def _answer(self, request: web.Request) -> Answer:
        if (refused := await self._not_let_in(request)) is not None:
            self.rejected["auth"] += 1
            return refused
        headers = parse_push_headers(request.headers)
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                body = await request.read()
        except TimeoutError:
            _log.warning("the body of the pushed task %s did not arrive", headers.task_name)
            return push_answers.NO_BODY
        try:
            task_class, payload = self._read(body)
        except _Refused as refusal:
            return await self._refuse(refusal, body, headers)
        return await self._take(task_class, payload, headers)

    async def _not_let_in(self, request: web.Request) -> Answer | None:
        try:
            await self._verifier.verify(request.headers.get("Authorization"), host=request.host)
        except Unauthenticated as error:
            _log.warning("a push without a valid token: %s", error)
            return push_answers.NO_TOKEN
        except PermissionDenied as error:
            _log.warning("a push of a stranger: %s", error)
            return push_answers.NOT_ALLOWED
        except Unavailable as error:
            _log.warning("a push whose token can't be verified now: %s", error)
            return push_answers.KEYS_AWAY
        return None

    def _read(self, body: bytes) -> tuple[TaskClass[Any], Message]:
        """Raises _Refused. That there is no handler is found before a payload that can't be read."""
        try:
            envelope = decode_envelope(body)
        except NoEnvelopeError as error:
            raise _Refused(push_answers.NO_ENVELOPE, "bad_request", "", str(error)) from error
        task_class = self._class_of(envelope)
        try:
            return task_class, decode_payload(envelope, task_class.payload)
        except NoPayloadError as error:
            raise _Refused(push_answers.BAD_PAYLOAD, "bad_payload", task_class.name, str(error)) from error

    def _class_of(self, envelope: Envelope) -> TaskClass[Any]:
        name = envelope.class_name
        task_class = self._classes.get(name) if name else self._by_type.get(envelope.type_name)
        if task_class is None:
            why = f"no such class: {(name or envelope.type_name)[:200]!r}"
            raise _Refused(push_answers.UNKNOWN_CLASS, "unknown_class", name, why)
        if self._class_ids[task_class.name] not in self._handled:
            raise _Refused(push_answers.NO_HANDLER, "no_handler", task_class.name, "no handler for this class")
        return task_class

    async def _refuse(self, refusal: _Refused, body: bytes, headers: PushHeaders) -> Answer:
        """A newer process may know it: it comes again until an hour after it was due, then it is a dead letter."""
        self.rejected[refusal.reason] += 1
        if headers.eta is None or not headers.queue or self._clock.now() - headers.eta < PATIENCE:
            _log.warning("the pushed task %s is refused: %s", headers.task_name, refusal)
            return refusal.answer
        await self._letters.bury_request(refusal.class_name, body, headers, str(refusal))
        self.stats.unknown.dead += 1
        _log.error("the pushed task %s goes to the dead letters: %s", headers.task_name, refusal)
        return push_answers.BURIED

    async def _take(self, task_class: TaskClass[Any], payload: Message, headers: PushHeaders) -> Answer:
        class_id = self._class_ids[task_class.name]
        limited = bool((headers.retry or task_class.retry).max_attempts)
        excused = await self._excused(headers) if limited and headers.retry_count else 0
        task = pushed_task(task_class, class_id, headers, payload, now=self._clock.now(), excused=excused)
        if self._draining or not self._runs.has_room(class_id):
            if limited:
                await self._excuse(headers)
            return push_answers.STOPPING if self._draining else push_answers.OVERLOADED
        stats = self.stats.of(class_id)
        stats.claimed += 1
        outcome = await self._runs.run(task)
        end = decide_end(outcome, task.retry, failures=task.failures)
        if end.excused and limited:
            await self._excuse(headers)
        elif end.buried:
            await self._letters.bury(task, headers, end.step.failures, end.step.error)
            self._log.dead(task, end.step.error)
        elif excused and end.step.verdict in _ENDS:
            await self._forget(headers)
        self._count(task, end, stats)
        if end.step.verdict is Verdict.RETRY:
            self._log.retried(task, outcome, None)
        return end.answer

    def _count(self, task: TaskContext, end: PushEnd, stats: ClassStats) -> None:
        match end.step.verdict:
            case verdict if verdict in _ENDS:
                stats.done += 1
                if (monotonic := self._clock.monotonic()) >= stats.tell_from:
                    self._log.done(task, stats, monotonic)
            case Verdict.DEAD:
                stats.dead += 1
            case Verdict.RELEASE:
                stats.released += 1
            case _:
                stats.retried += 1

    async def _excused(self, headers: PushHeaders) -> int:
        """Not known, all are: better once too often than a dead letter too early."""
        try:
            return await push_store.excused_runs(self._db, headers.task_name)
        except OstinatoError as error:
            _log.warning("how often %s failed is not known: %s", headers.task_name, error)
            return headers.retry_count

    async def _excuse(self, headers: PushHeaders) -> None:
        try:
            await push_store.excuse_run(self._db, headers.task_name)
        except OstinatoError as error:
            _log.warning("the run of %s will count as a failure: %s", headers.task_name, error)

    async def _forget(self, headers: PushHeaders) -> None:
        try:
            await push_store.forget_excuses(self._db, headers.task_name)
        except OstinatoError as error:
            _log.info("excuses of %s are left over: %s", headers.task_name, error)


@asynccontextmanager
async def open_push_receiver(
    dispatcher: Dispatcher,
    handlers: Sequence[Handler],
    verifier: PushVerifier,
    *,
    clock: Clock | None = None,
    spans: Spans = OFF,
    drain_grace: float = 20.0,
    stats: WorkerStats | None = None,
) -> AsyncIterator[PushReceiver]:
    """Drained at the end of the block. Raises InvalidArgument for handlers of classes that nobody registered."""
    receiver = PushReceiver(dispatcher, handlers, verifier, clock=clock or SystemClock(), spans=spans, stats=stats)
    tending = asyncio.ensure_future(receiver.tend())
    try:
        yield receiver
    finally:
        await receiver.drain(drain_grace)
        tending.cancel()
        await asyncio.gather(tending, return_exceptions=True)
