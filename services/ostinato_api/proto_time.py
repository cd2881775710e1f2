"""Instants in answers."""

from __future__ import annotations

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp


def set_time(field: Timestamp, at: datetime | None) -> None:
    """Leaves the field unset for None."""
    if at is not None:
        field.FromDatetime(at)
