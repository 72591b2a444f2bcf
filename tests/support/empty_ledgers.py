"""Empty ledgers at the newest schema, many of them and quickly.

A database is made once and emptied after each test, as long as a test changed nothing in it but rows: to make one takes PostgreSQL
longer than most tests do. A file of SQLite is copied.
"""

import tempfile
from functools import cache
from pathlib import Path

import psycopg
from sqlalchemy import make_url

from app.ledger.engine import Ledger
from app.ledger.schema import upgrade
from tests.support.postgres import Postgres

SHAPE = """
    SELECT md5(concat_ws('|',
      (SELECT string_agg(concat_ws(' ', oid, relname, reloptions), ',' ORDER BY oid) FROM pg_class WHERE {public}),
      (SELECT string_agg(concat_ws(' ', attrelid, attnum, attname, atttypid, attnotnull), ',' ORDER BY attrelid, attnum)
         FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid WHERE {public} AND attnum > 0),
      (SELECT string_agg(concat_ws(' ', indexrelid, indisvalid), ',' ORDER BY indexrelid)
         FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid WHERE {public}),
      (SELECT string_agg(concat_ws(' ', pg_trigger.oid, tgenabled), ',' ORDER BY pg_trigger.oid)
         FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid WHERE {public}),
      (SELECT string_agg(oid::text, ',' ORDER BY oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace),
      (SELECT string_agg(nspname, ',' ORDER BY nspname) FROM pg_namespace WHERE nspname !~ '^pg_'),
      (SELECT string_agg(setconfig::text, ',' ORDER BY setconfig) FROM pg_db_role_setting
         JOIN pg_database ON pg_database.oid = setdatabase WHERE datname = current_database())
    ))
""".format(public="relnamespace = 'public'::regnamespace")
"""Everything that a test may change in a database besides rows."""
TABLES = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY relname"
WRITTEN = TABLES.replace(" ORDER", " AND pg_relation_size(oid) > 0 ORDER")
OTHERS = """
    SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
REWIND = """
    SELECT setval(format('%I.%I', schemaname, sequencename)::regclass, start_value, false)
    FROM pg_sequences WHERE last_value IS NOT NULL
"""


class Databases:
    """Empty databases of one server."""

    def __init__(self, server: Postgres) -> None:
        self._server = server
        # Who kills this server kills its processes, not the machine: what the system was given to write gets written.
        server.execute(
            "ALTER SYSTEM SET fsync = off", "ALTER SYSTEM SET full_page_writes = off", "SELECT pg_reload_conf()"
        )
        server.execute("CREATE DATABASE template_bridge")
        ledger = Ledger(self._url("template_bridge"))
        upgrade(ledger)
        ledger.close()
        with psycopg.connect(self._url("template_bridge"), autocommit=True) as connection:
            filled = [name for (name,) in connection.execute(WRITTEN)]
            self._filled = frozenset(filled)
            self._rows = "SELECT concat_ws('|', {})".format(
                ", ".join(f"(SELECT string_agg(t::text, ',' ORDER BY t::text) FROM {name} t)" for name in filled)
            )
            self._pristine = self._look(connection)
        self._free: list[str] = []
        self._made = 0

    def take(self) -> str:
        """The URL of an empty one."""
        if self._free:
            return self._free.pop()
        self._made += 1
        name = f"bridge_{self._made}"
        self._server.execute(f"CREATE DATABASE {name} TEMPLATE template_bridge")
        return self._url(name)

    def put_away(self, url: str) -> None:
        """Ends its sessions, and empties it; where more than its rows was changed, it is dropped."""
        if self._empty(url):
            self._free.append(url)
        else:
            self._server.execute(f"DROP DATABASE {make_url(url).database} WITH (FORCE)")

    def _empty(self, url: str) -> bool:
        try:
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(OTHERS)
                if self._look(connection) != self._pristine:
                    return False
                names = [name for (name,) in connection.execute(WRITTEN) if name not in self._filled]
                if names:
                    connection.execute("TRUNCATE " + ", ".join(names))
                connection.execute(REWIND)
                return True
        except psycopg.Error:
            return False

    def _look(self, connection: psycopg.Connection) -> tuple[object, ...]:
        found = [connection.execute(statement).fetchone() for statement in (SHAPE, self._rows)]
        return tuple(found)

    def _url(self, name: str) -> str:
        return make_url(self._server.url).set(database=name).render_as_string(hide_password=False)


@cache
def _template() -> bytes:
    with tempfile.TemporaryDirectory(prefix="bridge-template-") as folder:
        path = Path(folder) / "ledger.db"
        ledger = Ledger(f"sqlite:///{path}")
        upgrade(ledger)
        ledger.close()
        return path.read_bytes()


def empty_file(path: Path) -> str:
    """The URL of an empty ledger of SQLite at `path`."""
    path.write_bytes(_template())
    return f"sqlite:///{path}"
