"""Files with secrets: readable by nobody but their owner from their first byte on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_private(path: Path, text: str) -> None:
    """Written whole or not at all."""
    scratch = path.with_name(f"{path.name}.new")
    scratch.unlink(missing_ok=True)
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    scratch.rename(path)


@contextmanager
def handed_over(path: Path, text: str, owner: tuple[int, int] | None) -> Iterator[Path]:
    """A private file that lives as long as the block; `owner` is the user and group it is given to."""
    write_private(path, text)
    try:
        if owner is not None:
            os.chown(path, *owner)
        yield path
    finally:
        path.unlink()
