"""Bytes of a token as text: base64url without padding. Each token has exactly one spelling."""

from __future__ import annotations

import base64


def encode_token(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode_token(text: str) -> bytes:
    """Raises ValueError for everything that `encode_token` would not have written."""
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    # The decoder skips foreign characters and ignores spare bits.
    if encode_token(raw) != text:
        raise ValueError("not the one spelling of a token")
    return raw
