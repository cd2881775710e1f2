"""Messages that are delivered one after another: those of one ordering key, or a single message without one. Pure.

A message leaves its lane when it and all before it are settled. If one is delivered again, so are all behind it, the
acknowledged ones too.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from ostinato.localcloud.pubsub.published_message import PublishedMessage


@dataclass(frozen=True, slots=True)
class Lease:
    """One delivery: `ack_id` settles it until `until`."""

    ack_id: str
    until: datetime
    holder: str


@dataclass(slots=True, eq=False)
class Held:
    """A message in the backlog of one subscription, numbered in the order of publishing."""

    number: int
    message: PublishedMessage
    lane: Lane
    deliveries: int = 0
    failures: int = 0
    lease: Lease | None = None
    acked: bool = False
    gone: bool = False  # a dead letter, or too old: not to be delivered whatever happens before it

    @property
    def is_settled(self) -> bool:
        return self.acked or self.gone


@dataclass(slots=True, eq=False)
class Lane:
    """`key` is empty for a single message. `due` is set while the lane waits after a failed delivery."""

    key: str = ""
    due: datetime | None = None
    holder: str = ""
    _messages: list[Held] = field(default_factory=list)
    _cursor: int = 0
    _leases: int = 0

    def append(self, held: Held) -> None:
        self._messages.append(held)

    @property
    def is_empty(self) -> bool:
        return not self._messages

    def is_free_for(self, holder: str) -> bool:
        """Messages of one key go to one subscriber as long as it holds any of them."""
        return self.holder in ("", holder)

    def upcoming(self) -> Held | None:
        """The next to be delivered."""
        while self._cursor < len(self._messages) and self._messages[self._cursor].is_settled:
            self._cursor += 1
        return self._messages[self._cursor] if self._cursor < len(self._messages) else None

    def deliver(self, held: Held, lease: Lease) -> None:
        """`held` is the upcoming one."""
        held.lease = lease
        held.deliveries += 1
        self.holder = lease.holder
        self._leases += 1
        self._cursor += 1

    def release(self, held: Held) -> None:
        held.lease = None
        self._leases -= 1
        if not self._leases:
            self.holder = ""

    def rewind(self, held: Held) -> list[Held]:
        """Delivery goes on with `held`. Answers what was delivered from there on and is not settled any more."""
        index = bisect_left(self._messages, held.number, key=lambda each: each.number)
        again = [each for each in self._messages[index : self._cursor] if not each.gone]
        for each in again:
            each.acked = False
        self._cursor = min(self._cursor, index)
        return again

    def trim(self) -> Iterator[Held]:
        """What has left the lane."""
        settled = next((i for i, held in enumerate(self._messages) if not held.is_settled), len(self._messages))
        left, self._messages[:settled] = self._messages[:settled], []
        self._cursor = max(0, self._cursor - settled)
        yield from left
