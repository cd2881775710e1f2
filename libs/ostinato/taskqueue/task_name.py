"""The name of a task that must not be added twice: a hash, so that keys may be of any length. Pure."""

from __future__ import annotations

import hashlib
from uuid import UUID

MAX_DEDUP_KEY_BYTES = 1000


def name_of(namespace: str, class_name: str, dedup_key: str, prefix: str = "") -> UUID:
    """Keys of two namespaces, classes or prefixes never meet: neither contains the separator, the key comes last, and
    no namespace contains a dash.
    """
    return UUID(bytes=_digest(f"{prefix}-{namespace}" if prefix else namespace, class_name, dedup_key)[:16])


def hex_name_of(namespace: str, class_name: str, dedup_key: str, prefix: str = "") -> str:
    """For a remote queue: 64 hexadecimal digits, longer than any name that a transaction gives."""
    digits = _digest(namespace, class_name, dedup_key).hex()
    return f"{prefix}-{digits}" if prefix else digits


def _digest(namespace: str, class_name: str, dedup_key: str) -> bytes:
    return hashlib.sha256(f"{namespace}\0{class_name}\0{dedup_key}".encode()).digest()


def dedup_key_rule(key: str) -> str | None:
    """The rule that `key` breaks."""
    if not key:
        return "must not be empty"
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        return "must be text without half surrogate pairs"
    return f"must be at most {MAX_DEDUP_KEY_BYTES} bytes" if size > MAX_DEDUP_KEY_BYTES else None
