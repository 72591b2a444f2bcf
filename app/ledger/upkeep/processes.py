"""The processes that run on this ledger, requests to them to reload their configuration, and what each answered."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from app.ledger.audit import note
from app.ledger.transaction import Tx

REQUEST = "reload"
"""The row of `counters` with the number of the newest request."""
FRESH_MS = 50_000
"""A process that was not seen for so long does not run any more."""
FORGOTTEN_MS = 3_600_000
COLUMNS = "name, role, host, pid, loaded_at, answered, answered_at, problem, changed, kept"


@dataclass(frozen=True, slots=True)
class Process:
    """One process. See the table `processes`."""

    name: str
    role: str
    host: str
    pid: int
    loaded_at: int
    answered: int = 0
    answered_at: int | None = None
    problem: str | None = None
    changed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return f"{self.role} {self.pid} on {self.host}"


def request_reload(tx: Tx, actor: str) -> int:
    """Asks every process to reload; returns the number of the request."""
    tx.run(
        "INSERT INTO counters (name, value) VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET value = counters.value + 1",
        REQUEST,
    )
    note(tx, actor, "reload", "configuration")
    return last_request(tx)


def last_request(tx: Tx) -> int:
    return int(tx.run("SELECT value FROM counters WHERE name = ?", REQUEST).scalar() or 0)


def report(tx: Tx, process: Process) -> None:
    """Keeps the state of a process, and forgets those that ended without a word."""
    now = tx.now()
    values = replace(process, loaded_at=process.loaded_at or now)
    marks = ", ".join("?" * 11)
    updates = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS.split(", ")[4:])
    tx.run(
        f"INSERT INTO processes ({COLUMNS}, seen_at) VALUES ({marks})"
        f" ON CONFLICT (name) DO UPDATE SET {updates}, seen_at = excluded.seen_at",
        values.name,
        values.role,
        values.host,
        values.pid,
        values.loaded_at,
        values.answered,
        values.answered_at,
        values.problem,
        ",".join(values.changed),
        ",".join(values.kept),
        now,
    )
    tx.run("DELETE FROM processes WHERE seen_at < ?", now - FORGOTTEN_MS)


def forget_process(tx: Tx, name: str) -> None:
    """After an orderly stop."""
    tx.run("DELETE FROM processes WHERE name = ?", name)


def running(tx: Tx) -> Sequence[Process]:
    """The processes that run now, webs first."""
    rows = tx.run(
        f"SELECT {COLUMNS} FROM processes WHERE seen_at > ? ORDER BY role DESC, host, pid LIMIT 500",
        tx.now() - FRESH_MS,
    )
    return [
        Process(
            row.name,
            row.role,
            row.host,
            int(row.pid),
            int(row.loaded_at),
            int(row.answered),
            row.answered_at,
            row.problem,
            _names(row.changed),
            _names(row.kept),
        )
        for row in rows.all()
    ]


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name)
