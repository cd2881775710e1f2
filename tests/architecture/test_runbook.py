"""docs/runbook.md speaks of log lines, metrics and error reasons that exist."""

from __future__ import annotations

import re
from functools import cache

from tests.architecture.source_tree import own_sources, read, string_constants

RUNBOOK = read("docs/runbook.md")


def section(title: str) -> str:
    return RUNBOOK.partition(f"## {title}")[2].partition("\n## ")[0]


@cache
def code_texts() -> str:
    """Every string of the code, placeholders as `…`."""
    texts = (re.sub(r"%[\w.]+|\{\}", "…", text) for source in own_sources() for _, text in string_constants(source))
    return "\n".join(texts)


def unknown_lines(table: str) -> list[str]:
    """Log lines of a table's first column that no string of the code contains."""
    cells = re.findall(r"^\| (.+?) \|", table, re.MULTILINE)
    lines = [line for cell in cells for line in cell.split(", ") if cell not in {"line", "---"}]
    return [line for line in lines if any(part not in code_texts() for part in line.split("…") if len(part) > 3)]


def test_every_log_line_is_written_somewhere() -> None:
    table = section("What the logs say")
    assert table.count("\n|") > 20
    assert unknown_lines(table.replace("rpc with code INTERNAL, http error", "http error")) == []


def test_a_log_line_that_nobody_writes_is_found() -> None:
    assert unknown_lines("| the moon … is full | x | y |\n") == ["the moon … is full"]


def test_every_metric_exists() -> None:
    named = {name.removesuffix("_total") for name in re.findall(r"`(ostinato_\w+)(?:\{[^}]*\})?`", RUNBOOK)}
    assert len(named) > 6
    assert [name for name in sorted(named) if name not in code_texts()] == []


def test_every_error_reason_exists() -> None:
    reasons = re.findall(r"^\| ([A-Z]+_[A-Z_]+) \|", RUNBOOK, re.MULTILINE)
    assert len(reasons) > 7
    assert [reason for reason in reasons if reason not in code_texts()] == []
