"""The messages of one subscription and who holds them. Told the time, decides everything about delivery. Pure.

At least once: a message stays until it is acknowledged, too old, or a dead letter. Each method first ends the leases
and waits that are over, so the answer depends on the time alone and not on who looked when.
"""

from __future__ import annotations

import heapq
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from ostinato.errors import InvalidArgument
from ostinato.localcloud.pubsub.delivery_rules import DeliveryRules
from ostinato.localcloud.pubsub.flow_control import NO_LIMITS, FlowLimits, Outstanding
from ostinato.localcloud.pubsub.lane import Held, Lane, Lease
from ostinato.localcloud.pubsub.published_message import PUBLISH_BYTES, PublishedMessage

_ACK_ID = re.compile(r"(?P<tag>.+):(?P<number>[0-9]{1,18}):[0-9]{1,18}")

# Forwards a message after so many attempts; false if nobody takes it.
ForwardDeadLetter = Callable[[PublishedMessage, int], bool]


@dataclass(frozen=True, slots=True)
class Delivery:
    """`attempt` counts from 1."""

    ack_id: str
    message: PublishedMessage
    attempt: int


@dataclass(frozen=True, slots=True)
class Demand:
    """What one subscriber would take now. Of messages that are too large together it gets at least one."""

    holder: str
    lease: timedelta
    messages: int
    limits: FlowLimits = NO_LIMITS
    size: int = PUBLISH_BYTES


