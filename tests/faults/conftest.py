"""One site for each database, and the books of every round, printed at the end."""

import os
import resource
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.faults.account import HEAD
from tests.faults.site import Site

ROWS: list[tuple[object, ...]] = []
LONG = os.environ.get("BRIDGE_FAULTS") == "long"
SEED = int(os.environ.get("BRIDGE_FAULTS_SEED", "7"))


@pytest.fixture(scope="module")
def site_of() -> Iterator[Callable[[str], Site]]:
    """The site of a database, kept from round to round until another database is asked for."""
    if not hasattr(resource, "prlimit"):
        pytest.skip("limits of another process and /proc are Linux's")
    kept: list[Site] = []

    def find(database: str) -> Site:
        if kept and kept[0].database != database:
            kept.pop().close()
        if not kept:
            kept.append(Site(database, workers=3 if LONG else 2, seed=SEED))
        return kept[0]

    yield find
    for site in kept:
        site.close()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if not ROWS:
        return
    terminalreporter.section("faults")
    rows = [tuple(str(cell) for cell in row) for row in (HEAD, *ROWS)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEAD))]
    for row in rows:
        cells = [cell.ljust(w) if i < 2 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))]
        terminalreporter.write_line("  ".join(cells))
    names = ("events", "posted", "owed", "delivered", "dead", "lost", "doubled")
    sums = {name: sum(int(row[HEAD.index(name)]) for row in ROWS) for name in names}  # type: ignore[call-overload]
    terminalreporter.write_line("in all: " + ", ".join(f"{name} {count:,}" for name, count in sums.items()))
