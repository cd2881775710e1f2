"""How long a process trusts its lease."""

from __future__ import annotations

from datetime import UTC, datetime

from ostinato.taskqueue.embedded.lease import Lease
from ostinato.taskqueue.embedded.pace import Pace

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def lease() -> Lease:
    return Lease(7, float("-inf"), Pace(lease=6.0))


def test_a_lease_counts_from_before_its_heartbeat_was_sent() -> None:
    """However late the answer came, the database's own count began after the sending."""
    held = lease()
    held.renew(sent_at=100.0, answered_at=104.0, db_now=NOON)
    assert held.holds(105.9)
    assert not held.holds(106.0)


def test_an_answer_that_took_longer_than_the_lease_gives_none() -> None:
    held = lease()
    held.renew(sent_at=100.0, answered_at=107.0, db_now=NOON)
    assert not held.holds(107.0)


def test_a_lost_lease_does_not_come_back() -> None:
    held = lease()
    held.lost = True
    held.renew(sent_at=100.0, answered_at=100.1, db_now=NOON)
    assert not held.holds(100.2)


def test_who_has_just_come_to_the_database_takes_nobody_for_dead_yet() -> None:
    """After an outage all leases have ended: whoever came back first charged the tasks of all others with a death."""
    held = Lease(7, float("-inf"), Pace(lease=6.0, beat_every=1.5))
    held.renew(sent_at=100.0, answered_at=100.1, db_now=NOON)
    assert not held.is_steady(102.9)
    assert held.is_steady(103.0)


def test_who_missed_nearly_all_heartbeats_of_its_lease_waits_for_those_that_missed_one_more() -> None:
    held = Lease(7, float("-inf"), Pace(lease=6.0, beat_every=1.5))
    for sent_at in (100.0, 101.5, 103.0, 106.0, 110.7):
        held.renew(sent_at=sent_at, answered_at=sent_at, db_now=NOON)
        assert held.is_steady(sent_at) == (sent_at in (103.0, 106.0))
    assert held.is_steady(113.8)


def test_where_every_heartbeat_is_slow_the_dead_are_seen_all_the_same() -> None:
    held = Lease(7, float("-inf"), Pace(lease=6.0, beat_every=1.5))
    steady = 0
    for sent_at in range(100, 200, 5):
        held.renew(sent_at=sent_at, answered_at=sent_at + 4, db_now=NOON)
        steady += held.is_steady(sent_at + 4)
    assert steady >= 10
