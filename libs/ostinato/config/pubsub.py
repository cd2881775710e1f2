"""Whose reports come by Pub/Sub, and how: pulled by the ingester, or pushed to it. Nothing of it unless it is set."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from ostinato.config.environment import EnvironmentReader, is_loopback, is_loopback_host

PROJECT = "OSTINATO_INGESTER_PUBSUB_PROJECT"
PUBLISHERS = "OSTINATO_INGESTER_PUBSUB_PUBLISHERS"
PREFIX = "OSTINATO_INGESTER_PUBSUB_PREFIX"
PUSH_URL = "OSTINATO_INGESTER_PUBSUB_PUSH_URL"
PUSH_CALLERS = "OSTINATO_INGESTER_PUBSUB_PUSH_CALLERS"
PREPARE = "OSTINATO_INGESTER_PUBSUB_PREPARE"
MESSAGES_AT_ONCE = "OSTINATO_INGESTER_PUBSUB_MAX_MESSAGES"
ADDRESS = "OSTINATO_INGESTER_PUBSUB_ADDRESS"

# Kinds of targets whose runs go on after their call.
REPORTING_KINDS = ("http",)
DEFAULT_PREFIX = "ostinato"
PUSH_PATH = "/pubsub/push"

_PROJECT = re.compile(r"[a-z][a-z0-9.:\-]{0,100}")
_PREFIX = re.compile(r"(?!goog)[A-Za-z][A-Za-z0-9_-]{0,39}")
# What may stand in an e-mail here may stand in the name of a topic, but for the @.
_EMAIL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._%+\-]{0,99}@[A-Za-z0-9][A-Za-z0-9.\-]{0,99}")
_PUBLISHER_RULE = (
    "must be KIND=PUBLISHER separated by commas, a publisher an e-mail or https://HOST, as in "
    "http=worker@shop.example; the kinds are " + ", ".join(REPORTING_KINDS)
)


@dataclass(frozen=True, slots=True)
class Publisher:
    """Who reports on runs of a kind: the e-mail of an account, or `https://HOST` of a service that tells it."""

    kind: str
    account: str

    def __str__(self) -> str:
        return f"{self.kind}={self.account}"


@dataclass(frozen=True, slots=True)
class PubSubSettings:
    """Without `push_url` subscriptions are pulled. `push_callers`: accounts that may push; the first one signs for
    subscriptions that are prepared here. `server_address`: a local server on loopback, spoken to in plain text.
    `max_messages`: held at once, of one subscription.
    """

    project: str = ""
    publishers: tuple[Publisher, ...] = ()
    prefix: str = DEFAULT_PREFIX
    push_url: str = ""
    push_callers: tuple[str, ...] = ()
    prepare: bool = True
    max_messages: int = 100
    server_address: str = ""

    @property
    def subscribes(self) -> bool:
        """Whether Pub/Sub has to be talked to at all."""
        return bool(self.project) and (self.prepare or not self.push_url)


def is_account(text: str) -> bool:
    return _EMAIL.fullmatch(text) is not None


def is_service_url(text: str) -> bool:
    """`https://HOST`; plain http on loopback only."""
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return False
    bare = text.isascii() and text.isprintable() and not (parts.path.strip("/") or parts.query or parts.fragment)
    plain = parts.scheme == "http" and is_loopback_host(host)
    return bare and bool(host) and "@" not in parts.netloc and (parts.scheme == "https" or plain)


def read_pubsub(reader: EnvironmentReader) -> PubSubSettings:
    project, prefix = reader.given(PROJECT), reader.given(PREFIX) or DEFAULT_PREFIX
    if project and not _PROJECT.fullmatch(project):
        reader.refuse(PROJECT, "must be the id of a project")
    if not _PREFIX.fullmatch(prefix):
        reader.refuse(PREFIX, "must be a letter and up to 39 letters, digits, - or _, and not begin with goog")
    publishers = _publishers(reader)
    for name, other in ((PROJECT, PUBLISHERS), (PUBLISHERS, PROJECT)):
        if reader.given(name) and not reader.texts(other):
            reader.refuse(name, f"needs {other} beside it")
    return PubSubSettings(
        project=project,
        publishers=publishers,
        prefix=prefix,
        push_url=_push_url(reader),
        push_callers=_push_callers(reader),
        prepare=reader.switch(PREPARE, default=True),
        max_messages=reader.integer(MESSAGES_AT_ONCE, 100, low=1, high=1000),
        server_address=_address(reader),
    )


def _publishers(reader: EnvironmentReader) -> tuple[Publisher, ...]:
    found = [Publisher(*_parts(text)) for text in reader.texts(PUBLISHERS)]
    if not all(map(_is_known, found)):
        reader.refuse(PUBLISHERS, _PUBLISHER_RULE)
    if len(set(found)) < len(found):
        reader.refuse(PUBLISHERS, "names a publisher twice")
    return tuple(found)


def _parts(text: str) -> tuple[str, str]:
    kind, _, account = text.partition("=")
    return kind.strip(), account.strip().rstrip("/")


def _is_known(publisher: Publisher) -> bool:
    return publisher.kind in REPORTING_KINDS and (is_account(publisher.account) or is_service_url(publisher.account))


def _push_callers(reader: EnvironmentReader) -> tuple[str, ...]:
    callers = reader.texts(PUSH_CALLERS)
    if not all(map(is_account, callers)):
        reader.refuse(PUSH_CALLERS, "must be e-mails of service accounts, separated by commas")
    return callers


def _push_url(reader: EnvironmentReader) -> str:
    """Plain http would show tokens to the network: it is for a local server only."""
    local = bool(reader.given(ADDRESS))
    url = reader.url(PUSH_URL, "", schemes=("https", "http") if local else ("https",))
    if not url:
        return ""
    parts = urlsplit(url)
    if not parts.hostname or parts.path != PUSH_PATH or parts.query or parts.fragment or "@" in parts.netloc:
        reader.refuse(PUSH_URL, f"must be the ingester as Pub/Sub reaches it: https://HOST{PUSH_PATH}")
    for needed in (PROJECT, PUSH_CALLERS):
        if not reader.given(needed):
            reader.refuse(PUSH_URL, f"needs {needed} beside it")
    return url


def _address(reader: EnvironmentReader) -> str:
    address = reader.address(ADDRESS, "") if reader.given(ADDRESS) else ""
    if address and not is_loopback(address):
        reader.refuse(ADDRESS, "must be a loopback address: it is spoken to in plain text")
    return address
