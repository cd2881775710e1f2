"""Many jobs that differ in their schedules: expressions, zones, delays, blackouts, and what becomes of missed slots.

A stanza is what a person writes. What it means is read a second time, without the code under test, by `slot_oracle`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

# About when clocks change in some zones, and these zones.
NIGHTS = (
    (datetime(2026, 3, 8, 6, 30, tzinfo=UTC), ("America/New_York", "America/St_Johns", "America/Havana")),
    (datetime(2026, 3, 29, 1, tzinfo=UTC), ("Europe/Berlin", "Europe/Dublin", "Antarctica/Troll", "America/Nuuk")),
    (datetime(2026, 4, 4, 15, 30, tzinfo=UTC), ("Australia/Sydney", "Australia/Lord_Howe", "Pacific/Chatham")),
    (datetime(2026, 9, 6, 4, tzinfo=UTC), ("America/Santiago", "Pacific/Easter")),
    (datetime(2026, 10, 3, 15, 45, tzinfo=UTC), ("Australia/Sydney", "Australia/Lord_Howe", "Pacific/Chatham")),
    (datetime(2026, 10, 25, 1, tzinfo=UTC), ("Europe/Berlin", "Europe/Dublin", "Antarctica/Troll", "America/Nuuk")),
    (datetime(2026, 11, 1, 5, tzinfo=UTC), ("America/New_York", "America/St_Johns", "America/Havana")),
)
ELSEWHERE = ("UTC", "Asia/Kolkata")
# More than any job here has to do at once.
PLENTY = 1000
OFTEN = ("* * * * *", "*/2 * * * *", "every 1m", "every 90s", "*/20 * * * * * *")
HOURLY = ("*/7 * * * *", "30 * * * *", "every 7m", "0,30 0-4 * * *", "*/10 1-3 * * *", "5-55/10 * * * 0,6")
DAILY = ("30 2 * * *", "0 2 * * *", "30 1 * * *", "15 */2 * * *", "0 0 * * *", "30 1-3 L,1,8,29 * SUN", "every 6h")


class SlotJobs:
    """Draws stanzas for a walk that begins at `start`."""

    def __init__(self, random: Random, start: datetime, zones: tuple[str, ...], length: timedelta) -> None:
        self._random = random
        self._start = start
        self._zones = (*zones, *ELSEWHERE)
        self._length = length

    def stanza(self, name: str) -> dict[str, Any]:
        random = self._random
        kind = random.choices((OFTEN, HOURLY, DAILY), (5, 3, 2))[0]
        schedule = random.choice(kind)
        if kind is DAILY and random.random() < 0.1:
            schedule = f"at {self._some_time():%Y-%m-%dT%H:%M:%SZ}"
        return {
            "id": name,
            "schedule": schedule,
            "time_zone": random.choice(self._zones),
            "gap_policy": random.choice(("SHIFT", "SKIP")),
            "fold_policy": random.choice(("FIRST", "LAST", "BOTH")),
            "triggering_policy": self._policy(),
            "noop": {"sleep": "20s"} if random.random() < 0.05 else {},
            **({"max_pending_triggers": 3} if random.random() < 0.1 else {}),
            "catch_up": self._catch_up(),
            **self._delays(),
            **self._bounds(),
        }

    def _policy(self) -> dict[str, Any]:
        policy = {
            "max_concurrent_invocations": self._random.choice((1, 1, 3, PLENTY)),
            "max_batch_size": self._random.choice((1, 5, 1000)),
        }
        match self._random.randint(0, 9):
            case 0:
                return policy | {"kind": "NEWEST_FIRST", "pending_timeout": "30s"}
            case 1:
                return policy | {"kind": "LOGARITHMIC_BATCHING", "log_base": 2}
            case _:
                return policy

    def _catch_up(self) -> dict[str, Any]:
        policy = self._random.choice(("SKIP", "LATEST", "ALL"))
        catch_up: dict[str, Any] = {"policy": policy}
        if policy != "SKIP":
            catch_up["window"] = self._random.choice(("10m", "2h", "24h"))
        if policy == "ALL":
            catch_up["limit"] = self._random.choice((1, 5, 100))
        return catch_up

    def _delays(self) -> dict[str, Any]:
        """Most have none: delayed slots are due at moments of their own, which take a walk long."""
        delays: dict[str, Any] = {}
        if self._random.random() < 0.25:
            delays["offset"] = self._random.choice(("30s", "20m", "2h"))
        if self._random.random() < 0.1:
            delays["jitter"] = self._random.choice(("5s", "3m"))
        if self._random.random() < 0.1:
            delays["start_deadline"] = self._random.choice(("1m", "30m"))
        return delays

    def _bounds(self) -> dict[str, Any]:
        bounds: dict[str, Any] = {}
        if self._random.random() < 0.15:
            bounds["start_after"] = _written(self._some_time())
        if self._random.random() < 0.15:
            end = self._some_time()
            bounds["end_before"] = _written(end)
            bounds.pop("start_after", None)
        if self._random.random() < 0.3:
            bounds["blackouts"] = [self._blackout() for _ in range(self._random.randint(1, 3))]
        return bounds

    def _blackout(self) -> dict[str, Any]:
        start = self._some_time()
        end = start + self._random.choice((timedelta(minutes=5), timedelta(hours=1), timedelta(hours=5)))
        return {"start_time": _written(start), "end_time": _written(end)}

    def _some_time(self) -> datetime:
        minutes = int(self._length.total_seconds()) // 60
        return self._start + timedelta(minutes=self._random.randint(-60, minutes))


def _written(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"
