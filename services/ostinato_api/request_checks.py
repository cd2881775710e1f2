"""Reads the fields of a request and collects everything that is wrong with them.

Each method returns a usable value even when it notes a violation, so that one answer tells all mistakes; the
command calls `finish` before it believes any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol, TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from ostinato.auth.page_token import Cursor, PageTokens
from ostinato.errors import InvalidArgument, Violation
from ostinato.jobstore.job_store import JobKey
from ostinato.scheduling.invocation_id import InvocationId
from ostinato.scheduling.names import ResourceNameError, parse_invocation_name, parse_job_name, parse_project_name

DEFAULT_PAGE = 100
MAX_PAGE = 500
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class InvocationKey:
    job: JobKey
    id: InvocationId


@dataclass(frozen=True, slots=True)
class Page:
    """`cursor` is where the page begins, None for the first one. `listing` is what its tokens are good for."""

    listing: tuple[str, ...]
    limit: int
    cursor: Cursor | None


class PagedRequest(Protocol):
    page_size: int
    page_token: str


class RequestChecks:
    """One pass over one request."""

    def __init__(self) -> None:
        self._violations: list[Violation] = []

    def refuse(self, path: str, rule: str) -> None:
        self._violations.append(Violation(path, rule))

    def refuse_all(self, violations: Iterable[Violation]) -> None:
        self._violations += violations

    def finish(self) -> None:
        """Raises InvalidArgument with all that was noted."""
        if self._violations:
            raise InvalidArgument(self._violations)

    def project(self, name: str, path: str = "name") -> str:
        return self._name(parse_project_name, name, path, "-")

    def job(self, name: str, path: str = "name") -> JobKey:
        return self._name(parse_job_name, name, path, ("", ""))

    def invocation(self, name: str, path: str = "name") -> InvocationKey:
        project, job, invocation_id = self._name(parse_invocation_name, name, path, ("", "", InvocationId(0)))
        return InvocationKey((project, job), invocation_id)

    def text(self, text: str, path: str, *, max_bytes: int) -> str:
        """Text that the database can keep."""
        if len(text.encode()) > max_bytes:
            self.refuse(path, f"must be at most {max_bytes} bytes")
        if "\0" in text:
            self.refuse(path, "must not contain NUL")
        return text

    def at_most(self, items: Sequence[object], path: str, most: int) -> None:
        if len(items) > most:
            self.refuse(path, f"must be at most {most}")

    def instant(self, message: Message, field: str) -> datetime | None:
        """The timestamp in `field`, None if it is not set. Below a microsecond it is cut off."""
        if not message.HasField(field):
            return None
        timestamp: Timestamp = getattr(message, field)
        try:
            return timestamp.ToDatetime(tzinfo=UTC)
        except (ValueError, OverflowError):
            self.refuse(field, "must be a timestamp between the years 1 and 9999")
            return None

    def limit(self, limit: int, path: str = "page_size") -> int:
        if limit < 0:
            self.refuse(path, "must not be negative")
        return min(limit, MAX_PAGE) if limit > 0 else DEFAULT_PAGE

    def page(
        self,
        tokens: PageTokens,
        request: PagedRequest,
        listing: Sequence[str],
        shape: Sequence[type[int | str]],
    ) -> Page:
        """`listing`: the method and its parent; `shape`: the types in its cursors."""
        limit = self.limit(request.page_size)
        cursor: Cursor | None = None
        if request.page_token:
            try:
                cursor = tokens.read(listing, request.page_token, shape)
            except InvalidArgument as error:
                self._violations += error.violations
        return Page(tuple(listing), limit, cursor)

    def resumed(
        self, tokens: PageTokens, token: str, stream: Sequence[str], shape: Sequence[type[int | str]]
    ) -> Cursor | None:
        """Where a stream goes on; None: from its beginning. `stream`: the method and what else must be the same."""
        if not token:
            return None
        try:
            return tokens.read(stream, token, shape)
        except InvalidArgument:
            self.refuse("resume_token", "must be the resume_token of the same stream, unaltered")
            return None

    def _name(self, parse: Callable[[str], T], name: str, path: str, instead: T) -> T:
        try:
            return parse(name)
        except ResourceNameError as error:
            self.refuse(path, str(error))
            return instead
