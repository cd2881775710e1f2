"""Pages of a sorted list. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from ostinato.localcloud.page_tokens import encode_page_token, page_size, parse_page_token

LONGEST_PAGE = 1000

T = TypeVar("T")


def page_of(items: Sequence[T], name: Callable[[T], str], *, of: str, size: int, token: str) -> tuple[list[T], str]:
    """The items after those that the token's page ended with, and the token of the next page: "" at the end."""
    after = parse_page_token(of, token) or ""
    most = page_size(size, LONGEST_PAGE)
    following = [item for item in items if name(item) > after]
    page = following[:most]
    return page, encode_page_token(of, name(page[-1])) if len(following) > most else ""
