"""Requests a reload. The command, the page and the API call the same function."""

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
    """The answers to a reload request. silent: processes that did not answer in time; they reload once they can."""

    reloaded: Sequence[Process]
    rejected: Sequence[Process]
    silent: Sequence[Process]

    @property
    def is_done(self) -> bool:
        return bool(self.reloaded) and not self.rejected and not self.silent

    def as_json(self) -> dict[str, Any]:
        """As the API and `bridge reload --json` show it."""
        rows = [(process, True) for process in self.reloaded] + [(process, True) for process in self.rejected]
        rows += [(process, False) for process in self.silent]
        return {
            "done": self.is_done,
            "message": self.message,
            "processes": [
                {
                    "role": process.role,
                    "host": process.host,
                    "pid": process.pid,
                    "answered": answered,
                    "problem": process.problem if answered else None,
                    "changed": list(process.changed) if answered else [],
                    "needs_restart": list(process.kept) if answered else [],
                }
                for process, answered in rows
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
        changed = sorted({name for process in self.reloaded for name in process.changed})
        kept = sorted({name for process in self.reloaded for name in process.kept})
        text = f"reloaded; changed: {', '.join(changed)}" if changed else "reloaded; nothing changed"
        return text + (f"; needs a restart: {', '.join(kept)}" if kept else "")


def reload_all(ledger: Ledger, actor: str, wait_seconds: float = WAIT_SECONDS) -> Answers:
    """Asks every process to reload its configuration, and waits for their answers. Raises LedgerUnavailable."""
    number = ledger.transact(lambda tx: request_reload(tx, actor))
    deadline = time.monotonic() + wait_seconds
    while True:
        with ledger.read() as tx:
            processes = [process for process in running(tx) if not _is_gone(process)]
        silent = [process for process in processes if process.answered < number]
        if not silent or time.monotonic() > deadline:
            answered = [process for process in processes if process.answered >= number]
            return Answers(
                [process for process in answered if process.problem is None],
                [process for process in answered if process.problem is not None],
                silent,
            )
        time.sleep(0.2)


def _is_gone(process: Process) -> bool:
    """Whether it was killed on this machine, which leaves its row behind."""
    return process.host == socket.gethostname() and not is_alive(process.pid, "")
