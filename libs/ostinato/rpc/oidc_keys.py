"""The public keys of a token issuer: fetched when first needed, again when old, or for a key that is not known yet.

However many ask, one fetch is under way at a time, and fetches keep a distance. While the issuer is away the keys that
are there go on being used.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Final

import aiohttp
import structlog
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from ostinato.auth.oidc_claims import not_valid
from ostinato.clock import Clock
from ostinato.errors import Unavailable

FETCH_TIMEOUT = timedelta(seconds=5)
_LARGEST_ANSWER = 256 * 1024
# Keys are withdrawn as well as added.
KEYS_ARE_OLD_AFTER = timedelta(hours=1)
# Strangers can name keys that don't exist as often as they like.
FETCH_SPACING = timedelta(seconds=10)
FETCH_SPACING_AFTER_FAILURE = timedelta(seconds=1)

# Signatures that only the issuer can make, by the type of its key. An algorithm with a shared secret is none of them.
_ALGORITHMS: Final[Mapping[str, str]] = MappingProxyType({"RSA": "RS256", "EC": "ES256"})
_MIN_RSA_BITS = 2048

_log = structlog.get_logger(__name__)


class IssuerKeys:
    """The keys behind one URL. `close` ends a fetch that is under way."""

    def __init__(self, session: aiohttp.ClientSession, url: str, clock: Clock) -> None:
        self._session = session
        self._url = url
        self._clock = clock
        self._keys: Mapping[str, PyJWK] = {}
        self._fetching: asyncio.Task[None] | None = None
        self._last_failed = False
        self._next_fetch = self._old_at = clock.monotonic()

    async def get(self, key_id: str) -> PyJWK:
        """Raises Unauthenticated for a key that the issuer does not have, Unavailable while it can't be asked."""
        if key_id not in self._keys:
            await self._fetched()
        elif self._clock.monotonic() >= self._old_at:
            self._begin_fetch()  # goes on beside this call
        key = self._keys.get(key_id)
        if key is not None:
            return key
        if self._last_failed:
            raise Unavailable("the keys of the token issuer can't be fetched")
        raise not_valid("its issuer has no such key")

    async def close(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])

    async def _fetched(self) -> None:
        fetching = self._begin_fetch()
        if fetching is not None:
            await asyncio.shield(fetching)  # others wait for it too

    def _begin_fetch(self) -> asyncio.Task[None] | None:
        if self._fetching is None and self._clock.monotonic() >= self._next_fetch:
            self._fetching = asyncio.create_task(self._fetch())
        return self._fetching

    async def _fetch(self) -> None:
        try:
            self._keys = parse_keys(await self._download())
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            _log.warning("keys not fetched", url=self._url, error=f"{type(error).__name__}: {error}")
            self._rest(FETCH_SPACING_AFTER_FAILURE, failed=True)
        else:
            self._rest(FETCH_SPACING, failed=False)
            self._old_at = self._clock.monotonic() + KEYS_ARE_OLD_AFTER.total_seconds()
        finally:
            self._fetching = None

    def _rest(self, spacing: timedelta, *, failed: bool) -> None:
        self._last_failed = failed
        self._next_fetch = self._clock.monotonic() + spacing.total_seconds()

    async def _download(self) -> bytes:
        limit = aiohttp.ClientTimeout(total=FETCH_TIMEOUT.total_seconds())
        async with self._session.get(self._url, timeout=limit, allow_redirects=False) as answer:
            if answer.status != 200:
                raise ValueError(f"the answer was {answer.status}")
            body = bytearray()
            async for chunk in answer.content.iter_any():
                body += chunk
                if len(body) > _LARGEST_ANSWER:
                    raise ValueError(f"the answer has more than {_LARGEST_ANSWER} bytes")
            return bytes(body)


def parse_keys(body: bytes) -> dict[str, PyJWK]:
    """By key id. Passes over keys that nothing here is signed with; raises ValueError where none is left."""
    try:
        document = json.loads(body)
    except RecursionError:
        raise ValueError("the answer is no JSON that can be read") from None
    entries = document.get("keys") if isinstance(document, dict) else None
    found: dict[str, PyJWK] = {}
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and (key := _usable(entry)) is not None:
            found[entry["kid"]] = key
    if not found:
        raise ValueError("the answer has no key that could be used")
    return found


def _usable(entry: dict[str, object]) -> PyJWK | None:
    algorithm = _ALGORITHMS.get(str(entry.get("kty")))
    if algorithm is None or entry.get("alg", algorithm) != algorithm or entry.get("use", "sig") != "sig":
        return None
    if not isinstance(entry.get("kid"), str) or entry.get("crv", "P-256") != "P-256":
        return None
    try:
        key = PyJWK.from_dict(entry, algorithm)
    except (PyJWTError, ValueError, TypeError, KeyError):
        return None
    return None if isinstance(key.key, RSAPublicKey) and key.key.key_size < _MIN_RSA_BITS else key
