"""Tokens that continue a list: opaque to the caller, refused if they are of another list. Pure."""

from __future__ import annotations

import base64
import binascii

from ostinato.errors import InvalidArgument


def encode_page_token(of: str, after: str) -> str:
    """`of` says what is listed, `after` is the key of the last one shown."""
    return base64.urlsafe_b64encode(f"{of}\n{after}".encode()).decode()


def parse_page_token(of: str, token: str) -> str | None:
    """The key after which the page begins; None for the first page. Raises InvalidArgument."""
    if not token:
        return None
    try:
        listed, _, after = base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode().partition("\n")
    except (binascii.Error, UnicodeError):
        listed, after = "", ""
    if listed != of or not after:
        raise InvalidArgument.of("page_token", "must be the next_page_token of the same list")
    return after


def page_size(asked: int, most: int) -> int:
    """Zero asks for as many as possible; so does more than `most`. Raises InvalidArgument."""
    if asked < 0:
        raise InvalidArgument.of("page_size", "must not be negative")
    return min(asked or most, most)
