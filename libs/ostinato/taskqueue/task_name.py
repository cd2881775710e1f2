"""The name of a task that must not be added twice: a hash, so that keys may be of any length. Pure."""

from __future__ import annotations

import hashlib
from uuid import UUID

MAX_DEDUP_KEY_BYTES = 1000


def name_of(namespace: str, class_name: str, dedup_key: str) -> UUID:
    """Keys of two namespaces or two classes never meet: neither contains the separator, and the key comes last."""
    text = f"{namespace}\0{class_name}\0{dedup_key}"
    return UUID(bytes=hashlib.sha256(text.encode()).digest()[:16])


def dedup_key_rule(key: str) -> str | None:
    """The rule that `key` breaks."""
    if not key:
        return "must not be empty"
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        return "must be text without half surrogate pairs"
    return f"must be at most {MAX_DEDUP_KEY_BYTES} bytes" if size > MAX_DEDUP_KEY_BYTES else None
