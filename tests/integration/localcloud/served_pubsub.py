"""A Pub/Sub with the official clients: ours, with a clock of its own, or Google's emulator where its jar is found."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import grpc
from google.pubsub_v1 import PublisherAsyncClient, SubscriberAsyncClient, types
from google.pubsub_v1.services.publisher.transports import PublisherGrpcAsyncIOTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcAsyncIOTransport

from ostinato.clock import Clock
from ostinato.localcloud.faults import FaultPlan
from ostinato.localcloud.pubsub.open_pubsub import open_pubsub
from ostinato.localcloud.tokens import TokenIssuer
from ostinato.rpc.server import open_grpc_server

PROJECT = "projects/proj"


@dataclass
class PubSub:
    """One place with one topic, of which each test has its own."""

    address: str
    publisher: PublisherAsyncClient
    subscriber: SubscriberAsyncClient
    mark: str

    @property
    def topic(self) -> str:
        return self.topic_name("topic")

    @property
    def subscription(self) -> str:
        return self.subscription_name("sub")

    def topic_name(self, name: str) -> str:
        return f"{PROJECT}/topics/{name}-{self.mark}"

    def subscription_name(self, name: str) -> str:
        return f"{PROJECT}/subscriptions/{name}-{self.mark}"

    async def subscribe(self, name: str = "sub", **config: object) -> types.Subscription:
        config.setdefault("topic", self.topic)
        request = types.Subscription(name=self.subscription_name(name), **config)
        return await self.subscriber.create_subscription(request=request, retry=None)

    async def publish(self, *data: bytes, key: str = "", topic: str = "", **attributes: str) -> list[str]:
        messages = [types.PubsubMessage(data=each, ordering_key=key, attributes=attributes) for each in data]
        answer = await self.publisher.publish(topic=topic or self.topic, messages=messages, retry=None)
        return list(answer.message_ids)

    async def pull(self, name: str = "sub", most: int = 100, *, at_once: bool = False) -> list[types.ReceivedMessage]:
        request = types.PullRequest(
            subscription=self.subscription_name(name), max_messages=most, return_immediately=at_once
        )
        return list((await self.subscriber.pull(request=request, retry=None)).received_messages)

    async def pull_all(self, count: int, name: str = "sub") -> list[types.ReceivedMessage]:
        """A pull may bring less than there is."""
        found: list[types.ReceivedMessage] = []
        while len(found) < count:
            found += await self.pull(name, count - len(found))
        return found

    async def acknowledge(self, *received: types.ReceivedMessage, name: str = "sub") -> None:
        ack_ids = [each.ack_id for each in received]
        await self.subscriber.acknowledge(subscription=self.subscription_name(name), ack_ids=ack_ids, retry=None)

    async def extend(self, *received: types.ReceivedMessage, seconds: int, name: str = "sub") -> None:
        await self.subscriber.modify_ack_deadline(
            subscription=self.subscription_name(name),
            ack_ids=[each.ack_id for each in received],
            ack_deadline_seconds=seconds,
            retry=None,
        )

    async def nack(self, *received: types.ReceivedMessage, name: str = "sub") -> None:
        await self.extend(*received, seconds=0, name=name)


@dataclass
class Stream:
    """A streaming pull with what a test writes to it; it ends when `requests` brings None."""

    requests: asyncio.Queue[types.StreamingPullRequest | None]
    responses: AsyncIterator[types.StreamingPullResponse]

    async def receive(self) -> list[types.ReceivedMessage]:
        async for response in self.responses:
            if response.received_messages:  # the emulator also sends empty ones
                return list(response.received_messages)
        return []

    def write(self, **request: object) -> None:
        self.requests.put_nowait(types.StreamingPullRequest(**request))

    def close(self) -> None:
        self.requests.put_nowait(None)


async def open_stream(pubsub: PubSub, **first: object) -> Stream:
    requests: asyncio.Queue[types.StreamingPullRequest | None] = asyncio.Queue()

    async def sent() -> AsyncIterator[types.StreamingPullRequest]:
        while (request := await requests.get()) is not None:
            yield request

    request = {"subscription": pubsub.subscription, "stream_ack_deadline_seconds": 10, **first}
    requests.put_nowait(types.StreamingPullRequest(**request))
    return Stream(requests, await pubsub.subscriber.streaming_pull(requests=sent()))


@asynccontextmanager
async def open_clients(address: str) -> AsyncIterator[PubSub]:
    async with grpc.aio.insecure_channel(address) as channel:
        publisher = PublisherAsyncClient(transport=PublisherGrpcAsyncIOTransport(channel=channel))
        subscriber = SubscriberAsyncClient(transport=SubscriberGrpcAsyncIOTransport(channel=channel))
        pubsub = PubSub(address, publisher, subscriber, uuid4().hex[:8])
        await publisher.create_topic(name=pubsub.topic)
        yield pubsub


@asynccontextmanager
async def open_ours(tokens: TokenIssuer, clock: Clock, faults: FaultPlan) -> AsyncIterator[PubSub]:
    async with AsyncExitStack() as stack:
        services = await stack.enter_async_context(open_pubsub(clock=clock, faults=faults, tokens=tokens))
        server = await stack.enter_async_context(
            open_grpc_server("127.0.0.1:0", services, interceptors=[], grace=timedelta(0))
        )
        yield await stack.enter_async_context(open_clients(server.address))


def why_no_emulator() -> str:
    if not shutil.which("java"):
        return "there is no java to run the Pub/Sub emulator with"
    return "" if find_emulator() else "the Pub/Sub emulator of Google is not installed"


def find_emulator() -> Path | None:
    """Its jar, in the Google Cloud SDK that `gcloud` belongs to, or where that is usually installed."""
    gcloud = shutil.which("gcloud")
    sdks = [Path("/usr/lib/google-cloud-sdk"), Path.home() / "google-cloud-sdk"]
    if gcloud is not None:
        sdks.insert(0, Path(gcloud).resolve().parents[1])
    jars = (jar for sdk in sdks for jar in sorted(sdk.glob("platform/pubsub-emulator/lib/*.jar")))
    return next(jars, None)


@contextmanager
def open_emulator() -> Iterator[str]:
    """Takes seconds to start."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = ["java", "-jar", str(find_emulator()), "--host=127.0.0.1", f"--port={address.split(':')[1]}"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env={"PATH": os.environ["PATH"]}, **quiet) as process:
        try:
            with grpc.insecure_channel(address) as channel:
                grpc.channel_ready_future(channel).result(timeout=40)
            yield address
        finally:
            process.kill()


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Looks again and again, for what only outside processes say when it is there."""
    async with asyncio.timeout(10):
        while not await holds():
            await asyncio.sleep(0.01)
