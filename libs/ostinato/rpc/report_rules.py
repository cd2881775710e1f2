"""What running work may say about itself, whichever way it comes: notifications and appended log lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ostinato.errors import Violation

MAX_MESSAGE_ID_BYTES = 200
MAX_LOG_LINES = 1000
MAX_LOG_LINE_BYTES = 4 * 1024
MAX_LOG_BYTES = 512 * 1024


def message_id_violations(message_id: str, path: str = "message_id") -> Iterator[Violation]:
    yield from too_long(path, message_id, MAX_MESSAGE_ID_BYTES)


def log_violations(lines: Sequence[str], path: str) -> Iterator[Violation]:
    if len(lines) > MAX_LOG_LINES:
        yield Violation(path, f"must be at most {MAX_LOG_LINES} lines")
        return
    for number, line in enumerate(lines):
        yield from too_long(f"{path}[{number}]", line, MAX_LOG_LINE_BYTES)
    if sum(len(line.encode()) for line in lines) > MAX_LOG_BYTES:
        yield Violation(path, f"must be at most {MAX_LOG_BYTES} bytes together")


def too_long(path: str, text: str, limit: int) -> Iterator[Violation]:
    # Most texts are short: a character takes at most four bytes.
    if len(text) * 4 > limit and len(text.encode()) > limit:
        yield Violation(path, f"must be at most {limit} bytes")
