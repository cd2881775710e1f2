"""Tables and records for people: no colours where there is no terminal, and only columns that may be cut are cut."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass

import click
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from ostinato.cli.formatting import printable

# Where the output goes to no terminal.
LINE_WIDTH = 100
_GAP = 2
_STYLES = {
    "SUCCEEDED": "green",
    "FAILED": "red",
    "TIMED_OUT": "red",
    "ABORTED": "yellow",
    "PAUSED": "yellow",
    "DISABLED": "dim",
    "RUNNING": "cyan",
    "STARTING": "cyan",
    "RETRYING": "yellow",
}


@dataclass(frozen=True, slots=True)
class Column:
    """`shrinks_to`: how narrow it may become to fit the line; 0: it is never cut."""

    title: str
    right: bool = False
    shrinks_to: int = 0


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = _fitted(columns, [_natural_width(column, number, cells) for number, column in enumerate(columns)])
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for column, width in zip(columns, widths, strict=True):
        table.add_column(
            column.title, justify="right" if column.right else "left", no_wrap=True, overflow="ellipsis", width=width
        )
    for row in cells:
        table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
    _print(table, sum(widths) + _GAP * len(widths))


def print_record(fields: Sequence[tuple[str, str]]) -> None:
    """One line per field that has a value."""
    filled = [(name, printable(value)) for name, value in fields if value]
    width = max((len(name) for name, _ in filled), default=0) + _GAP
    lines = [Text.assemble((name.ljust(width), "bold"), (value, _STYLES.get(value, ""))) for name, value in filled]
    _print(Text("\n").join(lines), max((line.cell_len for line in lines), default=1))


def note(text: str) -> None:
    """For the person at the terminal; not part of the output."""
    click.echo(text, err=True)


def _natural_width(column: Column, number: int, cells: Sequence[Sequence[str]]) -> int:
    return max([cell_len(column.title), *(cell_len(row[number]) for row in cells)])


def _fitted(columns: Sequence[Column], widths: Sequence[int]) -> list[int]:
    fitted = list(widths)
    excess = sum(widths) + _GAP * (len(widths) - 1) - shutil.get_terminal_size((LINE_WIDTH, 24)).columns
    for number, column in enumerate(columns):
        if column.shrinks_to and excess > 0:
            fitted[number] = max(fitted[number] - excess, min(column.shrinks_to, fitted[number]))
            excess -= widths[number] - fitted[number]
    return fitted


def _print(what: RenderableType, width: int) -> None:
    # Wide enough that nothing wraps: a terminal folds by itself, and a program reads lines.
    console = Console(width=width, highlight=False, markup=False, emoji=False)
    with console.capture() as captured:
        console.print(what)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))
