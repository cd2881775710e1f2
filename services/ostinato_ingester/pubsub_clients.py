"""The official clients of Pub/Sub, for Google's or for a local server in plain text."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import google.auth
import grpc
from google.pubsub_v1.services.publisher import PublisherAsyncClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcAsyncIOTransport
from google.pubsub_v1.services.subscriber import SubscriberAsyncClient
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcAsyncIOTransport

_SCOPES = ("https://www.googleapis.com/auth/pubsub",)
# As the clients have it: a response is as large as the messages in it.
_ANY_SIZE = (("grpc.max_receive_message_length", -1),)


@dataclass(frozen=True, slots=True)
class PubSubClients:
    publisher: PublisherAsyncClient
    subscriber: SubscriberAsyncClient


@asynccontextmanager
async def open_pubsub_clients(server_address: str) -> AsyncIterator[PubSubClients]:
    """Raises google.auth.exceptions.DefaultCredentialsError where this process is nobody to Google."""
    clients = _local_clients(server_address) if server_address else await _google_clients()
    async with clients.publisher, clients.subscriber:
        yield clients


def _local_clients(address: str) -> PubSubClients:
    publishing, subscribing = [grpc.aio.insecure_channel(address, options=_ANY_SIZE) for _ in range(2)]
    return PubSubClients(
        PublisherAsyncClient(transport=PublisherGrpcAsyncIOTransport(channel=publishing)),
        SubscriberAsyncClient(transport=SubscriberGrpcAsyncIOTransport(channel=subscribing)),
    )


async def _google_clients() -> PubSubClients:
    # Reads files, and may ask the metadata server.
    credentials, _ = await asyncio.to_thread(google.auth.default, scopes=_SCOPES)
    return PubSubClients(PublisherAsyncClient(credentials=credentials), SubscriberAsyncClient(credentials=credentials))
