"""Sessions of the dashboard that have ended although their cookies still exist: each one that was logged out, kept until it
would expire, and all that began in an earlier epoch."""

from app.ledger.audit import note
from app.ledger.cursors import read_cursors
from app.ledger.engine import Ledger
from app.ledger.transaction import Tx

NAME = "session_epoch"
ENDED = "session_ended:"


def epoch(ledger: Ledger) -> int:
    """The current epoch; 0 until all sessions are ended for the first time."""
    return read_cursors(ledger, [NAME]).get(NAME, 0)


def is_open(ledger: Ledger, session: str, began_in: int) -> bool:
    """Whether a session that began in epoch `began_in` is still valid."""
    ended = ENDED + session
    ends = read_cursors(ledger, [NAME, ended])
    return ended not in ends and ends.get(NAME, 0) == began_in


def end(ledger: Ledger, session: str, until: int) -> None:
    """Ends one session, whose time is up at `until` (Unix seconds). Idempotent."""

    def work(tx: Tx) -> None:
        now = tx.now() // 1000
        tx.run("DELETE FROM counters WHERE name LIKE ? AND value < ?", ENDED + "%", now)
        new = "INSERT INTO counters (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING"
        tx.run(new, ENDED + session, until)

    ledger.transact(work)


def end_all(ledger: Ledger, actor: str) -> None:
    """Begins a new epoch, which ends all sessions. Recorded in the audit log."""

    def work(tx: Tx) -> None:
        tx.run(
            "INSERT INTO counters (name, value) VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET value = counters.value + 1",
            NAME,
        )
        note(tx, actor, "log out everywhere", "sessions")

    ledger.transact(work)
