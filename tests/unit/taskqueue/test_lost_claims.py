"""When it is looked for what lost claims took. Time is virtual."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from ostinato.errors import Contention, OstinatoError, Unavailable
from ostinato.taskqueue.embedded.claiming import Claiming
from ostinato.taskqueue.embedded.lost_claims import LostClaims
from ostinato.testing.virtual_time import VirtualClock, run_virtually

_STATEMENT_TIMEOUT = timedelta(seconds=30)


class Looks:
    def __init__(self) -> None:
        self.clock = VirtualClock(datetime(2030, 1, 1, tzinfo=UTC))
        self.claiming = Claiming(self.clock)
        self.at: list[float] = []
        self.failures = 0
        self.takes = 0.0
        self.claims = LostClaims(self.claiming, self.free, self.clock, statement_timeout=_STATEMENT_TIMEOUT)

    async def free(self) -> None:
        self.at.append(self.clock.monotonic())
        await self.clock.sleep(self.takes)
        if self.failures:
            self.failures -= 1
            raise Unavailable("away")

    async def lose(self, error: OstinatoError) -> None:
        with pytest.raises(type(error)):
            async with self.claiming:
                raise error

    async def after(self, seconds: float) -> list[float]:
        running = asyncio.ensure_future(self.claims.run())
        await asyncio.sleep(0)
        await self.lose(Unavailable("the network"))
        await self.clock.sleep(seconds)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return self.at


def test_a_claim_that_goes_on_without_its_client_is_found_within_ten_seconds_of_its_commit() -> None:
    """It waits for a lock on a connection that is gone, at most until the server cuts it short."""
    looks = run_virtually(Looks().after(3600))
    assert looks[0] < 1
    assert max(later - earlier for earlier, later in pairwise(looks)) < 9
    assert _STATEMENT_TIMEOUT.total_seconds() + 5 <= looks[-1] < 60


def test_a_look_that_fails_is_repeated_soon() -> None:
    looks = Looks()
    looks.failures = 1
    assert run_virtually(looks.after(10))[1] < 7


def test_looks_at_a_large_table_are_no_more_than_the_bound_of_recovery_asks_for() -> None:
    """The first comes soon all the same: nothing is known of the table yet."""
    looks = Looks()
    looks.takes = 0.4
    at = run_virtually(looks.after(3600))
    assert at[0] < 1
    assert all(8 < later - earlier < 9 for earlier, later in pairwise(at))


def test_who_lost_a_race_for_a_lock_has_claimed_nothing() -> None:
    async def lose_races(looks: Looks) -> list[float]:
        running = asyncio.ensure_future(looks.claims.run())
        await looks.lose(Contention("deadlock"))
        await looks.clock.sleep(60)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return looks.at

    assert run_virtually(lose_races(Looks())) == []
