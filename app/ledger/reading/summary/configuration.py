"""Processes that rejected a configuration, and settings that wait for a restart."""

from app.ledger.reading.summary.problem import Problem
from app.ledger.transaction import Tx
from app.ledger.upkeep.processes import running

PAGE, LINK = "/configuration", "Configuration"


def configuration(tx: Tx) -> list[Problem]:
    processes = running(tx)
    rejected = [process for process in processes if process.problem is not None]
    if rejected:
        first = rejected[0]
        text = f"A reload was rejected, and the old configuration stays: {first.problem}"
        remedy = "Fix it, then reload again."
        since = first.answered_at
        command = "bridge reload"
        return [Problem("configuration", "", "warn", text, remedy, PAGE, LINK, since, len(rejected), command)]
    waiting = sorted({name for process in processes for name in process.kept})
    if not waiting:
        return []
    text = f"A new value waits for a restart: {', '.join(waiting)}."
    return [Problem("restart", "", "note", text, "Restart the web and the workers.", PAGE, LINK)]
