"""Pulls the reports of one publisher: prepares its subscription, opens a stream, opens it again whenever it breaks.

On the generated asyncio client and not on `SubscriberClient`: a report is stored by this process's event loop, grouped
with those of others, and acknowledged after that commit. Behind `SubscriberClient` stand threads of its own, so each
message would cross over twice; its leases would end by a clock of its own, and its shutdown does not tell what became
of the messages that it held.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

import grpc
import structlog
from google.api_core import exceptions as google_errors
from google.pubsub_v1 import types

from ostinato.clock import Clock
from ostinato.config.pubsub import PREPARE, Publisher, PubSubSettings
from ostinato.errors import OstinatoError, Transient
from ostinato.scheduling.backoff import doubling_backoff
from ostinato_ingester.held_messages import LEASE, HeldMessages
from ostinato_ingester.prepare_subscription import prepare_subscription
from ostinato_ingester.publisher_accounts import PublisherAccounts
from ostinato_ingester.pubsub_clients import PubSubClients
from ostinato_ingester.pubsub_intake import Origin, PubSubIntake
from ostinato_ingester.pubsub_metrics import PubSubMetrics
from ostinato_ingester.subscription_names import SubscriptionNames, names_of

TRANSPORT = "pubsub_pull"
MAX_HELD_BYTES = 64 * 1024 * 1024
# Something on the way may close a stream on which nothing is said.
_KEEP_ALIVE = timedelta(seconds=30)
_SHORTEST_PAUSE = timedelta(milliseconds=100)
_LONGEST_PAUSE = timedelta(seconds=30)
# A stream that lasted so long was a good one: servers end them now and then.
_GOOD_STREAM = timedelta(seconds=30)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Subscribing:
    """What all loops of a process share."""

    settings: PubSubSettings
    clients: PubSubClients
    accounts: PublisherAccounts
    intake: PubSubIntake
    clock: Clock
    metrics: PubSubMetrics


class SubscriberLoop:
    """Of one publisher. `drain` after `run` has ended."""

    def __init__(self, publisher: Publisher, shared: Subscribing) -> None:
        self._publisher = publisher
        self._shared = shared
        self._names: SubscriptionNames | None = None
        self._held: HeldMessages | None = None
        self._client_id = str(uuid4())
        self._failures = 0

    async def run(self) -> None:
        """For ever; only until the subscription is prepared where that pushes."""
        clock = self._shared.clock
        while True:
            began = clock.monotonic()
            try:
                names = await self._prepared()
                if names.endpoint:
                    return
                await self._pull(names.subscription, self._holding(names))
            except (google_errors.GoogleAPIError, OstinatoError) as error:
                self._note(error)
            if clock.monotonic() - began >= _GOOD_STREAM.total_seconds():
                self._failures = 0
            self._failures += 1
            pause = doubling_backoff(self._failures, minimum=_SHORTEST_PAUSE, maximum=_LONGEST_PAUSE)
            await clock.sleep(pause.total_seconds())

    async def drain(self, grace: timedelta) -> None:
        """Returns when every message that came is answered: what takes longer than `grace` is given back."""
        if self._held is not None:
            await self._held.drain(grace)

    async def _prepared(self) -> SubscriptionNames:
        """Asks and prepares once; again when it turns out that the subscription is gone."""
        if self._names is not None:
            return self._names
        shared = self._shared
        account = await shared.accounts.get(self._publisher.account)
        names = names_of(shared.settings, self._publisher.kind, account)
        if shared.settings.prepare:
            await prepare_subscription(shared.clients, shared.settings, names, account)
        self._names = names
        _log.info("subscription ready", subscription=names.subscription, pushes_to=names.endpoint)
        return names

    def _holding(self, names: SubscriptionNames) -> HeldMessages:
        """The same from stream to stream: what one brought may still be at work when the next is open."""
        if self._held is None:
            shared = self._shared
            self._held = HeldMessages(
                shared.clients.subscriber,
                names.subscription,
                shared.intake,
                Origin(TRANSPORT, self._publisher.kind, self._publisher.account),
                most=shared.settings.max_messages,
                clock=shared.clock,
                metrics=shared.metrics,
            )
        return self._held

    async def _pull(self, subscription: str, held: HeldMessages) -> None:
        """One stream, until it ends or breaks."""
        stream = await self._shared.clients.subscriber.streaming_pull(
            requests=self._requests(subscription),
            retry=None,
            timeout=None,
            metadata=(("x-goog-request-params", f"subscription={subscription}"),),
        )
        try:
            with self._shared.metrics.streams.track_inprogress():
                async for response in stream:
                    self._failures = 0
                    for received in response.received_messages:
                        held.hold(received)
                    await held.until_room()
        finally:
            if isinstance(stream, grpc.aio.Call):
                stream.cancel()

    async def _requests(self, subscription: str) -> AsyncIterator[types.StreamingPullRequest]:
        yield types.StreamingPullRequest(
            subscription=subscription,
            stream_ack_deadline_seconds=int(LEASE.total_seconds()),
            client_id=self._client_id,
            max_outstanding_messages=self._shared.settings.max_messages,
            max_outstanding_bytes=MAX_HELD_BYTES,
        )
        while True:
            await self._shared.clock.sleep(_KEEP_ALIVE.total_seconds())
            yield types.StreamingPullRequest()

    def _note(self, error: google_errors.GoogleAPIError | OstinatoError) -> None:
        self._shared.metrics.failures.labels(type(error).__name__).inc()
        passing = isinstance(error, (Transient, google_errors.ServerError, google_errors.Aborted))
        log = _log.info if passing else _log.error
        log("not pulled for now", publisher=str(self._publisher), error=self._advice(error))
        if isinstance(error, google_errors.NotFound):
            self._names = None

    def _advice(self, error: google_errors.GoogleAPIError | OstinatoError) -> str:
        subscription = self._names.subscription if self._names is not None else "the subscription"
        match error:
            case google_errors.PermissionDenied() | google_errors.Unauthenticated():
                return f"this process may not pull {subscription}: it needs roles/pubsub.subscriber ({error.message})"
            case google_errors.NotFound() if self._shared.settings.prepare:
                return f"{subscription} is gone and will be made again ({error.message})"
            case google_errors.NotFound():
                return f"{subscription} is not there: make it, or set {PREPARE} to true ({error.message})"
            case _:
                return f"{type(error).__name__}: {error}"
