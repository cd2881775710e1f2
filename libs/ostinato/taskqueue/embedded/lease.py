"""The right of a process incarnation to run what it claimed, as far as this process can know it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from ostinato.taskqueue.embedded.pace import NORMAL, Pace


@dataclass(slots=True)
class Lease:
    """Written by the heartbeat, read by everybody. The fence in SQL judges at the end; this only saves work.

    `valid_until` counts from *before* the heartbeat was sent, on the monotonic clock, so a stalled process never
    trusts its lease longer than the database does.
    """

    worker_id: int
    valid_until: float
    pace: Pace = NORMAL
    lost: bool = False
    steady_from: float = float("-inf")
    # The database's clock minus the monotonic one; measured at the middle of a heartbeat.
    db_time_at_zero: datetime = field(default=datetime(1970, 1, 1, tzinfo=UTC))
    # The sum of versions that the states of queues in use come from, and when it was last seen to be current.
    versions: int = -1
    versions_seen_at: float = float("-inf")

    def renew(self, *, sent_at: float, answered_at: float, db_now: datetime) -> None:
        since_last_beat = sent_at - (self.valid_until - self.pace.lease)
        # Not again at once: where every heartbeat is slow, the dead must be seen all the same.
        if since_last_beat > self.pace.lease - self.pace.beat_every and sent_at - self.steady_from > self.pace.lease:
            self.steady_from = sent_at + 2 * self.pace.beat_every
        self.valid_until = sent_at + self.pace.lease
        self.db_time_at_zero = db_now - timedelta(seconds=(sent_at + answered_at) / 2)

    def learn_versions(self, versions: int, *, sent_at: float) -> None:
        """The states of queues were loaded."""
        self.versions, self.versions_seen_at = versions, sent_at

    def confirm_versions(self, versions: int, *, sent_at: float) -> bool:
        """False: some queue has changed since its state was loaded."""
        if versions != self.versions:
            return False
        self.versions_seen_at = sent_at
        return True

    def holds(self, monotonic: float) -> bool:
        return not self.lost and monotonic < self.valid_until

    def is_steady(self, monotonic: float) -> bool:
        """Whether it neither came nor stood still just now. Else the database was perhaps away: others, who seem to
        be dead, may have outlived that too, and are given the time to come back.
        """
        return self.holds(monotonic) and monotonic >= self.steady_from

    def db_now(self, monotonic: float) -> datetime:
        """The database's time, estimated to about half a round trip."""
        return self.db_time_at_zero + timedelta(seconds=monotonic)
