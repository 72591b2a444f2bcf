"""One transaction on the ledger: statements, locks, clock and ids of either database."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Table, inspect
from sqlalchemy.exc import DBAPIError

from app.ledger.inserts import (
    Row,
    Rows,
    array,
    json_insert,
    json_rows,
    json_values,
    parts_of,
    update_by_id,
    values_insert,
    with_json,
    with_values,
)
from app.ledger.placeholders import to_psycopg

if TYPE_CHECKING:
    from app.ledger.sealing.cipher import Cipher

_HOLD_PERSONS = "SELECT id FROM persons WHERE id = ANY(%s::bigint[]) ORDER BY id FOR UPDATE"
_HOLD_CONVERSIONS = "SELECT id FROM conversions WHERE id = ANY(%s::bigint[]) ORDER BY id FOR UPDATE"
_LOCK = (
    "SELECT count(pg_advisory_xact_lock(k)) FROM"
    " (SELECT DISTINCT hashtextextended(n, 0) AS k FROM unnest(%s::text[]) AS n ORDER BY 1) AS sorted"
)
_ENTER = (
    f"SELECT ({_LOCK}), extract(epoch FROM clock_timestamp()),"
    " ARRAY(SELECT nextval('bridge_ids') FROM generate_series(1, %s::int)), set_config('enable_seqscan', 'off', true)"
)
"""What is selected is worked out from left to right: the clock is read, and ids are drawn, once the locks are held."""


_RESERVE = "UPDATE counters SET value = value + ? WHERE name = 'ids' RETURNING value"
_CLOCK = "SELECT extract(epoch FROM clock_timestamp())"


class Tx:
    """An open transaction. Made by Ledger.read and Ledger.write, and used by the thread that opened it.

    connection: SQLAlchemy's own, for schema work; everything else goes through these methods.
    """

    __slots__ = ("_cipher", "_clock", "connection", "is_sqlite")

    def __init__(
        self, connection: Connection, *, is_sqlite: bool, clock: Callable[[], float], cipher: "Cipher | None" = None
    ) -> None:
        self.connection = connection
        self.is_sqlite = is_sqlite
        self._clock = clock
        self._cipher = cipher

    @property
    def for_update(self) -> str:
        """The end of a SELECT that locks its rows until the transaction ends. Empty on SQLite, which has one writer."""
        return "" if self.is_sqlite else " FOR UPDATE"

    @property
    def is_sealed(self) -> bool:
        """Whether the columns of app.ledger.sealing are encrypted, so that statements cannot search them."""
        return self._cipher is not None

    def now(self) -> int:
        """Milliseconds since 1970, by the database's clock, so that all machines agree."""
        if self.is_sqlite:
            return int(self._clock() * 1000)
        seconds = self.connection.exec_driver_sql(_CLOCK).scalar_one()
        return int(float(seconds) * 1000)

    def reserve_ids(self, count: int) -> list[int]:
        """`count` new IDs, ascending, in the order in which writers ask for them."""
        if self.is_sqlite:
            last = self.connection.exec_driver_sql(_RESERVE, (count,)).scalar_one()
            return list(range(last - count + 1, last + 1))
        rows = self.connection.exec_driver_sql("SELECT nextval('bridge_ids') FROM generate_series(1, %s)", (count,))
        return sorted(rows.scalars())

    def lock(self, names: Sequence[str]) -> None:
        """Blocks every other transaction that locks one of `names`, until this one ends. SQLite has one writer anyway."""
        if not self.is_sqlite and names:
            self.connection.exec_driver_sql(f"SELECT ({_LOCK})", (array(names),))

    def enter(self, names: Sequence[str], count: int, look: str, *values: Any) -> tuple[int, list[int], Sequence[Any]]:
        """`lock`, then `now` and `reserve_ids`, then the rows of the statement `look`; all in one round trip.

        From here on PostgreSQL plans by index. The statistics of a new ledger describe empty tables, for which the planner
        prefers to read whole tables, and a prepared statement keeps that plan.
        """
        if self.is_sqlite:
            now = self.now()
            with self._driver() as driver:
                last = driver.execute(_RESERVE, (count,)).fetchone()[0]
                rows = driver.execute(look, values).fetchall()
            return now, list(range(last - count + 1, last + 1)), rows
        with (
            self._driver() as driver
        ):  # two statements: the second one's view of the ledger begins when the locks are held
            [entered], looked = driver.exchange([(_ENTER, (array(names), count)), (self._translate(look), values)])
        _, seconds, ids, _ = entered
        return int(float(seconds) * 1000), sorted(ids), looked

    def look_again(
        self, person_ids: Sequence[int], conversion_ids: Sequence[int], look: str, *values: Any
    ) -> Sequence[Any]:
        """The rows of `look` once nobody else can change these persons and conversions until the transaction ends. For
        PostgreSQL."""
        held = [(_HOLD_PERSONS, (array(person_ids),))]
        if conversion_ids:
            held.append((_HOLD_CONVERSIONS, (array(conversion_ids),)))
        with self._driver() as driver:
            *_, looked = driver.exchange([*held, (self._translate(look), values)])
            return looked  # type: ignore[no-any-return]

    def insert(self, table: Table, columns: tuple[str, ...], rows: Sequence[tuple[Any, ...]]) -> None:
        """Inserts `rows` (values in the order of `columns`)."""
        self.insert_all([Rows(table, [dict(zip(columns, row, strict=True)) for row in rows])])

    def insert_all(self, batches: Sequence[Rows], *, commits: bool = False) -> None:
        """Inserts the rows of all `batches` in as few statements as the database allows.

        commits: also commit, on PostgreSQL in the same round trip.
        """
        batches = [batch for batch in batches if batch.rows]
        if self._cipher is not None:
            batches = [self._cipher.seal_rows(batch) for batch in batches]
        if not self.is_sqlite:
            self._insert_json(batches, commits=commits)
            return
        with self._driver() as driver:
            for batch in batches:
                columns = batch.columns
                for part in parts_of(batch.rows):
                    statement = values_insert(batch.table, columns, len(part), batch.unless_there)
                    driver.execute(statement, tuple(chain.from_iterable([row.values() for row in part])))

    def _insert_json(self, batches: Sequence[Rows], *, commits: bool) -> None:
        if not batches:
            return
        statement = json_insert(tuple((batch.table, batch.columns, batch.unless_there) for batch in batches))
        values = [value for batch in batches for value in json_values(batch)]
        with self._driver() as driver:
            if commits:
                driver.exchange([(statement, values)], commits=True)
            else:
                driver.execute(statement, values)

    def update(self, table: Table, rows: Sequence[Row]) -> None:
        """Updates the rows by "id", which must be the first of their columns."""
        if rows:
            values = [(*changes, identity) for identity, *changes in (row.values() for row in rows)]
            self.run_many(update_by_id(table, tuple(rows[0])), values)

    def run(self, statement: str, *values: Any) -> Any:
        """Executes `statement`, written with ? for each of `values`; a list or tuple value may only be given to `among`."""
        if self._cipher is not None:
            values = tuple(self._cipher.seal_values(statement, values))
        return self.connection.exec_driver_sql(self._translate(statement), values)

    def run_many(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """`run` for each of `rows`, in one call of the driver."""
        if rows:
            if self._cipher is not None:
                rows = [tuple(self._cipher.seal_values(statement, row)) for row in rows]
            self.connection.exec_driver_sql(self._translate(statement), list(rows))

    def run_given(
        self, statement: str, columns: tuple[tuple[str, str], ...], rows: Sequence[tuple[Any, ...]]
    ) -> list[Any]:
        """Executes `statement`, which reads `rows` as a table `given`, and returns what it returns.

        columns: the names and types (bigint, integer, text) of `given`.
        """
        if not rows:
            return []
        if not self.is_sqlite:
            named = [dict(zip((name for name, _ in columns), row, strict=True)) for row in rows]
            return _rows_of(self.run(with_json(statement, columns), json_rows(named)))
        returned: list[Any] = []
        for part in parts_of(rows):
            returned += _rows_of(self.run(with_values(statement, columns, len(part)), *chain.from_iterable(part)))
        return returned

    @contextmanager
    def pipeline(self) -> Iterator[None]:
        """PostgreSQL: sends all statements of the block in one round trip, so their results cannot be read within it; see
        `later`. SQLite: no difference."""
        if self.is_sqlite:
            yield
            return
        with self._driver() as driver, driver.pipeline():
            yield

    def later(self, statement: str, *values: Any) -> Callable[[], Sequence[Any]]:
        """`run` within a pipeline. Returns a function that returns the rows once the block has ended."""
        if self.is_sqlite:
            return self.run(statement, *values).all  # type: ignore[no-any-return]
        with self._driver() as driver:
            return driver.execute(self._translate(statement), values, prepare=True).fetchall  # type: ignore[no-any-return]

    def later_now(self) -> Callable[[], int]:
        """`now` within a pipeline."""
        if self.is_sqlite:
            now = self.now()
            return lambda: now
        rows = self.later(_CLOCK)
        return lambda: int(float(rows()[0][0]) * 1000)

    def among(self, column: str, values: Sequence[str] | Sequence[int]) -> tuple[str, str]:
        """A condition that `column` is one of `values`, and the one parameter it takes: static SQL for any number of them."""
        if self.is_sqlite:
            return f"{column} IN (SELECT value FROM json_each(?))", json.dumps(list(values))
        return f"{column} = ANY(?)", array(values)  # a text of no declared type: it becomes an array of the column's

    def among_sealed(self, column: str, values: Iterable[str]) -> tuple[str, str]:
        """`among` for a column that may be sealed so that equals stay equal (How.EQUAL)."""
        if self._cipher is None:
            return self.among(column, list(values))
        return self.among(column, [form for value in values for form in self._cipher.forms(value)])

    def forms(self, value: str) -> list[str]:
        """How a column of How.EQUAL may hold `value`."""
        return [value] if self._cipher is None else self._cipher.forms(value)

    def unseal_facts(self, text: str) -> str:
        """The facts of a conversion, which a statement put into JSON. Raises LedgerUnavailable if they cannot be read."""
        return text if self._cipher is None else self._cipher.unseal_facts(text)

    def _translate(self, statement: str) -> str:
        return statement if self.is_sqlite else to_psycopg(statement)

    @contextmanager
    def _driver(self) -> Iterator[Any]:
        """The driver's connection, for statements that run too often to go through SQLAlchemy. Its errors are those that SQLAlchemy
        would raise."""
        driver, dialect = self.connection.connection.driver_connection, self.connection.dialect
        assert driver is not None
        assert dialect.loaded_dbapi is not None
        try:
            yield driver
        except dialect.loaded_dbapi.Error as error:
            lost = not self.is_sqlite and bool(driver.closed)
            if lost:  # and so will be the others, where a server went away
                self.connection.invalidate(error)
                self.connection.engine.dispose()
            kind = dialect.loaded_dbapi.Error
            raise DBAPIError.instance(
                None, None, error, kind, hide_parameters=True, connection_invalidated=lost, dialect=dialect
            ) from error

    def has_table(self, name: str) -> bool:
        return inspect(self.connection).has_table(name)

    def set_deadline(self, seconds: float | None) -> None:
        """Sets how long this transaction waits for the answer to each statement; None: no limit (PostgreSQL)."""
        if not self.is_sqlite:
            driver: Any = self.connection.connection.driver_connection
            driver.deadline_seconds = seconds

    def plan_by_index(self) -> None:
        """PostgreSQL, until the transaction ends: plan by index. The statistics of a new ledger describe empty tables, for which
        the planner prefers to read whole tables, and a prepared statement keeps that plan."""
        if not self.is_sqlite:
            self.connection.exec_driver_sql("SET LOCAL enable_seqscan = off")

    def plan_by_value(self) -> None:
        """PostgreSQL, until the transaction ends: plan for the actual values. A generic plan walks down the IDs of all events to
        find the newest event of a source, which takes seconds for a rare source."""
        if not self.is_sqlite:
            self.connection.exec_driver_sql("SET LOCAL plan_cache_mode = force_custom_plan")


def _rows_of(result: Any) -> list[Any]:
    return list(result.all()) if result.returns_rows else []
