"""A stable choice among n: the same for the same key on every machine, and spread evenly over keys."""

from __future__ import annotations

from hashlib import sha256


def hashed_choice(key: str, choices: int) -> int:
    """0 to `choices` - 1."""
    return int.from_bytes(sha256(key.encode(errors="surrogatepass")).digest()[:8], "big") % choices
