"""A deployment as real processes: two webs behind nginx and workers, of this version or of a released one."""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from app.ledger.reading.summary.stats import workers_alive
from app.ledger.upkeep.copy import IDS, tables_to_copy
from tests.conftest import PATIENCE_SECONDS, Valkey
from tests.faults.site import wait_until_answering
from tests.operator.load import wait_while_it_goes_on
from tests.support.nginx import PROGRAM as NGINX
from tests.support.nginx import start_nginx
from tests.support.ports import Port
from tests.support.reaper import guard_process
from tests.support.released_ledgers import FOLDER
from tests.support.stack_parts import Stack

TIMEOUT_SECONDS = 30.0
"""For one request to the destination."""
Process = subprocess.Popen[bytes]


def unpack(version: str, folder: Path) -> Path:
    """The code of a released version."""
    with tarfile.open(FOLDER / f"{version}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


class Machine:
    """One of the machines: a home and a port of its own, at most one web, and workers."""

    def __init__(self, home: Path, ledger_url: str, redis_url: str, destination_url: str) -> None:
        home.mkdir()
        self.stack = Stack(
            home,
            ledger_url,
            redis_url,
            destination_url,
            DESTINATION_CONCURRENCY="4",
            DESTINATION_TIMEOUT=f"{TIMEOUT_SECONDS:g}",
            RETRY_SCHEDULE=",".join(["0.2", "0.3", "0.5", *["1"] * 20]),
            PYTHONSAFEPATH="1",  # else `-m app` is the code of the current folder
        )
        self.web: Process | None = None
        self.workers: list[Process] = []

    def run(self, code: Path | None) -> None:
        """What is started from now on is that code; None: this version's."""
        self.stack.environment.pop("PYTHONPATH", None)
        if code is not None:
            self.stack.environment["PYTHONPATH"] = str(code)

    def start_web(self) -> None:
        self.web = self.stack.start("web", wait=False)

    def start_worker(self) -> None:
        self.workers.append(self.stack.start("worker"))

    def kill_web(self) -> None:
        """SIGKILL, for it and what it has started."""
        assert self.web is not None
        self.stack.kill(self.web)

    def kill_worker(self) -> None:
        self.stack.kill(self.workers.pop(0))

    def stop_web(self) -> None:
        assert self.web is not None
        self._stop(self.web)

    def stop_worker(self) -> None:
        self._stop(self.workers.pop(0))

    def stop(self) -> None:
        """Everything, in order."""
        self.stop_web()
        while self.workers:
            self.stop_worker()

    def wait_for_web(self) -> None:
        assert wait_until_answering("127.0.0.1", self.stack.port, PATIENCE_SECONDS), "the web did not come up"

    def bridge(self, *arguments: object) -> str:
        """Runs a command; what it printed. AssertionError where it ended in failure."""
        command = [sys.executable, "-m", "app", *map(str, arguments)]
        environment = {**self.stack.environment, "PYTHONWARNINGS": "default"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
        assert done.returncode == 0, f"bridge {' '.join(map(str, arguments))}: {done.stdout}{done.stderr}"
        return done.stdout

    def _stop(self, process: Process) -> None:
        process.terminate()
        process.wait(PATIENCE_SECONDS)
        self.stack.processes.remove(process)
        assert process.returncode == 0, f"an orderly stop ended with {process.returncode}"


class Front:
    """nginx before two webs, with the sample of deploy/. Where there is none, clients choose between the webs themselves."""

    def __init__(self, folder: Path, webs: Sequence[int]) -> None:
        self.ports = list(webs)
        self._process: Process | None = None
        self._port: Port | None = None
        if NGINX is not None and len(webs) == 2:
            folder.mkdir()
            self._port = Port()
            self._process = start_nginx(folder, self._port.number, list(webs))
            guard_process(self._process.pid)
            assert wait_until_answering("127.0.0.1", self._port.number, PATIENCE_SECONDS), "nginx did not come up"
            self.ports = [self._port.number]

    @property
    def name(self) -> str:
        return "nginx" if self._process else "no proxy (nginx is not installed)"

    def close(self) -> None:
        if self._process is not None and self._port is not None:
            self._process.terminate()
            self._process.wait(PATIENCE_SECONDS)
            self._port.close()


class Workshop:
    """What all machines share, and everything that is to be ended."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="bridge-operator-"))
        self.machines: list[Machine] = []
        self.fronts: list[Front] = []
        self.valkey = Valkey(Path(tempfile.mkdtemp(prefix="bridge-ovk-")))
        self.valkey.start()

    def machine(self, name: str, ledger_url: str, destination_url: str) -> Machine:
        """One more. Its Redis is another database for each kind of ledger, so that fleets do not share a queue."""
        found = Machine(self.folder / name, ledger_url, self.valkey.url, destination_url)
        self.machines.append(found)
        return found

    def front(self, machines: Sequence[Machine]) -> Front:
        found = Front(self.folder / f"nginx{len(self.fronts)}", [machine.stack.port for machine in machines])
        self.fronts.append(found)
        return found

    def logs(self) -> str:
        """The ends of the logs of all machines, for when something failed."""
        return "\n".join(
            f"-- {m.stack.log_path}\n{m.stack.log_path.read_text('utf-8', 'replace')[-3000:]}" for m in self.machines
        )

    def close(self) -> None:
        for front in self.fronts:
            front.close()
        for machine in self.machines:
            machine.stack.close()
        self.valkey.kill()
        if not os.environ.get("BRIDGE_OPERATOR_KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)


def wait_until_open(machine: Machine, least: int) -> None:
    """Until so many deliveries are open."""
    wait_while_it_goes_on(
        lambda: open_deliveries(machine) >= least, lambda: open_deliveries(machine), "open deliveries"
    )


def wait_until_settled(machine: Machine) -> None:
    """Until no delivery is open any more."""
    wait_while_it_goes_on(lambda: open_deliveries(machine) == 0, lambda: open_deliveries(machine), "open deliveries")


def open_deliveries(machine: Machine) -> int:
    with machine.stack.ledger.read() as tx:
        return int(tx.run("SELECT COUNT(*) FROM deliveries WHERE due_at IS NOT NULL").scalar_one())


def open_keys(machine: Machine) -> set[str]:
    """The dedupe keys of the deliveries that are open."""
    with machine.stack.ledger.read() as tx:
        return set(tx.run("SELECT dedupe_key FROM deliveries WHERE due_at IS NOT NULL").scalars())


def counts(machine: Machine) -> dict[str, int]:
    """The rows of every table that `bridge db copy` copies."""
    with machine.stack.ledger.read() as tx:
        return {
            table.name: int(
                tx.run(
                    f"SELECT COUNT(*) FROM {table.name}"
                    + (f" WHERE name <> '{IDS}'" if table.name == "counters" else "")
                ).scalar_one()
            )
            for table in tables_to_copy()
        }


def keys(machine: Machine) -> set[str]:
    """The dedupe keys of all deliveries."""
    with machine.stack.ledger.read() as tx:
        return set(tx.run("SELECT dedupe_key FROM deliveries").scalars())


def workers(machine: Machine) -> int:
    """How many workers are alive."""
    with machine.stack.ledger.read() as tx:
        return len(workers_alive(tx, tx.now()))
