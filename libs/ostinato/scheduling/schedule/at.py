"""`at 2026-12-01T09:00:00Z`: once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class AtSchedule:
    text: str
    instant: datetime

    is_absolute: ClassVar[bool] = True

    def next_after(self, after: datetime, *, last_rewind_at: datetime | None = None) -> datetime | None:  # noqa: ARG002
        return self.instant if after < self.instant else None
