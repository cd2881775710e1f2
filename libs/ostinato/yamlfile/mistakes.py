"""What is wrong with a file, collected while it is read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from ostinato.errors import InvalidArgument, Violation

# Nobody reads more at once, and an answer holds fewer.
MOST = 1000


class Mistakes:
    """Grows; gives up on a text that is nothing but mistakes."""

    def __init__(self) -> None:
        self.violations: list[Violation] = []

    def note(self, path: str, rule: str) -> None:
        """Raises InvalidArgument with all of them when there are too many."""
        self.violations.append(Violation(path, rule))
        if len(self.violations) == MOST:
            raise InvalidArgument(self.violations)


def not_caused_by(unreadable: Sequence[Violation], broken: Iterable[Violation]) -> list[Violation]:
    """Without those about a value that could not be read in the first place."""
    paths = {violation.path for violation in unreadable}
    return [violation for violation in broken if paths.isdisjoint(_path_and_parents(violation.path))]


def _path_and_parents(path: str) -> Iterator[str]:
    yield path
    for mark in re.finditer(r"[.\[]", path):
        yield path[: mark.start()]
