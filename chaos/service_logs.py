"""What the services logged, counted by kind of line; and the lines that tell of a bug rather than of a fault."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

# Ids, addresses and times differ from line to line.
_VARIABLE = re.compile(r"\b[0-9a-f]{12,}\b|\d+(\.\d+)?")
# The reconciler's word for work that had lost its task.
# What a process says after it was frozen.
_HARMLESS = ("lost its lease",)
_NEVER = ("were set going again", "unexpectedly")
_NOT_OF_SERVICES = ("postgres.log", "chaos.log")
_LOUD = ("warning", "error", "critical")


def read_logs(folder: Path) -> tuple[Counter[str], list[str]]:
    """(loud lines by level and text with their numbers cut out, lines that should never be written)."""
    counted: Counter[str] = Counter()
    bugs: list[str] = []
    for path in sorted(folder.glob("*.log")):
        if path.name in _NOT_OF_SERVICES:
            continue
        for line in _lines(path):
            if line.get("level") in _LOUD:
                counted[f"{line['level']}: {_VARIABLE.sub('#', line['event'])[:160]}"] += 1
            if _tells_of_a_bug(line):
                bugs.append(f"{path.name}: {line['event']} {line.get('exception', '')[-600:]}".strip())
    return counted, bugs


def _lines(path: Path) -> Iterator[dict[str, str]]:
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            yield json.loads(text)
        except ValueError:
            # Half a line is what a killed process leaves; whole ones come from whoever does not log but print.
            if not text.lstrip().startswith("{"):
                yield {"level": "critical", "event": text}


def _tells_of_a_bug(line: dict[str, str]) -> bool:
    if any(part in line["event"] for part in _HARMLESS):
        return False
    loud = "exception" in line or line.get("level") in ("error", "critical")
    return loud or any(part in line["event"] for part in _NEVER)