class Backlog:
    """`tag` stands in each ack id, so that those of another subscription are recognised. `rules` may be replaced."""

    def __init__(self, tag: str, rules: DeliveryRules, forward: ForwardDeadLetter) -> None:
        self.rules = rules
        self._tag = tag
        self._forward = forward
        self._last_number = 0
        self._held: OrderedDict[int, Held] = OrderedDict()
        self._lanes: dict[str, Lane] = {}
        self._ready: OrderedDict[Lane, None] = OrderedDict()
        self._waiting: list[tuple[datetime, int, Lane]] = []
        self._leases: list[tuple[datetime, int, str]] = []
        self._outstanding: dict[str, Outstanding] = {}
        self._acked: list[tuple[datetime, int, PublishedMessage]] = []  # a heap: the oldest first

    def __len__(self) -> int:
        return len(self._held)

    def add(self, message: PublishedMessage) -> None:
        self._last_number += 1
        lane = self._lane_of(message)
        held = Held(self._last_number, message, lane)
        self._held[held.number] = held
        lane.append(held)
        if lane.due is None:
            self._ready[lane] = None

    def take(self, demand: Demand, now: datetime) -> list[Delivery]:
        """What is available for this subscriber; a lease on each begins."""
        self.expire(now)
        taken: list[Delivery] = []
        size = 0
        while held := self._next_for(demand):
            if len(taken) == demand.messages or (taken and size + held.message.size > demand.size):
                break
            taken.append(self._deliver(held, demand, now))
            size += held.message.size
        return taken

    def acknowledge(self, ack_id: str, now: datetime) -> bool:
        """False if it came too late and changes nothing."""
        self.expire(now)
        held = self._find(ack_id)
        if held is None or not _is_current(held, ack_id):
            return False
        held.acked = True
        self._leave(held)
        return True

    def extend(self, ack_id: str, lease: timedelta, now: datetime) -> bool:
        """The lease ends so much later than now; with zero the delivery has failed. False if it was over already."""
        self.expire(now)
        held = self._find(ack_id)
        if held is None or held.lease is None or not _is_current(held, ack_id):
            return False
        if lease:
            self._note(held, Lease(ack_id, now + lease, held.lease.holder))
        else:
            self._fail(held, now)
        return True

    def repeat(self, ack_id: str) -> None:
        """The message is delivered once more, although nothing failed: what a subscriber must be prepared for."""
        held = self._find(ack_id)
        if held is not None and _is_current(held, ack_id):
            self._rewind(held)
            self._make_ready(held.lane)

    def expire(self, now: datetime) -> None:
        """Leases, waits and messages whose time is over end."""
        while self._leases and self._leases[0][0] <= now:
            _, number, ack_id = heapq.heappop(self._leases)
            held = self._held.get(number)
            if held and held.lease and held.lease.ack_id == ack_id and held.lease.until <= now:
                self._fail(held, now)
        while self._waiting and self._waiting[0][0] <= now:
            due, _, lane = heapq.heappop(self._waiting)
            if lane.due == due:
                lane.due = None
                self._make_ready(lane)
        self._forget(now - self.rules.retention)

    def next_event(self) -> datetime | None:
        """When something may end by itself. May be early, is never late."""
        oldest = next(iter(self._held.values()), None)
        times = [heap[0][0] for heap in (self._leases, self._waiting) if heap]
        if oldest:
            times.append(oldest.message.publish_time + self.rules.retention)
        return min(times, default=None)

    def seek(self, time: datetime) -> None:
        """What was published before is acknowledged, what is kept from then on is not, and is delivered again."""
        everything = sorted([*self._acked, *(_aged(held.message) for held in self._held.values())])
        self._held.clear()
        self._lanes.clear()
        self._ready.clear()
        self._waiting.clear()
        self._leases.clear()
        self._outstanding.clear()
        self._acked = [aged for aged in everything if aged[0] < time and self.rules.retain_acked]
        for published, _, message in everything:
            if published >= time:
                self.add(message)

    def _lane_of(self, message: PublishedMessage) -> Lane:
        key = message.draft.ordering_key if self.rules.ordered else ""
        return self._lanes.setdefault(key, Lane(key)) if key else Lane()

    def _next_for(self, demand: Demand) -> Held | None:
        if not demand.limits.admit(self._outstanding.get(demand.holder, Outstanding())):
            return None
        while lane := next((lane for lane in self._ready if lane.is_free_for(demand.holder)), None):
            if held := lane.upcoming():
                return held
            del self._ready[lane]
        return None

    def _deliver(self, held: Held, demand: Demand, now: datetime) -> Delivery:
        ack_id = f"{self._tag}:{held.number}:{held.deliveries + 1}"
        lease = Lease(ack_id, now + demand.lease, demand.holder)
        held.lane.deliver(held, lease)
        if held.lane.upcoming() is None:
            del self._ready[held.lane]
        self._note(held, lease)
        before = self._outstanding.get(demand.holder, Outstanding())
        self._outstanding[demand.holder] = before.with_one_more(held.message.size)
        return Delivery(ack_id, held.message, held.failures + 1)

    def _note(self, held: Held, lease: Lease) -> None:
        held.lease = lease
        heapq.heappush(self._leases, (lease.until, held.number, lease.ack_id))

    def _find(self, ack_id: str) -> Held | None:
        parts = _ACK_ID.fullmatch(ack_id)
        if parts is None or parts["tag"] != self._tag:
            raise InvalidArgument.of("ack_ids", f"You have passed an invalid ack ID to the service (ack_id={ack_id})")
        return self._held.get(int(parts["number"]))

    def _fail(self, held: Held, now: datetime) -> None:
        """The delivery did not succeed: again, after a while, or never more."""
        held.failures += 1
        self._rewind(held)
        if self.rules.is_exhausted(held.failures) and self._forward(held.message, held.failures):
            held.gone = True
            self._leave(held)
        elif wait := self.rules.wait_after(held.failures):
            self._ready.pop(held.lane, None)
            held.lane.due = now + wait
            heapq.heappush(self._waiting, (held.lane.due, held.number, held.lane))
            return
        self._make_ready(held.lane)

    def _rewind(self, held: Held) -> None:
        for each in held.lane.rewind(held):
            self._release(each)

    def _release(self, held: Held) -> None:
        if held.lease is None:
            return
        left = self._outstanding[held.lease.holder].with_one_less(held.message.size)
        if left.messages:
            self._outstanding[held.lease.holder] = left
        else:
            del self._outstanding[held.lease.holder]
        held.lane.release(held)

    def _make_ready(self, lane: Lane) -> None:
        if lane.due is None and lane.upcoming():
            self._ready[lane] = None

    def _leave(self, held: Held) -> None:
        """`held` is settled: it goes, with what waited for it."""
        self._release(held)
        lane = held.lane
        for each in lane.trim():
            del self._held[each.number]
            if each.acked and self.rules.retain_acked:
                heapq.heappush(self._acked, _aged(each.message))
        if lane.is_empty:
            self._ready.pop(lane, None)
            self._lanes.pop(lane.key, None)

    def _forget(self, published_until: datetime) -> None:
        while self._held and (oldest := next(iter(self._held.values()))).message.publish_time <= published_until:
            oldest.gone = True
            self._leave(oldest)
            self._held.pop(oldest.number, None)
        while self._acked and self._acked[0][0] <= published_until:
            heapq.heappop(self._acked)


def _is_current(held: Held, ack_id: str) -> bool:
    return held.lease is not None and held.lease.ack_id == ack_id


def _aged(message: PublishedMessage) -> tuple[datetime, int, PublishedMessage]:
    """Sorts by age; ids of messages are numbers that grow."""
    return message.publish_time, int(message.message_id), message
