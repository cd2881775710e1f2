"""When a token is used again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ostinato.clock import SystemClock
from ostinato.localcloud.reused_tokens import ReusedTokens
from ostinato.localcloud.tokens import TokenIssuer


class MovableClock(SystemClock):
    time = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time


@pytest.fixture(scope="module")
def issuer() -> TokenIssuer:
    return TokenIssuer("http://127.0.0.1/issuer")


def test_a_token_serves_its_account_and_audience_until_half_its_life_is_over(issuer: TokenIssuer) -> None:
    clock = MovableClock()
    tokens = ReusedTokens(issuer, clock)
    first = tokens.authorization("a@p.example", "https://x.example")
    assert first.startswith("Bearer ")
    clock.time += timedelta(seconds=1799)
    assert tokens.authorization("a@p.example", "https://x.example") == first
    assert tokens.authorization("b@p.example", "https://x.example") != first
    assert tokens.authorization("a@p.example", "https://y.example") != first
    clock.time += timedelta(seconds=1)
    assert tokens.authorization("a@p.example", "https://x.example") != first
