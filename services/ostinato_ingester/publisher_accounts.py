"""The account of a publisher: its e-mail, which for a service given as `https://HOST` that service tells.

The service answers `GET /auth/api/v1/server/info` with `{"service_account_name": "…"}`. What it said once is kept.
"""

from __future__ import annotations

import json
from datetime import timedelta

import aiohttp

from ostinato.config.pubsub import is_account
from ostinato.errors import FailedPrecondition, Unavailable

INFO_PATH = "/auth/api/v1/server/info"
_TIMEOUT = timedelta(seconds=10)
_LARGEST_ANSWER = 64 * 1024


class PublisherAccounts:
    """Of all publishers; asks each service once."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._known: dict[str, str] = {}

    async def get(self, account: str) -> str:
        """Raises Unavailable when the service can't be asked, FailedPrecondition when it tells no account."""
        if is_account(account):
            return account
        if account not in self._known:
            self._known[account] = parse_account(account, await self._ask(account))
        return self._known[account]

    async def _ask(self, service: str) -> bytes:
        limit = aiohttp.ClientTimeout(total=_TIMEOUT.total_seconds())
        try:
            async with self._session.get(service + INFO_PATH, timeout=limit, allow_redirects=False) as answer:
                body = await answer.content.read(_LARGEST_ANSWER)
                if answer.status >= 500:
                    raise Unavailable(f"{service} answered {answer.status} to the question for its account")
                if answer.status != 200:
                    raise FailedPrecondition(f"{service} answered {answer.status} to the question for its account")
                return body
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable(f"{service} can't be asked for its account: {type(error).__name__}") from error


def parse_account(service: str, body: bytes) -> str:
    """Raises FailedPrecondition."""
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        told = None
    account = told.get("service_account_name") if isinstance(told, dict) else None
    if not isinstance(account, str) or not is_account(account):
        raise FailedPrecondition(f"{service} does not tell the e-mail of its account at {INFO_PATH}")
    return account
