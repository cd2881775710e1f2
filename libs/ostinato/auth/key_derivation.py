"""One key per use out of one secret, so that a leaked or misused key opens nothing else.

HKDF with SHA-256 (RFC 5869): extract, then expand.
"""

from __future__ import annotations

import hashlib
import hmac

KEY_BYTES = 32
_HASH_BYTES = hashlib.sha256().digest_size


def derive_key(secret: bytes, purpose: str) -> bytes:
    """The 32-byte key for `purpose`, such as `notification-token`. The same inputs give the same key for ever."""
    return hkdf_sha256(secret, salt=b"", info=b"ostinato/" + purpose.encode(), length=KEY_BYTES)


def hkdf_sha256(input_key: bytes, *, salt: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869 §2; `length` at most 8,160 bytes."""
    if not 0 < length <= 255 * _HASH_BYTES:
        raise ValueError(f"length must be 1 to {255 * _HASH_BYTES}")
    extracted = hmac.digest(salt or bytes(_HASH_BYTES), input_key, hashlib.sha256)
    return _expand(extracted, info, length)


def _expand(extracted: bytes, info: bytes, length: int) -> bytes:
    expanded = block = b""
    counter = 1
    while len(expanded) < length:
        block = hmac.digest(extracted, block + info + bytes([counter]), hashlib.sha256)
        expanded += block
        counter += 1
    return expanded[:length]
