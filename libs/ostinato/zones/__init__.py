"""Time zones of the pinned `tzdata` wheel, never of the system, so that all processes agree on them."""

from __future__ import annotations

from ostinato.zones.load_zone import UnknownZoneError, load_zone, tzdata_version

__all__ = ["UnknownZoneError", "load_zone", "tzdata_version"]
