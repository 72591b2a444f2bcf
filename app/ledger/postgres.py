"""Connections to PostgreSQL: parsing DATABASE_URL, deadlines for an unresponsive server, and poolers such as PgBouncer.

DATABASE_URL is read as libpq does (https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING), several hosts
included. `pgbouncer` is a parameter of our own, as in Prisma.

Only a process whose ledger is on PostgreSQL loads this module: its driver takes 7 MB.
"""

import json
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl

import psycopg
from psycopg.abc import Buffer, Loader
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo
from psycopg.types.string import ByteaLoader, TextLoader
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import InvalidatePoolError

from app.errors import ConfigurationError
from app.ledger.driver.session import DEADLINE_SECONDS, Session
from app.ledger.pool import Pool
from app.ledger.sealing.cipher import Cipher

LIMITS = {"statement_timeout": 20_000, "lock_timeout": 10_000, "idle_in_transaction_session_timeout": 20_000}
"""In milliseconds. The last one is for a client that the server does not hear of any more: it would hold its locks for hours."""
KEEPALIVES = {"tcp_keepalives_idle": 10, "tcp_keepalives_interval": 5, "tcp_keepalives_count": 3}
SESSION = " ".join(f"-c {name}={value}" for name, value in (LIMITS | KEEPALIVES).items())
"""What each session begins with; options in DATABASE_URL come after these, and win."""
LIMIT_TRANSACTION = "SELECT pg_backend_pid(), " + ", ".join(
    f"set_config('{name}', '{value}', true)" for name, value in LIMITS.items()
)
"""Behind a pooler, which passes no options on, each transaction begins with this."""
FIRST_ANSWER_SECONDS = 5.0
PING_AFTER_SECONDS = 5.0
"""A connection that was idle for that long is tried before it is used: its server may have gone without a word."""
DEFAULTS = {
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
    "fallback_application_name": "conversion-bridge",
}
HINTS = {
    "schema": "for a schema of its own, give ?options=-csearch_path%3DNAME",
    "currentschema": "for a schema of its own, give ?options=-csearch_path%3DNAME",
    "search_path": "for a schema of its own, give ?options=-csearch_path%3DNAME",
    "ssl": "give ?sslmode=require",
    "sslaccept": "give ?sslmode=require or ?sslmode=verify-full",
    "pool_timeout": "leave it out",
    "connection_limit": "leave it out",
    "pool_size": "leave it out",
}
_TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %s AND usename = current_user AND state <> 'idle'"
_UNREADABLE = "DATABASE_URL cannot be read: is a character in its password not encoded?"
_NOT_PASSED_ON = (
    "DATABASE_URL has options, and the pooler in front of PostgreSQL (PgBouncer or another) does not pass them on:"
    " connect to PostgreSQL directly, or give the database user its search_path by ALTER ROLE"
)


def loaders(cipher: Cipher) -> Sequence[tuple[str, type[Loader]]]:
    """Loaders for texts and bytes that may be sealed."""

    class Text(TextLoader):
        def load(self, data: Buffer) -> Any:
            text = super().load(data)
            return str(cipher.unseal(text if isinstance(text, str) else text.decode()))

    class Bytes(ByteaLoader):
        def load(self, data: Buffer) -> bytes:
            return bytes(cipher.unseal(super().load(bytes(data))))

    class Json(Text):
        def load(self, data: Buffer) -> Any:
            return json.loads(super().load(data))

    return [("text", Text), ("varchar", Text), ("json", Json), ("bytea", Bytes)]


