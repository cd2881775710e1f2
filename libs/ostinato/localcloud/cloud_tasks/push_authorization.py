"""The Authorization of a push, made for whom the task names.

Signing costs more than the rest of a push, so a token is used again until half its life is over.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from datetime import datetime

from google.cloud import tasks_v2

from ostinato.clock import Clock
from ostinato.localcloud.tokens import TOKEN_LIFE, TokenIssuer

_MOST_KEPT = 1_000


class PushAuthorization:
    def __init__(self, tokens: TokenIssuer, clock: Clock) -> None:
        self._tokens = tokens
        self._clock = clock
        self._kept: OrderedDict[tuple[str, str], tuple[str, datetime]] = OrderedDict()

    def header(self, http: tasks_v2.HttpRequest) -> str | None:
        """None if the task asks for none. The audience of an OIDC token is the whole URL unless it is given."""
        if http.HasField("oidc_token"):
            wanted = http.oidc_token
            return f"Bearer {self._oidc(wanted.service_account_email, wanted.audience or http.url)}"
        if http.HasField("oauth_token"):
            return f"Bearer ya29.{secrets.token_urlsafe(32)}"
        return None

    def _oidc(self, email: str, audience: str) -> str:
        now = self._clock.now()
        token, issued_at = self._kept.get((email, audience), ("", now))
        if not token or now >= issued_at + TOKEN_LIFE / 2:
            token, issued_at = self._tokens.issue(email, audience, now=now), now
        self._kept[email, audience] = (token, issued_at)
        self._kept.move_to_end((email, audience))
        if len(self._kept) > _MOST_KEPT:
            self._kept.popitem(last=False)
        return token
