"""Whatever subscribers do and however time passes, a backlog loses nothing, keeps its order and counts what is held."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ostinato.localcloud.pubsub.backlog import Backlog, Delivery, Demand
from ostinato.localcloud.pubsub.delivery_rules import DeliveryRules, RetryBackoff
from ostinato.localcloud.pubsub.flow_control import FlowLimits
from ostinato.localcloud.pubsub.published_message import MessageDraft, PublishedMessage

HOLDERS = ("a", "b")
MOST_HELD = 3


class BacklogWalk(RuleBasedStateMachine):
    @initialize(ordered=st.booleans(), backoff=st.sampled_from([None, 3, 30]), most_attempts=st.sampled_from([None, 3]))
    def begin(self, ordered: bool, backoff: int | None, most_attempts: int | None) -> None:
        waits = RetryBackoff(timedelta(seconds=backoff), timedelta(seconds=2 * backoff)) if backoff else None
        self.rules_ = DeliveryRules(
            timedelta(seconds=10), timedelta(days=7), ordered=ordered, backoff=waits, most_attempts=most_attempts
        )
        self.now = datetime(2026, 5, 1, tzinfo=UTC)
        self.backlog = Backlog("tag", self.rules_, self._forward)
        self.published: dict[int, str] = {}
        self.acked: set[int] = set()
        self.dead: set[int] = set()
        self.held: dict[str, tuple[Delivery, str, datetime]] = {}

    def _forward(self, message: PublishedMessage, attempts: int) -> bool:
        assert attempts == self.rules_.most_attempts
        self.dead.add(int(message.message_id))
        return True

    @rule(key=st.sampled_from(["", "k", "l"]))
    def publish(self, key: str) -> None:
        number = len(self.published) + 1
        self.published[number] = key
        draft = MessageDraft(b"x", {}, key)
        self.backlog.add(PublishedMessage(str(number), self.now, draft, draft.size))

    @rule(holder=st.sampled_from(HOLDERS), messages=st.integers(1, 4))
    def take(self, holder: str, messages: int) -> None:
        demand = Demand(holder, timedelta(seconds=10), messages, FlowLimits(messages=MOST_HELD))
        for delivery in self.backlog.take(demand, self.now):
            number = int(delivery.message.message_id)
            assert number not in self.dead
            if not self._key_of(number):
                assert number not in self.acked
            self.held[delivery.ack_id] = (delivery, holder, self.now + timedelta(seconds=10))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        delivery, _, until = self._pick(data)
        if self.backlog.acknowledge(delivery.ack_id, self.now):
            assert self.now < until
            self.acked.add(int(delivery.message.message_id))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        delivery, *_ = self._pick(data)
        self.backlog.extend(delivery.ack_id, timedelta(), self.now)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), seconds=st.integers(1, 30))
    def extend(self, data: st.DataObject, seconds: int) -> None:
        delivery, holder, until = self._pick(data)
        if self.backlog.extend(delivery.ack_id, timedelta(seconds=seconds), self.now):
            assert self.now < until
            self.held[delivery.ack_id] = (delivery, holder, self.now + timedelta(seconds=seconds))

    @rule(seconds=st.floats(0.1, 40))
    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    @invariant()
    def what_is_neither_acknowledged_nor_dead_is_there(self) -> None:
        if hasattr(self, "published"):
            assert len(self.backlog) >= len(self.published.keys() - self.acked - self.dead)

    def teardown(self) -> None:
        """Somebody who takes and acknowledges everything gets all that is left, each key in order."""
        if not hasattr(self, "published"):
            return
        for ack_id in list(self.held):
            self.backlog.extend(ack_id, timedelta(), self.now)
        seen: list[int] = []
        for _ in range(3):
            self.now += timedelta(seconds=700)
            for delivery in self.backlog.take(Demand("last", timedelta(seconds=600), 10_000), self.now):
                seen.append(int(delivery.message.message_id))
                assert self.backlog.acknowledge(delivery.ack_id, self.now)
        assert set(self.published) - self.acked - self.dead <= set(seen)
        assert len(seen) == len(set(seen))
        assert len(self.backlog) == 0
        for key in ("k", "l") if self.rules_.ordered else ():
            of_key = [number for number in seen if self.published[number] == key]
            assert of_key == sorted(of_key)

    def _key_of(self, number: int) -> str:
        return self.published[number] if self.rules_.ordered else ""

    def _pick(self, data: st.DataObject) -> tuple[Delivery, str, datetime]:
        return self.held[data.draw(st.sampled_from(sorted(self.held)))]


TestBacklogWalk = BacklogWalk.TestCase
