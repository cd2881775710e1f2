"""Tables for people and one JSON document for programs."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.comparison import Comparison, Target
from benchmarks.results import Series
from benchmarks.server import Server

_NOISY = 0.15  # share of one processor taken by unrelated programs above which a line is marked


def headline(server: Server) -> str:
    facts = ", ".join(f"{name} {value}" for name, value in server.facts.items())
    return f"{os.cpu_count()} processors, {platform.system()}, Python {platform.python_version()}; PostgreSQL: {facts}"


def main_table(lines: Sequence[Comparison]) -> str:
    header = ("work", "ours", "raw", "ratio", "first level", "reached", "goal", "reached")
    return _table(header, [_main_row(line) for line in lines])


def _main_row(line: Comparison) -> tuple[str, ...]:
    return (
        f"{line.work}{' (noisy)' if _is_noisy(line) else ''}",
        f"{_number(line.ours.median)} {line.unit}".strip(),
        "" if line.raw is None else f"{_number(line.raw.median)} {line.unit}".strip(),
        "" if line.ratio is None else f"{line.ratio:.2f}",
        *_verdict(line, line.first),
        *_verdict(line, line.goal),
    )


def _verdict(line: Comparison, target: Target | None) -> tuple[str, str]:
    return ("", "") if target is None else (target.text, "yes" if target.reached(line) else "NO")


def detail_table(lines: Sequence[Comparison]) -> str:
    header = ("work", "side", "median", "lowest", "highest", "also", "client µs/task", "server µs/task", "others")
    rows = [
        _detail_row(line.work, side, series)
        for line in lines
        for side, series in (("ours", line.ours), ("raw", line.raw))
        if series is not None
    ]
    return _table(header, rows)


def _detail_row(work: str, side: str, series: Series) -> tuple[str, ...]:
    also = series.samples[0].also
    return (
        work,
        side,
        _number(series.median),
        _number(series.lowest),
        _number(series.highest),
        ", ".join(f"{name} {_number(series.also(name))}" for name in also),
        _optional(series.microseconds("client"), "{:.1f}"),
        _optional(series.microseconds("server"), "{:.1f}"),
        _optional(series.others, "{:.0%}"),
    )


def as_json(server: Server, lines: Sequence[Comparison]) -> str:
    """Every single repetition."""
    return json.dumps({"server": server.facts, "lines": [_json_line(line) for line in lines]}, indent=1)


def write_json(path: Path, server: Server, lines: Sequence[Comparison]) -> None:
    path.write_text(as_json(server, lines), encoding="utf-8")


def _json_line(line: Comparison) -> dict[str, object]:
    sides = {"ours": line.ours, "raw": line.raw}
    return {
        "work": line.work,
        "unit": line.unit,
        "ratio": line.ratio,
        "first": None if line.first is None else {"text": line.first.text, "reached": line.first.reached(line)},
        "goal": None if line.goal is None else {"text": line.goal.text, "reached": line.goal.reached(line)},
        "samples": {side: [asdict(s) for s in series.samples] for side, series in sides.items() if series is not None},
    }


def _is_noisy(line: Comparison) -> bool:
    return any((series.others or 0.0) > _NOISY for series in (line.ours, line.raw) if series is not None)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _optional(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    everything = [header, *rows]
    widths = [max(len(row[column]) for row in everything) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in everything
    )
