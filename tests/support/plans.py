"""What a test asks of the plans of statements: that they go by an index."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, event

from app.ledger.engine import Ledger

LARGE = (
    "events",
    "conversions",
    "deliveries",
    "dedupe_keys",
    "identifiers",
    "persons",
    "attempts",
    "conflicts",
    "marks",
    "event_facts",
)
PARTIAL = ("ix_deliveries_due", "ix_deliveries_person_open", "ix_deliveries_claimed", "ix_events_repeated")
"""Indexes that hold few rows of their table."""

COUNTED = r"GROUP BY|COUNT\(\*\) FROM \w+( WHERE \w+ = %s)?$"
SMALL = 10_000
"""PostgreSQL may read a table of so few rows whole."""
WALKED = r"(WHERE 1 = 1|WHERE merged_into IS NULL|WHERE kind IS NULL|events|deliveries) ORDER BY .* LIMIT (\?|\d+)$"
"""Newest first, a limit, and no condition that many rows do not meet: a walk down the primary key ends soon."""


@contextmanager
def watched(ledger: Ledger, *, counting: bool = False, explained: set[str] | None = None) -> Iterator[None]:
    """Explains every statement that runs meanwhile.

    counting: a whole index may be read, but no table. explained: statements that need not be explained again; those of the
    block are added, and there may be none.
    """
    sent: dict[str, Sequence[Any]] = {}

    def note(_connection: object, _cursor: object, statement: str, values: Any, _context: object, many: bool) -> None:
        if isinstance(values, dict):  # SQLAlchemy asks what tables there are
            return
        if re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)", statement):
            sent.setdefault(statement, values[0] if many else values)

    event.listen(ledger.engine, "before_cursor_execute", note)
    try:
        yield
    finally:
        event.remove(ledger.engine, "before_cursor_execute", note)
    if explained is None:
        assert sent
    else:
        sent = {statement: values for statement, values in sent.items() if statement not in explained}
        explained |= sent.keys()
    with ledger.engine.connect() as connection:
        for statement, values in sent.items():
            explain = explain_sqlite if ledger.is_sqlite else explain_postgres
            problems = explain(connection, statement, values, counting)
            assert not problems, f"{problems}\n{statement}"


def explain_sqlite(connection: Connection, statement: str, values: Sequence[Any], counting: bool) -> list[str]:
    plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", tuple(values))]
    aliases = dict(re.findall(r"(?:FROM|JOIN|UPDATE)\s+(\w+)\s+(?:AS\s+)?(\w+)", statement))
    named = {alias: table for table, alias in aliases.items()}
    made_here = set(re.findall(r"(?:CO-ROUTINE|MATERIALIZE) (\w+)", "\n".join(plan)))
    problems = []
    for line in plan:
        found = re.match(r"SCAN (\w+)(.*)", line)
        if not found or named.get(found[1], found[1]) not in LARGE:
            continue
        if found[1] in made_here or any(name in found[2] for name in PARTIAL):
            continue
        if not any("TEMP B-TREE" in each for each in plan) and re.search(WALKED, statement):
            continue
        if re.search(r"SELECT 1 FROM \w+ LIMIT 1$", statement):
            continue
        if counting and "COVERING INDEX" in found[2]:
            continue
        problems.append(line)
    return problems


def explain_postgres(connection: Connection, statement: str, values: Sequence[Any], counting: bool) -> list[str]:
    """By the plan for these values, and by the plan for any: the server goes over to that one when it was asked often."""
    with connection.begin() as transaction:
        plans = [connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", tuple(values)).scalar_one()]
        numbers = iter(range(1, 1000))
        generic = re.sub("%s", lambda _: f"${next(numbers)}", statement)
        cursor = connection.connection.cursor()
        cursor.execute(f"EXPLAIN (GENERIC_PLAN, FORMAT JSON) {generic.replace('%%', '%')}")
        row = cursor.fetchone()
        assert row is not None
        plans.append(row[0])
        cursor.close()
        small = set(
            connection.exec_driver_sql(f"SELECT relname FROM pg_class WHERE reltuples BETWEEN 0 AND {SMALL}").scalars()
        )
        transaction.rollback()
    problems = []
    for (plan,) in plans:
        for node in nodes(plan["Plan"]):
            if node.get("Relation Name") not in set(LARGE) - small:
                continue
            if "hashed SubPlan" in node.get("Filter", "") and "Index Cond" not in node:
                problems.append(f"all of {node['Relation Name']} is read for {node['Filter']}")
            if node["Node Type"] == "Seq Scan":
                if re.search(r"SELECT 1 FROM \w+ LIMIT 1$", statement) or (counting and re.search(COUNTED, statement)):
                    continue  # of counts by status: an index or, where that is as small, the table
                problems.append(f"Seq Scan on {node['Relation Name']}: {node.get('Filter', 'all of it')}")
    return problems


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)
