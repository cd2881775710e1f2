"""What `flags` of a stored task say. Pure."""

from __future__ import annotations

NAMED = 1  # it has a row in tq_name
