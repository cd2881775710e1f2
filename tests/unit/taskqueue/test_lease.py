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
