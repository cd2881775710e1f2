"""Tokens with which running work says how its invocation goes: no identity, only the right to report on one run.

A token is base64url (no padding) of: version byte, issued and expiry (Unix ms), job id, invocation id (all
64-bit big-endian), HMAC-SHA256 over what precedes it. Every key given verifies, the first (newest) signs.
Whatever is wrong with a token, the answer is the same, so that it teaches nothing. What was wrong is told to our own
side only, so that people can find out why a run's reports don't arrive.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum

from ostinato.auth.key_derivation import derive_key
from ostinato.auth.token_text import decode_token, encode_token
from ostinato.errors import Unauthenticated

# Issued further ahead than this by the verifier's clock: refused (LUCI Scheduler's rule for its tokens).
CLOCK_SKEW = timedelta(seconds=30)
MIN_KEY_BYTES = 32

_VERSION = 1
_CLAIMS = struct.Struct(">BQQQQ")
_LARGEST_ID = 2**63 - 1
_MAC_BYTES = hashlib.sha256().digest_size
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class TokenFault(IntEnum):
    """What was wrong with a token. The numbers are stored."""

    WRONG_KEY = 1  # not signed by a key of this installation, or altered
    EXPIRED = 2
    FROM_THE_FUTURE = 3
    OTHER_RUN = 4  # genuine, but shown for another run than its own


@dataclass(frozen=True, slots=True)
class TokenRejection:
    """Whose a rejected token claims to be. Of the fault WRONG_KEY it is a claim and no more: good for a record only."""

    invocation_id: int
    job_id: int
    fault: TokenFault


class TokenRejected(Unauthenticated):
    """The one answer. `rejection` is for our own side, never for the caller; None where a token is too malformed."""

    def __init__(self, rejection: TokenRejection | None = None) -> None:
        super().__init__("the notification token is not valid")
        self.rejection = rejection


@dataclass(frozen=True, slots=True)
class NotificationClaims:
    """What a genuine, current token says."""

    invocation_id: int
    job_id: int
    issued_at: datetime
    expires_at: datetime

    def rejected(self, fault: TokenFault) -> TokenRejected:
        """The error for a genuine token that is not good all the same."""
        return TokenRejected(TokenRejection(self.invocation_id, self.job_id, fault))


class NotificationTokens:
    """Issues and verifies with one set of keys, newest first."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys:
            raise ValueError("at least one notification key is needed")
        if any(len(key) < MIN_KEY_BYTES for key in keys):
            raise ValueError(f"notification keys must have at least {MIN_KEY_BYTES} bytes")
        self._keys = tuple(keys)

    @classmethod
    def configured(cls, keys: Sequence[bytes], secret: bytes) -> NotificationTokens:
        """With the keys that were given, else with the one derived from the installation's secret."""
        return cls(keys or [derive_key(secret, "notification-token")])

    def issue(self, invocation_id: int, job_id: int, *, now: datetime, lifetime: timedelta) -> str:
        claims = _CLAIMS.pack(_VERSION, _to_millis(now), _to_millis(now + lifetime), job_id, invocation_id)
        return encode_token(claims + _mac(self._keys[0], claims))

    def verify(self, token: str, *, now: datetime) -> NotificationClaims:
        """Raises TokenRejected: malformed, altered, signed by another key, expired, or from the future."""
        raw = _decode(token)
        signed, mac = raw[: _CLAIMS.size], raw[_CLAIMS.size :]
        # Before anything else is looked at, so that the time taken is the same whatever a token says.
        genuine = self._is_genuine(signed, mac)
        version, issued, expires, job_id, invocation_id = _CLAIMS.unpack(signed)
        if version != _VERSION or max(job_id, invocation_id) > _LARGEST_ID:
            raise TokenRejected
        if not genuine:
            raise TokenRejected(TokenRejection(invocation_id, job_id, TokenFault.WRONG_KEY))
        claims = NotificationClaims(invocation_id, job_id, _from_millis(issued), _from_millis(expires))
        if claims.issued_at > now + CLOCK_SKEW:
            raise claims.rejected(TokenFault.FROM_THE_FUTURE)
        if claims.expires_at <= now:
            raise claims.rejected(TokenFault.EXPIRED)
        return claims

    def _is_genuine(self, signed: bytes, mac: bytes) -> bool:
        # All keys are tried, so that the time taken doesn't tell which one signed.
        matches = [hmac.compare_digest(_mac(key, signed), mac) for key in self._keys]
        return any(matches)


def _mac(key: bytes, signed: bytes) -> bytes:
    return hmac.digest(key, signed, hashlib.sha256)


def _decode(token: str) -> bytes:
    if len(token) != _TOKEN_CHARACTERS:
        raise TokenRejected
    try:
        return decode_token(token)
    except ValueError:
        raise TokenRejected from None


_TOKEN_CHARACTERS = len(encode_token(bytes(_CLAIMS.size + _MAC_BYTES)))


def _to_millis(at: datetime) -> int:
    return (at - _EPOCH) // _MILLISECOND


def _from_millis(millis: int) -> datetime:
    return _EPOCH + millis * _MILLISECOND
