"""Who calls: an identity is `kind:value`, such as `user:ana@shop.example`.

In dev mode a caller simply says who it is; the services then listen on loopback only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NewType

from ostinato.errors import Unauthenticated

Identity = NewType("Identity", str)

# Metadata in which a caller names itself in dev mode.
DEV_USER_METADATA = "x-ostinato-user"
DEV_DEFAULT_USER = Identity("user:dev@localhost")
MAX_IDENTITY_BYTES = 200

_IDENTITY = re.compile(r"[a-z][a-z0-9_-]{0,30}:[^\s\x00-\x1f\x7f]+")


def parse_identity(text: str) -> Identity:
    """Raises ValueError, whose text says the rule."""
    if len(text.encode()) > MAX_IDENTITY_BYTES or not _IDENTITY.fullmatch(text):
        raise ValueError(f"must be KIND:VALUE such as user:ana@shop.example, at most {MAX_IDENTITY_BYTES} bytes")
    return Identity(text)


def dev_identity(claims: Sequence[str | bytes]) -> Identity:
    """`claims` are the values of `DEV_USER_METADATA`; none means the default user.

    Raises Unauthenticated for a malformed one, or for more than one.
    """
    if not claims:
        return DEV_DEFAULT_USER
    if len(claims) > 1 or not isinstance(claims[0], str):
        raise Unauthenticated(f"{DEV_USER_METADATA} must be given once, as text")
    try:
        return parse_identity(claims[0])
    except ValueError as error:
        raise Unauthenticated(f"{DEV_USER_METADATA} {error}") from None
