"""Instants as text: RFC 3339, whole seconds, always with `Z` or an offset."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:Z|[+-][0-9]{2}:[0-9]{2})", re.IGNORECASE
)
EXPECTATION = "an instant with Z or an offset, such as 2026-12-01T09:00:00Z"


class InstantError(ValueError):
    """The message says what is expected."""


def parse_instant(text: str) -> datetime:
    """In UTC. Raises InstantError."""
    if not _INSTANT.fullmatch(text):
        raise InstantError(f"expected {EXPECTATION}, not {text[:100]!r}")
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InstantError(f"expected {EXPECTATION}: {error}") from error


def format_instant(at: datetime) -> str:
    """`2026-12-01T09:00:00Z`; what is below a second is cut off."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
