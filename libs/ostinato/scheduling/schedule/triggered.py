"""`triggered`: never by time, only by triggers from outside."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class TriggeredSchedule:
    text: str = "triggered"

    is_absolute: ClassVar[bool] = True

    def next_after(self, after: datetime, *, last_rewind_at: datetime | None = None) -> None:  # noqa: ARG002
        return None
