"""A trial of partitions by month on PostgreSQL (docs/adr/0011): `python -m bench.partitions [PURCHASES]`.

Fills a ledger with a year of purchases, copies events, deliveries and attempts into tables that are partitioned by ranges of their
IDs, with the unique keys in tables of their own, and compares both. IDs ascend with time, so a range of them is a month.
"""

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import psycopg

from bench import year
from bench.parts import Parts
from bench.table import Row, median, number, show

ROUNDS = 30
GROUP = 20


@dataclass(frozen=True)
class Partitioned:
    """moment: when a row was made, in milliseconds. keys: the unique columns, which go into a table of their own."""

    table: str
    moment: str
    keys: tuple[str, ...] = ()


TABLES = (
    Partitioned("events", "received_at", ("event_key",)),
    Partitioned("deliveries", "created_at", ("conversion_id", "destination")),
    Partitioned("attempts", "started_at"),
)
PAGES = {
    "newest 50 events": "SELECT id, outcome FROM {events} ORDER BY id DESC LIMIT 50",
    "newest 50 dead": "SELECT id FROM {deliveries} WHERE status = 'dead' ORDER BY id DESC LIMIT 50",
    "attempts of a delivery": "SELECT id FROM {attempts} WHERE delivery_id = (SELECT max(id) - 999 FROM {deliveries}) ORDER BY id",
    "what is due": (
        "SELECT id FROM {deliveries} WHERE destination = 'main' AND due_at <= 9e15 AND claim IS NULL ORDER BY due_at LIMIT 50"
    ),
}


def measure(parts: Parts, purchases: int) -> Iterator[Row]:
    url = parts.database("PostgreSQL")
    year.fill(url, purchases)
    with psycopg.connect(url, autocommit=True) as server:
        for table in TABLES:
            seconds = _timed(lambda table=table: partition(server, table))  # type: ignore[misc]
            yield Row(f"{table.table}: copied into partitions", number(seconds, "s"))
        server.execute("ANALYZE")
        both = ({table.table: f"{table.table}{suffix}" for table in TABLES} for suffix in ("_parts", ""))
        new, old = both
        for name, statement in PAGES.items():
            times = [_ms(server, statement.format(**tables)) for tables in (new, old)]
            yield Row(f"{name} (floor: one table)", number(times[0] * 1000, "µs"), number(times[1] * 1000, "µs"))
        inserted = [_insert(server, new["events"], keyed=True), _insert(server, old["events"], keyed=False)]
        yield Row(f"insert {GROUP} events (floor: one table)", number(inserted[0], "ms"), number(inserted[1], "ms"))
        yield from _oldest_month(server)


def partition(server: "psycopg.Connection[Any]", table: Partitioned) -> None:
    """Copies a table. Its primary key is the ID, which is what it is partitioned by."""
    new = f"{table.table}_parts"
    run(server, f"CREATE TABLE {new} (LIKE {table.table} INCLUDING DEFAULTS, PRIMARY KEY (id)) PARTITION BY RANGE (id)")
    month = f"date_trunc('month', to_timestamp({table.moment} / 1000.0))"
    begins = [
        row[0] for row in server.execute(f"SELECT min(id) FROM {table.table} GROUP BY {month} ORDER BY 1").fetchall()
    ]
    edges = ["MINVALUE", *map(str, begins[1:]), "MAXVALUE"]
    for number_, (start, end) in enumerate(pairwise(edges)):
        run(server, f"CREATE TABLE {new}_{number_} PARTITION OF {new} FOR VALUES FROM ({start}) TO ({end})")
    if table.keys:
        named = ", ".join(table.keys)
        run(server, f"CREATE TABLE {table.table}_keys AS SELECT {named}, id FROM {table.table}")
        run(server, f"ALTER TABLE {table.table}_keys ADD PRIMARY KEY ({named})")
    run(server, f"INSERT INTO {new} SELECT * FROM {table.table}")
    indexes = server.execute(
        "SELECT indexdef FROM pg_indexes WHERE tablename = %s AND indexdef NOT LIKE 'CREATE UNIQUE%%'", (table.table,)
    )
    for (definition,) in indexes.fetchall():
        run(server, definition.replace(" INDEX ", " INDEX p_", 1).replace(f".{table.table} ", f".{new} ", 1))


def _insert(server: "psycopg.Connection[Any]", table: str, *, keyed: bool) -> float:
    """ms for a group of rows that differ from the newest one in ID and key alone, in one transaction."""
    names = [
        row[0]
        for row in server.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0", (table,)
        )
    ]
    rest = [name for name in names if name not in ("id", "event_key")]
    newest = server.execute(f"SELECT max(id) FROM {table}").fetchone()
    assert newest is not None
    times = []
    for turn in range(ROUNDS):
        first = newest[0] + 1 + turn * GROUP
        rows = (
            f"INSERT INTO {table} (id, event_key, {', '.join(rest)}) SELECT {first} + n, 'trial:' || md5(({first} + n)::text),"
            f" {', '.join(rest)} FROM {table}, generate_series(0, {GROUP - 1}) AS n WHERE id = {newest[0]}"
        )
        keys = (
            f"INSERT INTO events_keys SELECT 'trial:' || md5(({first} + n)::text), {first} + n"
            f" FROM generate_series(0, {GROUP - 1}) AS n"
        )
        began = time.perf_counter()
        with server.transaction():
            if keyed:
                run(server, keys)
            run(server, rows)
        times.append((time.perf_counter() - began) * 1000)
    return median(times)


def _oldest_month(server: "psycopg.Connection[Any]") -> Iterator[Row]:
    """Retention: the events of the oldest month go. Their keys stay in either case, as ADR 6 wants."""
    edge = server.execute("SELECT max(id) FROM events_parts_0").fetchone()
    assert edge is not None
    dropped = _timed(lambda: run(server, "DROP TABLE events_parts_0"))
    deleted = _timed(lambda: run(server, f"DELETE FROM events WHERE id <= {edge[0]}"))
    vacuumed = _timed(lambda: run(server, "VACUUM events"))
    yield Row(
        "remove the oldest month of events (floor: DELETE)", number(dropped * 1000, "ms"), number(deleted * 1000, "ms")
    )
    yield Row("  and the VACUUM that a DELETE needs", "", number(vacuumed * 1000, "ms"))


def run(server: "psycopg.Connection[Any]", statement: str) -> None:
    server.execute(statement.encode())


def _ms(server: "psycopg.Connection[Any]", statement: str) -> float:
    times = []
    for _ in range(ROUNDS):
        times.append(_timed(lambda: server.execute(statement.encode()).fetchall()) * 1000)
    return median(times)


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    with Parts() as parts:
        print(show(list(measure(parts, int(sys.argv[1]) if len(sys.argv) > 1 else 200_000))))


if __name__ == "__main__":
    main()
