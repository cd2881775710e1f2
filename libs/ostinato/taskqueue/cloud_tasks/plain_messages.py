"""Messages of Cloud Tasks as plain protobuf ones: what the wire carries, far cheaper than the client's wrappers.

To the type checker they are the wrappers, whose fields have types; times and durations are plain messages, too.
"""

from __future__ import annotations

from typing import TypeVar, cast

from google.cloud import tasks_v2

W = TypeVar("W")


def _plain(wrapper: type[W]) -> type[W]:
    return cast("type[W]", wrapper.pb())  # type: ignore[attr-defined]


CreateTaskRequest = _plain(tasks_v2.CreateTaskRequest)
HttpRequest = _plain(tasks_v2.HttpRequest)
OidcToken = _plain(tasks_v2.OidcToken)
Task = _plain(tasks_v2.Task)
