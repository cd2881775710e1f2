"""Pages of answers: as many items as were asked for, fewer if they would not fit into what clients accept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from google.protobuf.message import Message

from ostinato.auth.page_token import Cursor, PageTokens
from ostinato_api.request_checks import Page

# Clients of gRPC take messages up to 4 MiB unless told otherwise.
MAX_PAGE_BYTES = 3 * 1024 * 1024

T = TypeVar("T")
M = TypeVar("M", bound=Message)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def cut_page(
    page: Page, tokens: PageTokens, found: Sequence[T], show: Callable[[T], M], cursor_of: Callable[[T], Cursor]
) -> tuple[list[M], str]:
    """What is shown of `found`, which is one more than the page if there are more, and the token of the next page."""
    shown: list[M] = []
    size = 0
    for item in found[: page.limit]:
        message = show(item)
        size += message.ByteSize()
        if shown and size > MAX_PAGE_BYTES:
            break
        shown.append(message)
    if len(shown) == len(found):
        return shown, ""
    return shown, tokens.make(page.listing, cursor_of(found[len(shown) - 1]))


def to_micros(at: datetime) -> int:
    """An instant as a cursor keeps it, exactly."""
    return (at - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    return _EPOCH + micros * _MICROSECOND
