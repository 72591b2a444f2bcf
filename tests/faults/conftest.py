"""One site for each database, and the books of every round, printed at the end."""

import os
import resource
from collections.abc import Iterator
from typing import Any

import pytest

from tests.faults.account import HEAD
from tests.faults.site import Site

ROWS: list[tuple[object, ...]] = []
SEED = int(os.environ.get("BRIDGE_FAULTS_SEED", "7"))


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    if not os.environ.get("BRIDGE_FAULTS"):
        pytest.skip("set BRIDGE_FAULTS=short or long (make faults)")
    if not hasattr(resource, "prlimit"):
        pytest.skip("limits of another process and /proc are Linux's")
    made = Site(request.param, workers=2, seed=SEED)
    yield made
    made.close()


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
