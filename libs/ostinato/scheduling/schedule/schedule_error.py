"""The one error that reading a schedule raises."""

from __future__ import annotations


class ScheduleError(ValueError):
    """The message says where and what is expected. `position` is the 1-based column, where one is to blame."""

    def __init__(self, message: str, *, position: int | None = None) -> None:
        self.position = position
        super().__init__(message)
