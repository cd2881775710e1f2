"""Of tests that are many and alike CI takes a third, always the same one; `make test-walks` takes all."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")

EVERY = os.environ.get("OSTINATO_TEST_EVERY_WALK") == "1"


def ci_share(cases: Iterable[T]) -> list[T]:
    return list(cases) if EVERY else list(cases)[::3]
