"""Splits an expression into words that remember where they stood."""

from __future__ import annotations

import re
from dataclasses import dataclass

_WORD = re.compile(r"[^ \t]+")


@dataclass(frozen=True, slots=True)
class Word:
    """`column` is 1-based."""

    text: str
    column: int


def split_words(text: str) -> list[Word]:
    """Any run of spaces or tabs separates."""
    return [Word(match[0], match.start() + 1) for match in _WORD.finditer(text)]
