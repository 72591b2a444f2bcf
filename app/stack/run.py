"""python -m app.stack.run FD: the part of `bridge up` that waits, in place of the command that prepared everything.

It lives as long as the stack and needs little of the project, so it imports little: 7 MB instead of 62.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from app.stack.heart import Heart
from app.stack.listening import is_answering
from app.stack.processes import STOP_MARGIN_SECONDS, keep_files_private, on_stop_signals
from app.stack.processes import become as become_module
from app.stack.supervisor import LogFormat, Supervisor, child, log_failure
from app.stack.valkey import EmbeddedValkey

START_SECONDS = 30


@dataclass(frozen=True)
class Plan:
    """What to run.

    stop_seconds: how long a worker that stops waits for what is in flight; valkey: the program of the embedded one, None where
    REDIS_URL names another; greeting: the lines that are shown once the web answers at (host, port); running: what the run file
    says; lock: the descriptor that holds the lock of BRIDGE_HOME; ledger: SQLite's file, None if it is PostgreSQL.
    """

    home: str
    log_level: str
    log_format: LogFormat | None
    host: str
    port: int
    workers: int
    stop_seconds: float
    valkey: str | None
    greeting: Sequence[str]
    running: Mapping[str, object]
    lock: int | None
    ledger: str | None


def become(plan: Plan) -> None:
    """Replaces this process by one that runs `plan`. It goes through a pipe, since the greeting holds the password."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w", encoding="utf-8") as sending:
        json.dump(asdict(plan), sending)
    for descriptor in filter(None, (reading, plan.lock)):
        os.set_inheritable(descriptor, True)
    become_module("app.stack.run", str(reading))


def run(plan: Plan) -> None:
    """Runs the plan until it is asked to stop."""
    home = Path(plan.home)
    if plan.lock is not None:
        os.set_inheritable(
            plan.lock, False
        )  # a part that outlives this process must not keep the next `bridge up` from starting
    keep_files_private()
    supervisor = Supervisor(home, (plan.log_level, plan.log_format), {**plan.running, "pid": os.getpid()})
    on_stop_signals(supervisor.ask_to_stop, reload=supervisor.reload)

    def answers() -> bool:
        return is_answering(plan.host, plan.port)

    environment = dict(os.environ)
    try:
        if plan.valkey is not None:
            valkey = EmbeddedValkey(home, plan.valkey)
            environment["REDIS_URL"] = valkey.url
            supervisor.add("valkey", valkey.start, reloads=False)
        patience = plan.stop_seconds + STOP_MARGIN_SECONDS
        supervisor.add("web", lambda: child("app", ["web"], environment))
        for number in range(1, plan.workers + 1):
            heart = Heart()
            start = partial(child, "workers", [], environment, heart)
            supervisor.add(f"worker {number}", start, patience, heart)
        is_up = supervisor.watch(answers, START_SECONDS)
        if not is_up and not supervisor.is_stopping:
            _say(
                sys.stderr.fileno(),
                ["The web process does not answer yet; the lines above say why. Ctrl-C stops everything."],
            )
            is_up = supervisor.watch(answers)
        if is_up:
            _say(sys.stdout.fileno(), plan.greeting)
            supervisor.watch()
    finally:
        _say(sys.stdout.fileno(), [f"Stopping. Requests in flight get up to {plan.stop_seconds:g} s to finish."])
        supervisor.stop()
        _empty_wal(plan.ledger)


def _empty_wal(ledger: str | None) -> None:
    """Each part did so when it closed its ledger, unless it had to be killed. A copy of the file alone then holds everything."""
    if ledger is not None and Path(ledger).exists():
        import sqlite3

        with suppress(sqlite3.Error):
            connection = sqlite3.connect(ledger, timeout=5)
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.close()


def _say(to: int, lines: Sequence[str]) -> None:
    """Prints whole lines at once. A closed terminal stops nothing."""
    try:
        os.write(to, "".join(f"{line}\n" for line in lines).encode())
    except OSError:
        return


def main() -> None:
    with os.fdopen(int(sys.argv[1]), encoding="utf-8") as receiving:
        plan = Plan(**json.load(receiving))
    try:
        run(plan)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is said as a line of the log
        log_failure((plan.log_level, plan.log_format), error)
        sys.exit(1)


if __name__ == "__main__":
    main()
