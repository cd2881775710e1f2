"""The Authorization of a push, made for whom the task names."""

from __future__ import annotations

import secrets

from google.cloud import tasks_v2

from ostinato.localcloud.reused_tokens import ReusedTokens


class PushAuthorization:
    def __init__(self, tokens: ReusedTokens) -> None:
        self._tokens = tokens

    def header(self, http: tasks_v2.HttpRequest) -> str | None:
        """None if the task asks for none. The audience of an OIDC token is the whole URL unless it is given."""
        if http.HasField("oidc_token"):
            wanted = http.oidc_token
            return self._tokens.authorization(wanted.service_account_email, wanted.audience or http.url)
        if http.HasField("oauth_token"):
            return f"Bearer ya29.{secrets.token_urlsafe(32)}"
        return None
