"""Removes what `ostinato up` keeps here, and caches. Refuses while it runs. Needs nothing but Python."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHES = (".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis", ".import_linter_cache", "build", "dist")
EXTERNAL_ROOT = Path("/var/lib/ostinato")


def main() -> None:
    data = Path(os.environ.get("OSTINATO_DATA_DIR") or ROOT / ".ostinato")
    external = external_folder(data / "postgres")
    for lock in (data / "lock", data / "postgres" / "lock", *([external / "lock"] if external else [])):
        refuse_if_held(lock)
    for folder in (data, *([external] if external else []), *(ROOT / name for name in CACHES)):
        remove(folder)


def external_folder(postgres: Path) -> Path | None:
    """Where PostgreSQL's files went when its account can't enter this folder."""
    pointer = postgres / "moved-to"
    if not pointer.exists():
        return None
    folder = Path(pointer.read_text(encoding="utf-8").strip())
    if folder.parent != EXTERNAL_ROOT:
        raise SystemExit(f"{pointer} names {folder}, which is not in {EXTERNAL_ROOT}: left alone")
    return folder


def refuse_if_held(lock: Path) -> None:
    if not lock.exists():
        return
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(f"`ostinato up` is running ({lock} is held): stop it first") from None


def remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
        print(f"Removed {folder}")


if __name__ == "__main__":
    main()
