"""What a subscription decides about delivery: leases, order, flow control, retries, dead letters."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ostinato.errors import InvalidArgument
from ostinato.localcloud.pubsub.backlog import Backlog, Delivery, Demand
from ostinato.localcloud.pubsub.delivery_rules import DeliveryRules, RetryBackoff
from ostinato.localcloud.pubsub.flow_control import FlowLimits
from ostinato.localcloud.pubsub.published_message import MessageDraft, PublishedMessage

RULES = DeliveryRules(ack_deadline=timedelta(seconds=10), retention=timedelta(days=7))
ORDERED = replace(RULES, ordered=True)
START = datetime(2026, 5, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


class Scene:
    """A backlog with short words for what is done to it."""

    def __init__(self, rules: DeliveryRules = RULES, *, forwards: bool = True) -> None:
        self.dead: list[tuple[bytes, int]] = []
        self.forwards = forwards
        self.backlog = Backlog("tag", rules, self._forward)
        self.published = 0

    def publish(self, *data: bytes, key: str = "", at_second: float = 0) -> None:
        for each in data:
            self.published += 1
            draft = MessageDraft(each, {}, key)
            self.backlog.add(PublishedMessage(str(self.published), at(at_second), draft, draft.size))

    def take(self, seconds: float = 0, **demand: object) -> list[Delivery]:
        wanted = Demand(**{"holder": "me", "lease": timedelta(seconds=10), "messages": 100, **demand})
        return self.backlog.take(wanted, at(seconds))

    def ack(self, delivery: Delivery, seconds: float = 0) -> bool:
        return self.backlog.acknowledge(delivery.ack_id, at(seconds))

    def extend(self, delivery: Delivery, lease: float, seconds: float = 0) -> bool:
        return self.backlog.extend(delivery.ack_id, timedelta(seconds=lease), at(seconds))

    def nack(self, delivery: Delivery, seconds: float = 0) -> bool:
        return self.extend(delivery, 0, seconds)

    def _forward(self, message: PublishedMessage, attempts: int) -> bool:
        if self.forwards:
            self.dead.append((message.draft.data, attempts))
        return self.forwards


def data(deliveries: list[Delivery]) -> list[bytes]:
    return [delivery.message.draft.data for delivery in deliveries]


def test_what_is_held_is_not_delivered_again_before_its_lease_ends() -> None:
    scene = Scene()
    scene.publish(b"a", b"b")
    assert data(scene.take()) == [b"a", b"b"]
    assert scene.take(9.999) == []
    again = scene.take(10)
    assert data(again) == [b"a", b"b"]
    assert [delivery.attempt for delivery in again] == [2, 2]


def test_what_is_acknowledged_is_gone() -> None:
    scene = Scene()
    scene.publish(b"a")
    (delivery,) = scene.take()
    assert scene.ack(delivery, 9)
    assert not scene.ack(delivery, 9)
    assert scene.take(100) == []
    assert len(scene.backlog) == 0


def test_an_ack_after_the_lease_changes_nothing() -> None:
    scene = Scene()
    scene.publish(b"a")
    (late,) = scene.take()
    assert not scene.ack(late, 10)
    (again,) = scene.take(10)
    assert not scene.ack(late, 11)
    assert not scene.extend(late, 60, 11)
    assert scene.ack(again, 11)


def test_a_lease_is_extended_and_shortened() -> None:
    scene = Scene()
    scene.publish(b"a")
    (delivery,) = scene.take()
    assert scene.extend(delivery, 60, 5)
    assert scene.take(64.9) == []
    assert scene.extend(delivery, 1, 64.9)
    assert data(scene.take(65.9)) == [b"a"]


@pytest.mark.parametrize(
    "ack_id", ["", "x", "tag:1", "other:1:1", "tag:x:1", "tag:1:x", "tag:-1:1", "tag:1:1:", "a:²:1"]
)
def test_an_ack_id_of_another_form_is_refused(ack_id: str) -> None:
    scene = Scene()
    scene.publish(b"a")
    for call in (
        lambda: scene.backlog.acknowledge(ack_id, START),
        lambda: scene.backlog.extend(ack_id, timedelta(), START),
    ):
        with pytest.raises(InvalidArgument, match="ack_ids"):
            call()


def test_messages_of_a_key_go_to_one_holder_in_order() -> None:
    scene = Scene(ORDERED)
    scene.publish(b"1", b"2", b"3", key="k")
    scene.publish(b"x", key="other")
    first, second = scene.take(messages=2)
    assert data([first, second]) == [b"1", b"2"]
    assert data(scene.take(holder="you")) == [b"x"]
    assert data(scene.take(messages=1)) == [b"3"]
    assert scene.take(holder="you") == []


def test_a_key_changes_its_holder_when_nothing_of_it_is_held() -> None:
    scene = Scene(ORDERED)
    scene.publish(b"1", b"2", key="k")
    (first,) = scene.take(messages=1)
    assert scene.take(holder="you") == []
    scene.ack(first)
    assert data(scene.take(holder="you")) == [b"2"]


def test_a_key_stays_with_its_holder_while_any_of_it_is_held() -> None:
    scene = Scene(ORDERED)
    scene.publish(b"1", b"2", b"3", key="k")
    first, _ = scene.take(messages=2)
    scene.ack(first)
    assert scene.take(holder="you") == []
    assert data(scene.take()) == [b"3"]


def test_without_order_a_key_means_nothing() -> None:
    scene = Scene()
    scene.publish(b"1", b"2", key="k")
    assert data(scene.take(messages=1)) == [b"1"]
    assert data(scene.take(holder="you")) == [b"2"]


def test_a_message_that_comes_again_brings_all_behind_it_the_acknowledged_too() -> None:
    scene = Scene(ORDERED)
    scene.publish(b"1", b"2", b"3", key="k")
    first, second, third = scene.take()
    scene.ack(first)
    scene.ack(third)
    scene.nack(second)
    assert data(scene.take(holder="you")) == [b"2", b"3"]


def test_acks_of_deliveries_that_are_repeated_do_not_count() -> None:
    scene = Scene(ORDERED)
    scene.publish(b"1", b"2", key="k")
    first, second = scene.take()
    scene.nack(first)
    assert not scene.ack(second)
    assert data(scene.take()) == [b"1", b"2"]


def test_only_the_message_that_failed_counts_an_attempt() -> None:
    scene = Scene(ORDERED)
    scene.publish(b"1", b"2", key="k")
    scene.take()
    assert [delivery.attempt for delivery in scene.take(10)] == [2, 1]


def test_a_waiting_message_of_a_key_holds_up_its_key_and_no_other() -> None:
    scene = Scene(replace(ORDERED, backoff=RetryBackoff(timedelta(seconds=5), timedelta(seconds=5))))
    scene.publish(b"1", b"2", key="k")
    (first,) = scene.take(messages=1)
    scene.nack(first)
    scene.publish(b"3", key="k")
    scene.publish(b"x", key="other")
    assert data(scene.take(4.9)) == [b"x"]
    assert data(scene.take(5)) == [b"1", b"2", b"3"]


def test_backoff_doubles_up_to_its_maximum() -> None:
    scene = Scene(replace(RULES, backoff=RetryBackoff(timedelta(seconds=2), timedelta(seconds=5))))
    scene.publish(b"a")
    now = 0.0
    for wait in (2, 4, 5, 5):
        (delivery,) = scene.take(now)
        scene.nack(delivery, now)
        assert scene.take(now + wait - 0.1) == []
        now += wait
    assert data(scene.take(now)) == [b"a"]


def test_a_message_that_is_exhausted_is_forwarded_once() -> None:
    scene = Scene(replace(RULES, most_attempts=5))
    scene.publish(b"a")
    for _ in range(5):
        scene.nack(scene.take()[0])
    assert scene.dead == [(b"a", 5)]
    assert scene.take(100) == []
    assert len(scene.backlog) == 0


def test_a_dead_letter_in_the_middle_of_a_key_lets_the_others_pass() -> None:
    scene = Scene(replace(ORDERED, most_attempts=1))
    scene.publish(b"1", b"2", b"3", key="k")
    first, second, third = scene.take()
    scene.nack(second)
    assert scene.dead == [(b"2", 1)]
    assert not scene.ack(third)
    scene.ack(first)
    assert data(scene.take()) == [b"3"]


def test_a_message_that_nobody_takes_as_a_dead_letter_is_delivered_on() -> None:
    scene = Scene(replace(RULES, most_attempts=2), forwards=False)
    scene.publish(b"a")
    for _ in range(5):
        scene.nack(scene.take()[0])
    assert data(scene.take()) == [b"a"]


def test_who_holds_enough_gets_no_more_until_it_settles_some() -> None:
    scene = Scene()
    scene.publish(b"1", b"2", b"3", b"4")
    limits = FlowLimits(messages=2)
    first, second = scene.take(limits=limits)
    assert scene.take(limits=limits) == []
    scene.ack(first)
    assert data(scene.take(limits=limits)) == [b"3"]
    scene.nack(second)
    assert len(scene.take(limits=limits)) == 1


def test_a_lease_that_ends_makes_room() -> None:
    scene = Scene()
    scene.publish(b"1", b"2")
    limits = FlowLimits(messages=1)
    scene.take(limits=limits)
    assert len(scene.take(10, limits=limits)) == 1


def test_a_limit_of_bytes_may_be_exceeded_by_the_last_message() -> None:
    scene = Scene()
    scene.publish(b"1234", b"5678", b"9")
    assert data(scene.take(limits=FlowLimits(size=5))) == [b"1234", b"5678"]


def test_limits_that_are_not_positive_are_none() -> None:
    assert FlowLimits.asked(0, -1) == FlowLimits(None, None)


def test_one_answer_holds_so_much_and_at_least_one() -> None:
    scene = Scene()
    scene.publish(b"12345", b"6", b"7")
    assert data(scene.take(size=2)) == [b"12345"]
    assert data(scene.take(size=2)) == [b"6", b"7"]


def test_what_is_too_old_is_forgotten_held_or_not() -> None:
    scene = Scene(replace(RULES, retention=timedelta(seconds=600)))
    scene.publish(b"held", b"waiting")
    (held,) = scene.take(messages=1)
    scene.extend(held, 600, 5)
    scene.publish(b"young", at_second=100)
    assert data(scene.take(600)) == [b"young"]
    assert not scene.ack(held, 600)
    assert len(scene.backlog) == 1


def test_the_next_event_is_never_late() -> None:
    scene = Scene(replace(RULES, backoff=RetryBackoff(timedelta(seconds=3), timedelta(seconds=3))))
    assert scene.backlog.next_event() is None
    scene.publish(b"a")
    assert scene.backlog.next_event() == START + RULES.retention
    (delivery,) = scene.take()
    assert scene.backlog.next_event() == at(10)
    scene.nack(delivery, 1)
    assert scene.backlog.next_event() == at(4)


def test_a_repeated_message_has_an_ack_id_of_its_own() -> None:
    scene = Scene(replace(RULES, most_attempts=5))
    scene.publish(b"a")
    (first,) = scene.take()
    scene.backlog.repeat(first.ack_id)
    (second,) = scene.take()
    assert second.ack_id != first.ack_id
    assert second.attempt == first.attempt == 1
    assert scene.ack(second)
    assert not scene.ack(first)
    assert scene.take(100) == []
