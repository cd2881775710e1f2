"""What Pub/Sub does: delivers reports by push, and the settings of an ingester that takes them."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ostinato.config import IngesterSettings
from ostinato.config.oidc import OidcSettings
from ostinato.config.pubsub import PubSubSettings
from ostinato.pb.internal.v1.engine_tasks_pb2 import HandleNotificationTask
from ostinato.storage.database import Database
from ostinato.taskqueue import DeadLetter, list_dead_letters
from ostinato_ingester.main import Ingester
from tests.integration.ingester.running_work import HttpAnswer, ask_http, ingester_settings, issue_token

PUSHER = "pusher@shop.example"
WORKER = "worker@shop.example"


def push_settings(database_url: str, oidc: OidcSettings) -> IngesterSettings:
    return replace(ingester_settings(database_url), pubsub=PubSubSettings(push_callers=(PUSHER,)), oidc=oidc)


def report(**fields: object) -> bytes:
    return json.dumps({"status": "SUCCEEDED"} | fields).encode()


def push_body(
    content: bytes, *, message_id: str = "17", attributes: Mapping[str, str] | None = None, **fields: object
) -> dict[str, object]:
    """With a good notification token unless attributes are given."""
    attributes = {"notification_token": issue_token()} if attributes is None else attributes
    message = {"data": base64.b64encode(content).decode(), "messageId": message_id, "attributes": attributes}
    return {"message": message | fields, "subscription": "projects/shop-1/subscriptions/s"}


async def push(ingester: Ingester, body: object, *, authorization: str | None, query: str | None = None) -> HttpAnswer:
    query = f"kind=http&publisher={WORKER}" if query is None else query
    headers = {"Content-Type": "application/json"} | ({"Authorization": authorization} if authorization else {})
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    options: dict[str, Any] = {"data": io.BytesIO(data), "headers": headers}
    return await ask_http(ingester, f"/pubsub/push?{query}", method="POST", **options)


async def refused_reports(database: Database) -> list[HandleNotificationTask.Refused]:
    """Newest first."""
    return [refused_of(letter) for letter in await list_dead_letters(database)]


def refused_of(letter: DeadLetter) -> HandleNotificationTask.Refused:
    assert (letter.queue, letter.class_name) == ("notifications", "handle-notification")
    refused = HandleNotificationTask.FromString(letter.payload).refused
    assert letter.error == refused.reason
    return refused
