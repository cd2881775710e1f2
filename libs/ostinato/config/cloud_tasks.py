"""Where the remote queue is, and where it pushes tasks to."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import urlsplit

from ostinato.config.environment import EnvironmentReader, is_loopback
from ostinato.config.sweeping import SERVED_PATH, SERVED_PATH_RULE, SweepSettings, read_sweep

DEFAULT_ROUTING_PREFIX = "/internal/tasks/t/"
TASKS_ADDRESS = "OSTINATO_CLOUD_TASKS_ADDRESS"
TARGET_URL = "OSTINATO_CLOUD_TARGET_URL"

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9:.\-]*")
_NAMESPACE = re.compile(r"|[A-Za-z_][A-Za-z0-9_]{0,49}")
_EMAIL = re.compile(r"[^@\s,]+@[^@\s,]+")


@dataclass(frozen=True, slots=True)
class CloudTasksSettings:
    """`target_url`: scheme and host of the engines as the remote queue reaches them. `push_as`: the service account
    whose token comes with each task; tokens of `authorized_pushers` are accepted besides. `server_address`: a local
    server on loopback, spoken to in plain text; empty: Google's. `namespace` keeps dedup keys of deployments apart.
    `prepare_queues`: queues are created where missing, and given unlimited attempts; else they are looked at.
    `fresh_for`: how long a reminder is the business of whoever wrote it; `park_after`: how long a task is refused
    before it is a dead letter.
    """

    project: str
    location: str
    target_url: str
    push_as: str
    authorized_pushers: tuple[str, ...] = ()
    server_address: str = ""
    routing_prefix: str = DEFAULT_ROUTING_PREFIX
    namespace: str = ""
    prepare_queues: bool = True
    fresh_for: timedelta = timedelta(seconds=60)
    park_after: timedelta = timedelta(hours=1)
    sweep: SweepSettings = field(default_factory=SweepSettings)

    @property
    def pushers(self) -> tuple[str, ...]:
        """Whose tokens a receiver accepts."""
        return (self.push_as, *self.authorized_pushers)


def read_cloud_tasks(reader: EnvironmentReader) -> CloudTasksSettings:
    address = reader.address(TASKS_ADDRESS, "") if reader.given(TASKS_ADDRESS) else ""
    if address and not is_loopback(address):
        reader.refuse(TASKS_ADDRESS, "must be a loopback address: it is spoken to in plain text")
    return CloudTasksSettings(
        project=_text(reader, "OSTINATO_CLOUD_PROJECT", _WORD, "must be the id of a project"),
        location=_text(reader, "OSTINATO_CLOUD_LOCATION", _WORD, "must be a location such as europe-west1"),
        target_url=_target_url(reader, local=bool(address)),
        push_as=_text(reader, "OSTINATO_CLOUD_PUSH_AS", _EMAIL, "must be the e-mail of a service account"),
        authorized_pushers=_pushers(reader),
        server_address=address,
        routing_prefix=_prefix(reader),
        namespace=_text(
            reader,
            "OSTINATO_CLOUD_NAMESPACE",
            _NAMESPACE,
            "must be empty, or a letter or _ and up to 49 letters, digits or _",
        ),
        prepare_queues=reader.switch("OSTINATO_CLOUD_PREPARE_QUEUES", default=True),
        fresh_for=timedelta(seconds=reader.integer("OSTINATO_CLOUD_FRESH_FOR", 60, low=1, high=60)),
        park_after=reader.seconds("OSTINATO_CLOUD_PARK_AFTER", timedelta(hours=1), high=86_400),
        sweep=read_sweep(reader),
    )


def _text(reader: EnvironmentReader, name: str, form: re.Pattern[str], rule: str) -> str:
    text = reader.given(name)
    if not form.fullmatch(text):
        reader.refuse(name, rule)
    return text


def _target_url(reader: EnvironmentReader, *, local: bool) -> str:
    """Plain http would show tokens to the network: it is for a local server only."""
    schemes = ("https", "http") if local else ("https",)
    url = reader.url(TARGET_URL, "", schemes=schemes)
    parts = urlsplit(url)
    if not reader.given(TARGET_URL):
        reader.refuse(TARGET_URL, "must be set: the engines as the queue reaches them, https://HOST")
    elif url and (not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment or parts.username):
        reader.refuse(TARGET_URL, "must be scheme and host only, as in https://engine.shop.example")
    return url.rstrip("/")


def _pushers(reader: EnvironmentReader) -> tuple[str, ...]:
    pushers = reader.texts("OSTINATO_CLOUD_AUTHORIZED_PUSHERS")
    if not all(_EMAIL.fullmatch(pusher) for pusher in pushers):
        reader.refuse("OSTINATO_CLOUD_AUTHORIZED_PUSHERS", "must be e-mails of service accounts, separated by commas")
    return pushers


def _prefix(reader: EnvironmentReader) -> str:
    prefix = reader.given("OSTINATO_CLOUD_ROUTING_PREFIX") or DEFAULT_ROUTING_PREFIX
    if not SERVED_PATH.fullmatch(prefix):
        reader.refuse("OSTINATO_CLOUD_ROUTING_PREFIX", SERVED_PATH_RULE)
    return prefix
