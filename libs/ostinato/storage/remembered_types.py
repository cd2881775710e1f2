"""A connection that asks the server about a built-in type only if no connection of this process did before.

The driver asks per connection and array type, by a recursive query of several milliseconds: 30 to 100 ms until a
fresh connection has run an engine's statements once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import asyncpg

from ostinato.storage.transaction import Row

_FIRST_OWN_OID = 16384  # below are types that come with PostgreSQL, the same in every database and release


@dataclass(frozen=True, slots=True)
class _NothingRun:
    """Stands for the statement that asked: the driver wants to know whether it displaced an unnamed one."""

    name: str = "none"


_NOTHING_RUN = _NothingRun()


class RememberingConnection(asyncpg.Connection):
    """Overrides what the driver calls for unknown types. If a release stops calling it, it asks as always."""

    __slots__ = ()
    _remembered: ClassVar[dict[frozenset[int], list[Row]]] = {}

    async def _introspect_types(
        self,
        typeoids: Iterable[int],
        timeout: float | None,  # noqa: ASYNC109 - the driver's signature
    ) -> tuple[list[Row], Any]:
        wanted = frozenset(typeoids)
        if (known := self._remembered.get(wanted)) is not None:
            return known, _NOTHING_RUN
        found: tuple[list[Row], Any] = await super()._introspect_types(wanted, timeout)  # type: ignore[misc]
        if max(wanted) < _FIRST_OWN_OID:
            self._remembered[wanted] = found[0]
        return found
