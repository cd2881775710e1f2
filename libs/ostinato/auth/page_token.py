"""Page tokens: where a listing goes on, signed, and good for that listing only.

A token is base64url (no padding) of: version byte, MAC, cursor as JSON. The MAC covers what the listing is
(method and parent) as well, so a token of another listing, or an altered one, is refused.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence

from ostinato.auth.key_derivation import derive_key
from ostinato.auth.token_text import decode_token, encode_token
from ostinato.errors import InvalidArgument

Cursor = tuple[int | str, ...]

_VERSION = b"\x01"
_MAC_BYTES = 16
_MAX_TOKEN_CHARACTERS = 8192


class PageTokens:
    """Makes and reads the tokens of one deployment: all its processes share `secret`."""

    def __init__(self, secret: bytes) -> None:
        self._key = derive_key(secret, "page-token")

    def make(self, listing: Sequence[str], cursor: Cursor) -> str:
        """`listing` says what is listed: the method, then whatever else must be the same on the next page."""
        text = json.dumps(cursor, separators=(",", ":"), ensure_ascii=False).encode()
        return encode_token(_VERSION + self._mac(listing, text) + text)

    def read(self, listing: Sequence[str], token: str, shape: Sequence[type[int | str]]) -> Cursor:
        """The cursor, whose items have the types of `shape`. Raises InvalidArgument naming `page_token`."""
        raw = _decode(token)
        mac, text = raw[1 : 1 + _MAC_BYTES], raw[1 + _MAC_BYTES :]
        if raw[:1] != _VERSION or not hmac.compare_digest(mac, self._mac(listing, text)):
            raise _refused()
        cursor = tuple(json.loads(text))
        if [type(item) for item in cursor] != list(shape):
            raise _refused()  # signed by us, but by a version that pages differently
        return cursor

    def _mac(self, listing: Sequence[str], text: bytes) -> bytes:
        signed = b"".join(_framed(part.encode()) for part in listing) + _framed(text)
        return hmac.digest(self._key, signed, hashlib.sha256)[:_MAC_BYTES]


def _framed(part: bytes) -> bytes:
    return len(part).to_bytes(4, "big") + part


def _decode(token: str) -> bytes:
    if len(token) > _MAX_TOKEN_CHARACTERS:
        raise _refused()
    try:
        return decode_token(token)
    except ValueError:
        raise _refused() from None


def _refused() -> InvalidArgument:
    return InvalidArgument.of("page_token", "must be the next_page_token of the same listing, unaltered")
