"""Tokens for pushes. Signing costs more than the rest of a push, so each is used until half its life is over."""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime

from ostinato.clock import Clock
from ostinato.localcloud.tokens import TOKEN_LIFE, TokenIssuer

_MOST_KEPT = 1_000


class ReusedTokens:
    def __init__(self, tokens: TokenIssuer, clock: Clock) -> None:
        self._tokens = tokens
        self._clock = clock
        self._kept: OrderedDict[tuple[str, str], tuple[str, datetime]] = OrderedDict()

    def authorization(self, email: str, audience: str) -> str:
        """The header by which `email` talks to `audience`."""
        now = self._clock.now()
        token, issued_at = self._kept.get((email, audience), ("", now))
        if not token or now >= issued_at + TOKEN_LIFE / 2:
            token, issued_at = self._tokens.issue(email, audience, now=now), now
        self._kept[email, audience] = (token, issued_at)
        self._kept.move_to_end((email, audience))
        if len(self._kept) > _MOST_KEPT:
            self._kept.popitem(last=False)
        return f"Bearer {token}"
