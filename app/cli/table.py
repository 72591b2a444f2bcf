"""Tables for people: nothing is cut off, and what is piped has one line a row."""

import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice

from app.cli.output import say
from app.text import printable

LOOKED_AT = 200
"""Rows whose cells say how wide the columns are; later ones may stick out."""
LEAST_TEXT = 24
"""Columns that the last cell needs beside the others; with less it goes on a line of its own."""
INDENT = "    "


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> int:
    """Prints rows as they come, the last cell being a text of any length; returns how many there were."""
    coming = ([printable(cell) for cell in row] for row in rows)
    first = list(islice(coming, LOOKED_AT))
    if not first:
        return 0
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    # A column that is empty in all rows tells nothing.
    kept = [n for n in range(len(columns)) if len(first) == LOOKED_AT or any(row[n] for row in first)]
    widths = [max(len(columns[n]), *(len(row[n]) for row in first)) for n in kept if n != len(columns) - 1]
    below = width is not None and width - sum(widths) - 2 * len(widths) < LEAST_TEXT
    for line in _lines([columns[n] for n in kept], widths, below=below):
        say(line, bold=True)
    count = 0
    for row in chain(first, coming):
        count += 1
        for line in _lines([row[n] for n in kept], widths, below=below):
            say(line)
    return count


def _lines(cells: Sequence[str], widths: Sequence[int], *, below: bool) -> Iterator[str]:
    padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=False)]
    rest = list(cells[len(widths) :])
    if not below:
        yield "  ".join(padded + rest).rstrip()
        return
    yield "  ".join(padded).rstrip()
    if rest and rest[0]:
        yield INDENT + rest[0]
