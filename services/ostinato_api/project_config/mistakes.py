"""What is wrong with a config text, collected while it is read."""

from __future__ import annotations

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
