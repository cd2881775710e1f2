"""The messages of one subscription that were delivered and not answered yet.

A message is acknowledged when what it led to is committed, and only then. While that takes long its lease is extended;
when the store is away it is given back, to come again a little later. An answer that gets lost means that a message
comes twice, which does no harm: the report has its id.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import structlog
from google.api_core.exceptions import GoogleAPIError
from google.pubsub_v1 import types
from google.pubsub_v1.services.subscriber import SubscriberAsyncClient

from ostinato.clock import Clock
from ostinato.errors import Transient
from ostinato.taskqueue import GroupedCalls
from ostinato_ingester.pubsub_intake import Origin, PubSubIntake
from ostinato_ingester.pubsub_message import PubSubMessage
from ostinato_ingester.pubsub_metrics import PubSubMetrics

LEASE = timedelta(seconds=60)
EXTEND_EVERY = timedelta(seconds=20)
# As long as the store has been away, within these: soon, and not all the time.
SOONEST = timedelta(seconds=1)
LATEST = timedelta(seconds=10)
_MOST_IDS = 1000  # of one request

_log = structlog.get_logger(__name__)


class HeldMessages:
    """`most`: no more are asked for while so many are held."""

    def __init__(
        self,
        client: SubscriberAsyncClient,
        subscription: str,
        intake: PubSubIntake,
        origin: Origin,
        *,
        most: int,
        clock: Clock,
        metrics: PubSubMetrics,
    ) -> None:
        self._client = client
        self._subscription = subscription
        self._intake = intake
        self._origin = origin
        self._most = most
        self._clock = clock
        self._metrics = metrics
        self._held: dict[asyncio.Task[None], str] = {}  # by what answers it
        self._room = asyncio.Event()
        self._room.set()
        self._away_since: float | None = None
        self._extending: asyncio.Task[None] | None = None
        self._acknowledge: GroupedCalls[str, None] = GroupedCalls(self._acknowledge_many, max_group=_MOST_IDS)
        self._give_back: GroupedCalls[str, None] = GroupedCalls(self._give_back_many, max_group=_MOST_IDS)

    def hold(self, received: types.ReceivedMessage) -> None:
        """Begins with it at once."""
        task = asyncio.create_task(self._handle(received.ack_id, _message_of(received)))
        self._held[task] = received.ack_id
        task.add_done_callback(self._let_go)
        self._metrics.held.inc()
        if len(self._held) >= self._most:
            self._room.clear()
        if self._extending is None or self._extending.done():
            self._extending = asyncio.create_task(self._extend())

    async def until_room(self) -> None:
        await self._room.wait()

    async def drain(self, grace: timedelta) -> None:
        """Returns when all are answered: what is not done after `grace` is given back at once."""
        if self._held:
            await asyncio.wait(self._held, timeout=grace.total_seconds())
        left = {**self._held}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self._modify([*left.values()], timedelta(0))
        if self._extending is not None:
            self._extending.cancel()
            await asyncio.wait([self._extending])

    async def _extend(self) -> None:
        """As long as something is held."""
        while self._held:
            await self._clock.sleep(EXTEND_EVERY.total_seconds())
            await self._modify([*self._held.values()], LEASE)

    async def _handle(self, ack_id: str, message: PubSubMessage) -> None:
        if await self._was_stored(message):
            await self._acknowledge(ack_id)
        else:
            await self._give_back(ack_id)

    def _let_go(self, task: asyncio.Task[None]) -> None:
        del self._held[task]
        self._metrics.held.dec()
        if len(self._held) < self._most:
            self._room.set()
        if not task.cancelled() and (error := task.exception()):
            _log.error("a message was not answered, it will come again", exc_info=error)

    async def _was_stored(self, message: PubSubMessage) -> bool:
        try:
            await self._intake.take(message, self._origin)
        except Transient as error:
            _log.info("message given back", message_id=message.message_id, reason=error.reason)
        except Exception:  # noqa: BLE001 - the outermost catch of a message: it is given back, and others go on
            _log.exception("message given back", message_id=message.message_id)
        else:
            self._away_since = None
            return True
        if self._away_since is None:
            self._away_since = self._clock.monotonic()
        return False

    async def _acknowledge_many(self, ack_ids: Sequence[str]) -> list[None]:
        try:
            await self._client.acknowledge(subscription=self._subscription, ack_ids=[*ack_ids])
        except GoogleAPIError as error:
            self._failed("acknowledge", error, len(ack_ids))
        return [None] * len(ack_ids)

    async def _give_back_many(self, ack_ids: Sequence[str]) -> list[None]:
        """Not at once: with the store away messages would go to and fro as fast as the network can."""
        away = 0.0 if self._away_since is None else self._clock.monotonic() - self._away_since
        await self._modify(ack_ids, max(SOONEST, min(LATEST, timedelta(seconds=int(away)))))
        return [None] * len(ack_ids)

    async def _modify(self, ack_ids: Sequence[str], lease: timedelta) -> None:
        for first in range(0, len(ack_ids), _MOST_IDS):
            ids = [*ack_ids[first : first + _MOST_IDS]]
            try:
                await self._client.modify_ack_deadline(
                    subscription=self._subscription, ack_ids=ids, ack_deadline_seconds=int(lease.total_seconds())
                )
            except GoogleAPIError as error:
                self._failed("modify_ack_deadline", error, len(ids))

    def _failed(self, call: str, error: GoogleAPIError, messages: int) -> None:
        self._metrics.failures.labels(type(error).__name__).inc()
        _log.warning("answer not taken, messages may come again", call=call, messages=messages, error=str(error))


def _message_of(received: types.ReceivedMessage) -> PubSubMessage:
    message = received.message
    return PubSubMessage(message.message_id, message.data, dict(message.attributes))
