"""Who calls over HTTP on behalf of another system: the verified identity token (OIDC) of its service account.

Neither logs nor answers repeat any part of a token.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager

import aiohttp
import jwt
from jwt.exceptions import PyJWTError

from ostinato.auth.oidc_claims import OidcRules, caller_of, not_valid
from ostinato.clock import Clock
from ostinato.config.oidc import OidcSettings
from ostinato.errors import Unauthenticated
from ostinato.rpc.oidc_keys import IssuerKeys

MAX_TOKEN_BYTES = 8 * 1024

_NEEDED = "the request needs `Authorization: Bearer <identity token>`"
# Times, issuer and audience are judged by `caller_of`, with the clock that this process was given.
_ONLY_THE_SIGNATURE: jwt.types.Options = {
    "verify_signature": True,
    "enforce_minimum_key_length": True,
    "require": [],
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_aud": False,
    "verify_iss": False,
    "verify_sub": False,
    "verify_jti": False,
}


class OidcVerifier:
    """Verifies the tokens of one issuer for one set of callers."""

    def __init__(self, keys: IssuerKeys, rules: OidcRules, clock: Clock) -> None:
        self._keys = keys
        self._rules = rules
        self._clock = clock

    async def verify(self, authorization: str | None, *, host: str) -> str:
        """The caller's e-mail. `authorization` and `host` are headers of the request.

        Raises Unauthenticated without a token that is genuine, current and meant for `host`; PermissionDenied for a
        caller who is not authorised; Unavailable while the issuer's keys can't be fetched.
        """
        token = _bearer_token(authorization or "")
        key = await self._keys.get(_key_id(token))
        return caller_of(_claims(token, key), self._rules, host=host, now=self._clock.now())


@asynccontextmanager
async def open_oidc_verifier(
    settings: OidcSettings, allowed: Collection[str], clock: Clock
) -> AsyncIterator[OidcVerifier]:
    """`allowed`: e-mails of the accounts that may call. Fetches nothing before the first token comes."""
    rules = OidcRules(issuers=frozenset(settings.issuers), callers=frozenset(email.lower() for email in allowed))
    async with aiohttp.ClientSession() as session:
        keys = IssuerKeys(session, settings.jwks_url, clock)
        try:
            yield OidcVerifier(keys, rules, clock)
        finally:
            await keys.close()


def _bearer_token(authorization: str) -> str:
    scheme, _, token = authorization.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated(_NEEDED)
    if len(token) > MAX_TOKEN_BYTES or not token.isascii():
        raise not_valid("it can't be read")
    return token


def _key_id(token: str) -> str:
    try:
        key_id = jwt.get_unverified_header(token).get("kid")
    except (PyJWTError, ValueError, RecursionError):
        raise not_valid("it can't be read") from None
    if not isinstance(key_id, str):
        raise not_valid("it does not name its key")
    return key_id


def _claims(token: str, key: jwt.PyJWK) -> Mapping[str, object]:
    """The key decides on the algorithm, whatever the token says."""
    try:
        return jwt.decode(token, key, algorithms=[key.algorithm_name], options=_ONLY_THE_SIGNATURE)
    except (PyJWTError, ValueError, RecursionError):
        raise not_valid("its signature is not the issuer's") from None
