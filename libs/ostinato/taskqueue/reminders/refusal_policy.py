"""What becomes of a reminder whose request is refused: tried again less and less often, in the end parked. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class RefusalPolicy:
    """`spacing` doubles with each refusal up to `longest_spacing`; a refusal `park_after` after the first one parks.

    The database's clock decides.
    """

    spacing: timedelta = timedelta(seconds=15)
    longest_spacing: timedelta = timedelta(minutes=10)
    park_after: timedelta = timedelta(hours=1)
