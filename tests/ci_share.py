"""Of tests that are many and alike, or long, CI takes a part, always the same one; `make test-more` takes all."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")

EVERYTHING = os.environ.get("OSTINATO_TEST_EVERYTHING") == "1"


def ci_share(cases: Iterable[T]) -> list[T]:
    return list(cases) if EVERYTHING else list(cases)[::3]
