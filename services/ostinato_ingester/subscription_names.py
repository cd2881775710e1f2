"""What topics and subscriptions are called: `PREFIX.KIND.PUBLISHER`, the publisher's @ written as ~. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from ostinato.config.pubsub import PubSubSettings
from ostinato.errors import InvalidArgument

MAX_ID_CHARACTERS = 255


@dataclass(frozen=True, slots=True)
class SubscriptionNames:
    """Of one publisher: where it publishes, and from where that is pulled or pushed. `endpoint` is empty for pull."""

    topic: str
    subscription: str
    endpoint: str


def names_of(settings: PubSubSettings, kind: str, account: str) -> SubscriptionNames:
    """`account` is an e-mail. Raises InvalidArgument where Pub/Sub would refuse the name."""
    name = f"{settings.prefix}.{kind}.{account.replace('@', '~')}"
    if len(name) > MAX_ID_CHARACTERS:
        raise InvalidArgument.of("publisher", f"makes a name of more than {MAX_ID_CHARACTERS} characters")
    query = urlencode({"kind": kind, "publisher": account})
    return SubscriptionNames(
        topic=f"projects/{settings.project}/topics/{name}",
        subscription=f"projects/{settings.project}/subscriptions/{name}",
        endpoint=f"{settings.push_url}?{query}" if settings.push_url else "",
    )
