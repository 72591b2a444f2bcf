"""A session on PostgreSQL: deadlines for its answers, and several statements in one round trip.

psycopg has a pipeline of its own. It sends each statement of it apart, waits for each in turn, and waits for BEGIN before the first
of them. `Session.exchange` writes everything at once through libpq and reads everything at once: a group of events costs a third of
the calls and system calls (https://www.postgresql.org/docs/current/libpq-pipeline-mode.html).

As app.ledger.postgres, only a process whose ledger is on PostgreSQL loads this module.
"""

import re
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import count
from threading import Thread
from typing import Any

import psycopg
from psycopg import generators
from psycopg.abc import PQGen
from psycopg.adapt import Transformer
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.pq.abc import PGresult

DEADLINE_SECONDS = 23.0
"""For one answer. It lies beyond the server's own statement_timeout, so it is only reached where nobody answers at all."""
PING_SECONDS = 3.0
MOST_PREPARED = 100
"""Statements that a session keeps prepared. Any more are sent whole each time."""
Value = str | bytes | int
Statement = tuple[str, Sequence[Value]]
"""With psycopg's placeholders (%s), and a value for each. An int is sent as text: give its placeholder a type, such as %s::int."""
_Encoded = tuple[str, Sequence[tuple[bytes, int]]]
BEGIN: Statement = ("BEGIN", ())
COMMIT: Statement = ("COMMIT", ())


class Session(psycopg.Connection[Any]):
    """A connection that waits at most `deadline_seconds` for each answer (None: no limit)."""

    deadline_seconds: float | None = DEADLINE_SECONDS
    server_pid = 0
    """Of the process that serves it; behind a pooler, of the one that serves this transaction."""
    terminate: Callable[[int], None] = staticmethod(lambda _pid: None)

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._names: dict[str, bytes] = {}
        """The statements that are prepared on the server, and their names there."""
        self._last_name = 0

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        limit = self.deadline_seconds if timeout is None else timeout
        began = time.monotonic()
        try:
            return super().wait(gen, interval, limit)
        except psycopg.OperationalError:
            if timeout is not None or limit is None or time.monotonic() - began < limit or self.closed:
                raise
            # The server's end is open, perhaps in the middle of a pipeline, and holds its locks: no limit of its own ends that.
            Thread(target=self.terminate, args=(self.server_pid,), name="terminate", daemon=True).start()
            self.pgconn.finish()
            raise psycopg.OperationalError(f"no answer from PostgreSQL within {limit:g} s") from None

    def ping(self) -> bool:
        """Whether the server answers soon. For a connection outside a transaction."""
        before, self.deadline_seconds = self.deadline_seconds, PING_SECONDS
        try:
            self.autocommit = True
            self.execute("SELECT 1", prepare=False)
            self.autocommit = False
        except psycopg.Error:
            return False
        self.deadline_seconds = before
        return True

    def exchange(self, statements: Sequence[Statement], *, commits: bool = False) -> list[list[tuple[Any, ...]]]:
        """Executes `statements` in this order, in one round trip, and returns the rows of each. Begins a transaction if none is
        open. After an error, nothing that follows is executed, and the error is raised.

        commits: commit as well.
        """
        begins = self.pgconn.transaction_status == TransactionStatus.IDLE
        everything = [*([BEGIN] if begins else ()), *statements, *([COMMIT] if commits else ())]
        encoding = self.info.encoding
        encoded = [(statement, [_encoded(value, encoding) for value in values]) for statement, values in everything]
        with self.lock:
            results: list[PGresult] = self.wait(self._exchange(encoded, encoding))
        return [self._rows(result) for result in results[begins : begins + len(statements)]]

    def _exchange(self, statements: Sequence[_Encoded], encoding: str) -> PQGen[list[PGresult]]:
        connection = self.pgconn
        connection.enter_pipeline_mode()
        new = [self._send(statement, values, encoding) for statement, values in statements]
        connection.pipeline_sync()
        # It reads while it writes. Otherwise both ends would wait for each other when values are larger than their buffers.
        yield from generators.send(connection)
        results, failed = list[PGresult](), None
        try:
            for (statement, _), name in zip(statements, new, strict=True):
                if name is not None:
                    prepared = yield from self._fetch()
                    if prepared.status == ExecStatus.COMMAND_OK:
                        self._names[statement] = name
                    elif failed is None:
                        failed = prepared
                result = yield from self._fetch()
                if failed is None and result.status == ExecStatus.FATAL_ERROR:
                    failed = result
                results.append(result)
            yield from self._fetch()  # the end of the pipeline
            connection.exit_pipeline_mode()
        except psycopg.OperationalError:  # the connection is lost; if the server said why, that is raised
            if failed is None:
                raise
        if failed is not None:
            raise psycopg.errors.error_from_result(failed, encoding=encoding)
        return results

    def _send(self, statement: str, values: Sequence[tuple[bytes, int]], encoding: str) -> bytes | None:
        """Queues a statement. Returns the name under which it is prepared before, if it is."""
        connection = self.pgconn
        parameters, formats = [value for value, _ in values], [form for _, form in values]
        known = self._names.get(statement)
        if known is not None:
            connection.send_query_prepared(known, parameters, formats)
            return None
        text = numbered(statement).encode(encoding)
        if not values or self.prepare_threshold is None or len(self._names) >= MOST_PREPARED:
            connection.send_query_params(text, parameters, None, formats)
            return None
        self._last_name += 1
        name = f"bridge_{self._last_name}".encode()
        connection.send_prepare(name, text)
        connection.send_query_prepared(name, parameters, formats)
        return name

    def _fetch(self) -> PQGen[PGresult]:
        results: list[PGresult] = yield from generators.fetch_many(self.pgconn)
        if not results:
            raise psycopg.OperationalError("the connection to PostgreSQL is lost")
        return results[0]

    def _rows(self, result: PGresult) -> list[tuple[Any, ...]]:
        if not result.ntuples:
            return []
        transformer = Transformer(self)
        transformer.set_pgresult(result)
        return transformer.load_rows(0, result.ntuples, tuple)

    def _deallocate(self, name: bytes | None) -> PQGen[None]:
        if name is None:  # psycopg drops all prepared statements of the session, for example after a rollback
            self._names.clear()
        yield from super()._deallocate(name)


def _encoded(value: Value, encoding: str) -> tuple[bytes, int]:
    """A value as libpq sends it, and its format: 1 for bytes, 0 for text."""
    if isinstance(value, bytes):
        return value, 1
    text = str(value).encode(encoding)
    if b"\0" in text:  # libpq would cut it there
        raise psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
    return text, 0


@lru_cache(maxsize=512)
def numbered(statement: str) -> str:
    """`statement` with libpq's placeholders in place of psycopg's."""
    numbers = count(1)
    return re.sub("%[%sb]", lambda part: "%" if part[0] == "%%" else f"${next(numbers)}", statement)
