"""python -m app.stack FD: the part of `bridge up` that waits, in place of the command that prepared everything.

It lives as long as the stack does and needs next to nothing of the project, so it imports next to nothing: 7 MB instead of 62.
"""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from app.stack.processes import STOP_MARGIN_SECONDS, on_stop_signals
from app.stack.supervisor import Supervisor, child, is_answering
from app.stack.valkey import EmbeddedValkey

START_SECONDS = 30


@dataclass(frozen=True)
class Plan:
    """What to run. stop_seconds: how long a worker that stops waits for what is in flight; valkey: the program of the embedded
    one, None where REDIS_URL names another; greeting: the lines that are shown once the web answers at (host, port)."""

    home: str
    log_level: str
    host: str
    port: int
    workers: int
    stop_seconds: float
    valkey: str | None
    greeting: Sequence[str]


def become(plan: Plan) -> None:
    """Replaces this process by one that runs `plan`. It goes through a pipe, since the greeting holds the password."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w", encoding="utf-8") as sending:
        json.dump(asdict(plan), sending)
    os.set_inheritable(reading, True)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-m", "app.stack.run", str(reading)])  # noqa: S606 - our own interpreter


def run(plan: Plan) -> None:
    """Until it is asked to stop."""
    home = Path(plan.home)
    supervisor = Supervisor(home, plan.log_level)
    on_stop_signals(supervisor.ask_to_stop)

    def answers() -> bool:
        return is_answering(plan.host, plan.port)

    environment = dict(os.environ, BRIDGE_SUPERVISED="1")
    try:
        if plan.valkey is not None:
            valkey = EmbeddedValkey(home, plan.valkey)
            environment["REDIS_URL"] = valkey.url
            supervisor.add("valkey", valkey.start)
        patience = plan.stop_seconds + STOP_MARGIN_SECONDS
        supervisor.add("web", lambda: child(["-m", "app", "web"], environment))
        for number in range(1, plan.workers + 1):
            supervisor.add(f"worker {number}", lambda: child(["-m", "workers"], environment), patience)
        is_up = supervisor.watch(answers, START_SECONDS)
        if not is_up and not supervisor.is_stopping:
            _say(sys.stderr.fileno(), ["The web does not answer yet: what is above says why. Ctrl-C stops everything."])
            is_up = supervisor.watch(answers)
        if is_up:
            _say(sys.stdout.fileno(), plan.greeting)
            supervisor.watch()
    finally:
        _say(sys.stdout.fileno(), [f"Stopping: what is in flight gets up to {plan.stop_seconds:g} s."])
        supervisor.stop()


def _say(to: int, lines: Sequence[str]) -> None:
    """Whole lines at once. A terminal that is gone is no reason to stop anything."""
    try:
        os.write(to, "".join(f"{line}\n" for line in lines).encode())
    except OSError:
        return


def main() -> None:
    with os.fdopen(int(sys.argv[1]), encoding="utf-8") as told:
        plan = Plan(**json.load(told))
    run(plan)


if __name__ == "__main__":
    main()
