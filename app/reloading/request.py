"""The one function by which people reload: the command, the page and the API call it."""

import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.ledger.engine import Ledger
from app.ledger.upkeep.processes import Process, request_reload, running
from app.stack.processes import is_alive

WAIT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Answers:
    """What became of a request. silent: processes that did not answer in time; they follow when they can."""

    reloaded: Sequence[Process]
    rejected: Sequence[Process]
    silent: Sequence[Process]

    @property
    def is_done(self) -> bool:
        return bool(self.reloaded) and not self.rejected and not self.silent

    def as_json(self) -> dict[str, Any]:
        """As the API and `bridge reload --json` show it."""
        rows = [(one, True) for one in self.reloaded] + [(one, True) for one in self.rejected]
        rows += [(one, False) for one in self.silent]
        return {
            "done": self.is_done,
            "message": self.message,
            "processes": [
                {
                    "role": one.role,
                    "host": one.host,
                    "pid": one.pid,
                    "answered": answered,
                    "problem": one.problem if answered else None,
                    "changed": list(one.changed) if answered else [],
                    "needs_restart": list(one.kept) if answered else [],
                }
                for one, answered in rows
            ],
        }

    @property
    def message(self) -> str:
        """One sentence for people."""
        if self.rejected:
            return f"the configuration is wrong, and the old one stays: {self.rejected[0].problem}"
        if self.silent:
            return f"{self.silent[0].title} did not answer yet: it reloads once it can"
        if not self.reloaded:
            return "no process runs: a web or a worker reads its configuration when it starts"
        changed = sorted({name for one in self.reloaded for name in one.changed})
        kept = sorted({name for one in self.reloaded for name in one.kept})
        text = f"reloaded; changed: {', '.join(changed)}" if changed else "reloaded; nothing changed"
        return text + (f"; needs a restart: {', '.join(kept)}" if kept else "")


def reload_all(ledger: Ledger, actor: str, wait_seconds: float = WAIT_SECONDS) -> Answers:
    """Asks every process to reload its configuration, and waits for their answers. Raises LedgerUnavailable."""
    number = ledger.transact(lambda tx: request_reload(tx, actor))
    deadline = time.monotonic() + wait_seconds
    while True:
        with ledger.read() as tx:
            found = [one for one in running(tx) if not _is_gone(one)]
        silent = [one for one in found if one.answered < number]
        if not silent or time.monotonic() > deadline:
            answered = [one for one in found if one.answered >= number]
            return Answers(
                [one for one in answered if one.problem is None],
                [one for one in answered if one.problem is not None],
                silent,
            )
        time.sleep(0.2)


def _is_gone(process: Process) -> bool:
    """Whether it was killed on this machine, so that nobody took its row away."""
    return process.host == socket.gethostname() and not is_alive(process.pid, "")
