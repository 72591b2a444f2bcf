"""python -m bench: measures and prints the table. Loopback addresses only; everything it starts it ends."""

import argparse
import os
import platform
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import encryption, flames, forwarding, intake, long, million, outage, pages, prune, scaling, whole
from bench.parts import Database, Parts
from bench.table import Row, show

NAMES = ("intake", "encryption", "forwarding", "workers", "whole", "outage", "million", "pages", "long", "prune")
QUICK = ("intake", "forwarding", "whole")
"""The main rows."""
DATABASES: tuple[Database, ...] = ("SQLite", "PostgreSQL")


def chosen(options: argparse.Namespace) -> dict[str, Callable[[Parts], Iterator[Row]]]:
    """What is to be measured, by name, in the order of the table."""
    quick = options.quick
    rounds, seconds = (3, 2.0) if quick else (5, 4.0)
    backlog = 6000 if quick else 12_000
    both: tuple[Database, ...] = tuple(options.database or DATABASES)
    databases: tuple[Database, ...] = both if options.database or not quick else ("SQLite",)
    everything: dict[str, Callable[[Parts], Iterator[Row]]] = {
        "intake": lambda parts: intake.measure(parts, rounds=rounds, seconds=seconds, databases=both),
        "encryption": lambda parts: encryption.measure(parts, rounds=rounds, seconds=seconds, databases=both),
        "forwarding": lambda parts: forwarding.measure(parts, rounds=rounds, backlog=backlog, databases=databases),
        "workers": lambda parts: scaling.measure(parts, rounds=1 if quick else 3, backlog=backlog),
        "whole": lambda parts: whole.measure(parts, seconds=5.0 if quick else 20.0),
        "outage": lambda parts: outage.measure(parts, backlog=10_000 if quick else 100_000, databases=both),
        "million": lambda parts: million.measure(
            parts,
            rounds=rounds,
            seconds=seconds,
            count=options.purchases or (100_000 if quick else million.PURCHASES),
            databases=both,
        ),
        "pages": lambda parts: pages.measure(
            parts,
            rows=options.purchases or (100_000 if quick else 1_000_000),
            rounds=10,
            databases=both,
        ),
        "long": lambda parts: long.measure(
            parts, count=options.purchases or (5000 if quick else 100_000), rate=options.rate, databases=both
        ),
        "prune": lambda parts: prune.measure(
            parts, count=options.purchases or (10_000 if quick else 200_000), databases=both
        ),
    }
    if options.profile:
        folder = Path(options.profile)
        return {"profile": lambda parts: flames.measure(parts, folder, seconds=4 if quick else 10)}
    return {name: everything[name] for name in options.only or (QUICK if quick else NAMES)}


def main() -> int:
    """Exit status 1 where something could not be measured; a missed aim is reported in the table alone."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shorter rounds, the main rows: some 80 seconds")
    parser.add_argument("--only", action="append", choices=NAMES, help="this part alone; may be repeated")
    parser.add_argument(
        "--purchases",
        type=int,
        help="how many purchases `million` and `pages` fill a ledger with (default: 1,000,000); `long` takes, `prune` removes",
    )
    parser.add_argument(
        "--rate", type=float, default=long.A_SECOND, help="webhooks a second of the part `long` (default: %(default)g)"
    )
    parser.add_argument(
        "--database",
        action="append",
        choices=DATABASES,
        help="measure on this database alone (intake, encryption, forwarding, outage, million, pages, long, prune)",
    )
    parser.add_argument(
        "--profile",
        nargs="?",
        const="profile",
        metavar="FOLDER",
        help="show the time of each thread, write flame graphs into FOLDER (default: profile), and measure nothing else",
    )
    options = parser.parse_args()
    warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR")
    began, rows, failures = time.monotonic(), list[Row](), list[str]()
    for name, measure in chosen(options).items():
        with Parts() as parts:
            try:
                for row in measure(parts):
                    rows.append(row)
                    print(
                        f"{time.monotonic() - began:6.0f} s  {row.name}: {row.bridge or row.floor}",
                        file=sys.stderr,
                        flush=True,
                    )
            except Exception as error:
                failures.append(f"{name} could not be measured: {error}")
    print(f"\n{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}\n")
    print(show(rows))
    for failure in failures:
        print(failure)
    print(f"\nIt took {time.monotonic() - began:.0f} s.")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