class Server:
    """The server of DATABASE_URL. Raises ConfigurationError if the URL is not valid."""

    def __init__(self, url: str) -> None:
        parameters, own = _read(url)
        self._options = parameters.pop("options", "")
        self._parameters = {**DEFAULTS, **parameters}
        if "," in parameters.get("host", "") and "target_session_attrs" not in parameters:
            self._parameters["target_session_attrs"] = "read-write"
        self._loaders: Sequence[tuple[str, type[Loader]]] = ()
        self._is_direct = own.get("pgbouncer") is False
        self.is_pooled = own.get("pgbouncer", False)
        """Whether a pooler is known to be between: no startup options of ours, and no prepared statements."""

    def engine(self, pool: Pool, cipher: Cipher | None = None) -> Engine:
        """A pool of connections. cipher: decrypts the values that they read."""
        self._loaders = () if cipher is None else loaders(cipher)
        engine = create_engine(
            "postgresql+psycopg://",
            creator=self.connect,
            use_native_hstore=False,
            pool_size=pool.kept,
            max_overflow=pool.overflow,
            pool_timeout=5,
            hide_parameters=True,
        )
        event.listen(engine, "checkin", _note_return)
        event.listen(engine, "checkout", _check_idle)
        return engine

    def connect(self) -> Session:
        """A new connection. Raises ConfigurationError if a pooler drops the options that DATABASE_URL has."""
        session = self._open()
        session.deadline_seconds = FIRST_ANSWER_SECONDS
        session.autocommit = True
        row = session.execute("SELECT pg_backend_pid(), current_setting('search_path')", prepare=False).fetchone()
        session.autocommit = False
        session.deadline_seconds = DEADLINE_SECONDS
        assert row is not None
        pid, search_path = row
        if pid != session.info.backend_pid and not self._is_direct:
            self.is_pooled = True  # the pid at the start of the session was the pooler's own invention
        if self.is_pooled:
            session.prepare_threshold = None
        session.server_pid, session.terminate = pid, self._terminate
        for kind, loader in self._loaders:
            session.adapters.register_loader(kind, loader)
        configured = _search_path(self._options)
        if configured is not None and _plain(search_path) != _plain(configured):
            session.close()
            raise ConfigurationError(_NOT_PASSED_ON)
        return session

    @staticmethod
    def limit(connection: Connection) -> None:
        """Begins a transaction behind a pooler: its limits, and who serves it."""
        session = connection.connection.driver_connection
        assert isinstance(session, Session)
        session.server_pid = connection.exec_driver_sql(LIMIT_TRANSACTION).scalar_one()

    def _terminate(self, pid: int) -> None:
        """Ends the server's process of a session that is lost."""
        with suppress(psycopg.Error, ConfigurationError):
            session = self.connect()
            session.deadline_seconds = FIRST_ANSWER_SECONDS
            with session:
                session.execute(_TERMINATE, (pid,), prepare=False)

    def _open(self) -> Session:
        while True:
            was_pooled = self.is_pooled  # another thread may find out meanwhile
            options = self._options if was_pooled else f"{SESSION} {self._options}".strip()
            try:
                return Session.connect(**self._parameters, options=options)
            except psycopg.OperationalError as error:
                if "unsupported startup parameter" not in str(error) or "options" not in str(error):
                    raise
                if was_pooled:
                    raise ConfigurationError(_NOT_PASSED_ON) from None
                self.is_pooled = True


def _read(url: str) -> tuple[dict[str, Any], dict[str, bool]]:
    """The parameters for libpq, and the bridge's own."""
    base, _, query = re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql://", url).partition("?")
    try:
        parameters: dict[str, Any] = {k: v for k, v in conninfo_to_dict(base).items() if v}
    except psycopg.Error:
        raise ConfigurationError(_UNREADABLE) from None
    known = {option.keyword.decode() for option in Conninfo.get_defaults()}
    own: dict[str, bool] = {}
    hosts: list[str] = []
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name == "pgbouncer":
            if value.lower() not in ("true", "false", "1", "0"):
                raise ConfigurationError("DATABASE_URL: pgbouncer is true or false")
            own[name] = value.lower() in ("true", "1")
        elif name not in known:
            hint = HINTS.get(name.lower(), "PostgreSQL's client library knows no such parameter")
            raise ConfigurationError(f"DATABASE_URL: the parameter {_shown(name)} cannot be used: {hint}")
        elif name == "host":
            hosts.append(value)
        else:
            parameters[name] = value
    if hosts:
        _set_hosts(parameters, hosts)
    ports = str(parameters.get("port", "")).split(",")
    if not all(port == "" or (port.isdigit() and 0 < int(port) < 65536) for port in ports):
        raise ConfigurationError(_UNREADABLE)
    return parameters, own


def _set_hosts(parameters: dict[str, Any], hosts: list[str]) -> None:
    """`host` as a parameter, also several of the form name:port, as SQLAlchemy has them."""
    pairs = [re.fullmatch(r"(.*?)(?::(\d+))?", host) for host in ",".join(hosts).split(",")]
    parameters["host"] = ",".join(pair[1] for pair in pairs if pair)
    if any(pair and pair[2] for pair in pairs):
        parameters["port"] = ",".join((pair and pair[2]) or "5432" for pair in pairs)


def _shown(name: str) -> str:
    return name if re.fullmatch(r"\w{1,40}", name) else "after the ?"


def _search_path(options: str) -> str | None:
    """The search_path that `options` ask for."""
    settings = re.findall(r"(?:-c\s*|--)search[_-]path\s*=\s*((?:\\.|\S)+)", options)
    return re.sub(r"\\(.)", r"\1", settings[-1]) if settings else None


def _plain(search_path: str) -> str:
    return re.sub(r'[\s"]', "", search_path).lower()


def _note_return(connection: Session | None, record: Any) -> None:
    record.info["returned_at"] = time.monotonic()
    if connection is not None:
        connection.deadline_seconds = DEADLINE_SECONDS


def _check_idle(connection: Session, record: Any, _proxy: Any) -> None:
    if (
        time.monotonic() - record.info.get("returned_at", time.monotonic()) > PING_AFTER_SECONDS
        and not connection.ping()
    ):
        raise InvalidatePoolError("the connection is dead")
