"""The epoch of the dashboard's sessions: one that began in an earlier epoch has ended, wherever its cookie is."""

from sqlalchemy import Connection

from app.ledger.cursors import read_cursors
from app.ledger.engine import Ledger
from app.ledger.mending import note

NAME = "session_epoch"


def epoch(ledger: Ledger) -> int:
    """The present epoch; 0 until everybody was logged out for the first time."""
    return read_cursors(ledger, [NAME]).get(NAME, 0)


def end_all(ledger: Ledger, actor: str) -> None:
    """Begins a new epoch, which ends every session there is. Recorded in the audit log."""

    def work(connection: Connection) -> None:
        ledger.run(
            connection,
            "INSERT INTO counters (name, value) VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET value = counters.value + 1",
            NAME,
        )
        note(ledger, connection, actor, "log out everywhere", "sessions")

    ledger.transact(work)
