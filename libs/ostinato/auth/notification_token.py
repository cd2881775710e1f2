"""Tokens with which running work says how its invocation goes: no identity, only the right to report on one run.

A token is base64url (no padding) of: version byte, issued and expiry (Unix ms), job id, invocation id (all
64-bit big-endian), HMAC-SHA256 over what precedes it. Every key given verifies, the first (newest) signs.
Whatever is wrong with a token, the answer is the same, so that it teaches nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

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


@dataclass(frozen=True, slots=True)
class NotificationClaims:
    """What a genuine, current token says."""

    invocation_id: int
    job_id: int
    issued_at: datetime
    expires_at: datetime


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
        """Raises Unauthenticated: malformed, altered, signed by another key, expired, or from the future."""
        raw = _decode(token)
        signed, mac = raw[: _CLAIMS.size], raw[_CLAIMS.size :]
        if not self._is_genuine(signed, mac):
            raise not_valid()
        version, issued, expires, job_id, invocation_id = _CLAIMS.unpack(signed)
        if version != _VERSION or max(job_id, invocation_id) > _LARGEST_ID:
            raise not_valid()
        claims = NotificationClaims(invocation_id, job_id, _from_millis(issued), _from_millis(expires))
        if claims.issued_at > now + CLOCK_SKEW or claims.expires_at <= now:
            raise not_valid()
        return claims

    def _is_genuine(self, signed: bytes, mac: bytes) -> bool:
        # All keys are tried, so that the time taken doesn't tell which one signed.
        matches = [hmac.compare_digest(_mac(key, signed), mac) for key in self._keys]
        return any(matches)


def _mac(key: bytes, signed: bytes) -> bytes:
    return hmac.digest(key, signed, hashlib.sha256)


def _decode(token: str) -> bytes:
    if len(token) != _TOKEN_CHARACTERS:
        raise not_valid()
    try:
        return decode_token(token)
    except ValueError:
        raise not_valid() from None


_TOKEN_CHARACTERS = len(encode_token(bytes(_CLAIMS.size + _MAC_BYTES)))


def _to_millis(at: datetime) -> int:
    return (at - _EPOCH) // _MILLISECOND


def _from_millis(millis: int) -> datetime:
    return _EPOCH + millis * _MILLISECOND


def not_valid() -> Unauthenticated:
    """The one answer, also where a genuine token is shown for another run than its own."""
    return Unauthenticated("the notification token is not valid")
