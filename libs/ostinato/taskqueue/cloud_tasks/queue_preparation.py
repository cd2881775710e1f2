"""Queues of Cloud Tasks as this project needs them: there, and without a limit of attempts.

How often a task is tried is its class's business, and the receiver's: a queue that gave up would lose tasks silently.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from google.cloud import tasks_v2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask

from ostinato.taskqueue.cloud_tasks.cloud_client import CALL_TIMEOUT, code_of, text_of
from ostinato.taskqueue.cloud_tasks.retry_config import UNLIMITED, retry_config_of
from ostinato.taskqueue.cloud_tasks.submit_verdicts import ALREADY_EXISTS, error_of
from ostinato.taskqueue.queue_settings import QueueSettings
from ostinato.taskqueue.task_class import TaskClass

_log = logging.getLogger(__name__)
_PERMISSION_DENIED = "PERMISSION_DENIED"
_HIGHEST_RATE = 500.0  # what Cloud Tasks allows
_MOST_CONCURRENT = 5000


def wanted_queue(path: str, classes: Iterable[TaskClass[Any]], settings: QueueSettings | None) -> tasks_v2.Queue:
    """Cloud Tasks knows one backoff per queue: from the shortest of its classes up to the longest."""
    queue = tasks_v2.Queue(name=path, retry_config=retry_config_of([task_class.retry for task_class in classes]))
    if settings is not None:
        queue.rate_limits = _rate_limits(settings)
    return queue


def _rate_limits(settings: QueueSettings) -> tasks_v2.RateLimits:
    """What is not limited gets the most that Cloud Tasks allows; the burst is its own choice."""
    return tasks_v2.RateLimits(
        max_dispatches_per_second=min(settings.max_rate or _HIGHEST_RATE, _HIGHEST_RATE),
        max_concurrent_dispatches=min(settings.max_concurrent or _MOST_CONCURRENT, _MOST_CONCURRENT),
    )


def limits_of_attempts(found: tasks_v2.Queue) -> list[str]:
    """Paths of the fields by which a queue would give up on tasks."""
    paths = []
    if found.retry_config.max_attempts != UNLIMITED:
        paths.append("retry_config.max_attempts")
    if tasks_v2.RetryConfig.pb(found.retry_config).max_retry_duration != Duration():
        paths.append("retry_config.max_retry_duration")
    return paths


def changes_of(found: tasks_v2.Queue, wanted: tasks_v2.Queue, *, limits_given: bool) -> list[str]:
    """Paths of fields to set. Backoffs of a queue that is there are its operator's."""
    paths = limits_of_attempts(found)
    if limits_given:
        paths += [
            f"rate_limits.{name}"
            for name in ("max_dispatches_per_second", "max_concurrent_dispatches")
            if getattr(found.rate_limits, name) != getattr(wanted.rate_limits, name)
        ]
    return paths


class QueuePreparation:
    def __init__(self, client: tasks_v2.CloudTasksAsyncClient, parent: str) -> None:
        self._client = client
        self._parent = parent

    async def prepare(
        self, classes_by_queue: Mapping[str, Sequence[TaskClass[Any]]], settings: Mapping[str, QueueSettings]
    ) -> None:
        """By full names. Raises errors of our own tree; what was done until then stays. May be repeated."""
        for path, classes in sorted(classes_by_queue.items()):
            wanted = wanted_queue(path, classes, settings.get(path))
            if not await self._create(wanted):
                await self._bring_in_line(wanted, limits_given=path in settings)

    async def verify(self, paths: Iterable[str]) -> None:
        """Of queues that others look after. Raises NotFound for one that is missing; one that gives up is told of.

        An account that may not see queues has to believe that they are as they should be.
        """
        for path in sorted(paths):
            try:
                found = await self._client.get_queue(name=path, timeout=CALL_TIMEOUT, retry=None)
            except Exception as error:
                if (code := code_of(error)) == _PERMISSION_DENIED:
                    _log.info("queues are not looked at, this account may not: %s", text_of(error))
                    return
                raise error_of(code, f"queue {path}: {text_of(error)}") from error
            if limits := limits_of_attempts(found):
                _log.error("the queue %s gives up on tasks, which are lost then: %s", path, ", ".join(limits))

    async def _create(self, wanted: tasks_v2.Queue) -> bool:
        """False: it was there."""
        parent = wanted.name.rpartition("/queues/")[0] or self._parent
        try:
            await self._client.create_queue(parent=parent, queue=wanted, timeout=CALL_TIMEOUT, retry=None)
        except Exception as error:
            if (code := code_of(error)) == ALREADY_EXISTS:
                return False
            raise error_of(code, f"queue {wanted.name}: {text_of(error)}") from error
        _log.info("created the queue %s", wanted.name)
        return True

    async def _bring_in_line(self, wanted: tasks_v2.Queue, *, limits_given: bool) -> None:
        try:
            found = await self._client.get_queue(name=wanted.name, timeout=CALL_TIMEOUT, retry=None)
            if paths := changes_of(found, wanted, limits_given=limits_given):
                await self._client.update_queue(
                    queue=wanted, update_mask=FieldMask(paths=paths), timeout=CALL_TIMEOUT, retry=None
                )
                _log.warning("changed %s of the queue %s", ", ".join(paths), wanted.name)
        except Exception as error:
            raise error_of(code_of(error), f"queue {wanted.name}: {text_of(error)}") from error
