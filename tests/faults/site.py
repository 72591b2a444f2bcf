"""The real stack with all that can be broken about it, and how each thing is broken."""

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sqlalchemy import make_url

from app.errors import LedgerUnavailable
from app.ledger.engine import Ledger
from app.ledger.forwarding.breaker import destination_state, resume
from app.ledger.schema import upgrade
from app.queue import connect
from app.stack.listening import is_answering
from tests.conftest import PATIENCE_SECONDS, Valkey
from tests.faults.clocks import Clock, PostgresClock, ProcessClock
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import Postgres
from tests.support.proxy import Proxy
from tests.support.scripted import ScriptedDestination
from tests.support.stack_parts import NAMESPACE, Stack, end_in_order

TIMEOUT_SECONDS = 1.5
"""For one request to the destination."""
FULL_BYTES = 4096
"""No file of a process grows beyond this while the disk is full for it."""


class Site:
    """Web, workers, Valkey, ledger and destination. What dies is started again, as a supervisor would, by `keep`.

    database: sqlite, postgresql, or pgbouncer (PostgreSQL behind it in transaction mode). Web and workers reach PostgreSQL and
    Valkey through proxies, which can fall silent.
    """

    def __init__(self, database: str, *, workers: int = 2, seed: int = 1) -> None:
        self.database = database
        self.dice = random.Random(seed)
        self.home = Path(tempfile.mkdtemp(prefix="bridge-faults-"))
        self.valkey = Valkey(Path(tempfile.mkdtemp(prefix="bridge-fvk-")))
        self.valkey.start()
        self.destination = ScriptedDestination(seed)
        self.postgres = None if database == "sqlite" else Postgres("bridge-faults-pg-")
        own_url = self.postgres.url if self.postgres else f"sqlite:///{self.home / 'ledger.db'}"
        self.pooler = PgBouncer(own_url) if database == "pgbouncer" else None
        self.proxies = [Proxy(unquote(urlsplit(self.valkey.url).path))]
        redis_url = f"redis://127.0.0.1:{self.proxies[0].port}/0"
        self.ledger_url = own_url
        if self.postgres:
            socket_path = f"{make_url(own_url).query['host']}/.s.PGSQL.5432"
            self.proxies.append(Proxy(("127.0.0.1", self.pooler.port) if self.pooler else socket_path))
            self.ledger_url = f"postgresql://postgres@127.0.0.1:{self.proxies[1].port}/postgres"
        ledger = Ledger(own_url)
        upgrade(ledger)
        ledger.close()
        variables: dict[str, str] = {}
        if self.postgres:
            self.clock: Clock = PostgresClock(self.postgres.execute, "postgres")
        else:
            clock = self.clock = ProcessClock(self.home)
            variables = clock.variables
        self.stack = Stack(
            self.home,
            self.ledger_url,
            redis_url,
            self.destination.url,
            DESTINATION_TIMEOUT=str(TIMEOUT_SECONDS),
            DESTINATION_CONCURRENCY="16",
            RETRY_SCHEDULE=",".join(["0.2", "0.3", "0.5", *["0.8"] * 20]),
            WEB_PROCESSES="2" if self.postgres else "1",
            HOLD_SECONDS="86400",  # a clock that jumps ahead ends no hold
            **variables,
        )
        self._lock = threading.RLock()
        self._roles: dict[int, str] = {}
        self.killed: dict[str, int] = {"web": 0, "worker": 0}
        self.died: dict[str, int] = {"web": 0, "worker": 0}
        """Ended by themselves, which only a ledger that is away may bring about."""
        for role in ("web", *["worker"] * workers):
            self._start(role)
        self._ends = threading.Event()
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self._keeper.start()
        if not wait_until_answering("127.0.0.1", self.stack.port, PATIENCE_SECONDS):
            log = self.log
            self.close()
            raise AssertionError(f"the web did not come up: {log[-2000:]}")

    def close(self) -> None:
        self._ends.set()
        self._keeper.join(10)
        self.stack.close()
        self.destination.close()
        for proxy in self.proxies:
            proxy.close()
        self.valkey.kill()
        if self.pooler:
            self.pooler.close()
        if self.postgres:
            self.postgres.close()
        if not os.environ.get("BRIDGE_FAULTS_KEEP"):
            shutil.rmtree(self.home, ignore_errors=True)

    @property
    def log(self) -> str:
        return self.stack.log_path.read_text("utf-8", "replace")

    def open_deliveries(self) -> int:
        """How many are not closed yet; -1 while the ledger is away."""
        try:
            with self.stack.ledger.read() as tx:
                return int(tx.run("SELECT COUNT(*) FROM deliveries WHERE due_at IS NOT NULL").scalar_one())
        except LedgerUnavailable:
            return -1

    # -- what can be broken; each returns when it is whole again, or will be by itself

    def kill_web(self) -> None:
        """The whole web, or (granian starts it again) one of its processes."""
        with self._lock:
            web = next((p for p in self.stack.processes if self._roles[p.pid] == "web"), None)
            if web is None or web.poll() is not None:
                return
            self.killed["web"] += 1
            children = [pid for pid in _group(web.pid) if pid != web.pid]
            if children and self.dice.random() < 0.5:
                with suppress(ProcessLookupError):
                    os.kill(self.dice.choice(children), signal.SIGKILL)
            else:
                self.stack.kill(web)
        time.sleep(0.2)
        self.wait_for_web()

    def kill_worker(self) -> None:
        """In the middle of what it sends, if it sends anything."""
        deadline = time.monotonic() + 1
        while not self.destination.open_requests and time.monotonic() < deadline:
            time.sleep(0.002)
        with self._lock:
            workers = [p for p in self.stack.processes if self._roles[p.pid] == "worker" and p.poll() is None]
            if workers:
                self.killed["worker"] += 1
                self.stack.kill(self.dice.choice(workers))

    def kill_valkey(self) -> None:
        self.valkey.kill()
        time.sleep(self.dice.uniform(0.1, 0.6))
        self.valkey.start()

    def empty_valkey(self) -> None:
        redis = connect(self.valkey.url)
        redis.flushall()
        redis.close()

    def restart_postgres(self) -> None:
        assert self.postgres is not None
        self.postgres.restart(self.dice.choice(("immediate", "fast")), self.dice.uniform(0, 0.5))

    def fail_over(self) -> None:
        """All sessions end, and those that take their place are read-only for as long as they live, as after a failover."""
        assert self.postgres is not None
        self.postgres.execute("ALTER DATABASE postgres SET default_transaction_read_only = on")
        self.proxies[1].cut()
        time.sleep(self.dice.uniform(0.3, 0.9))
        writable = "SET default_transaction_read_only = off"
        self.postgres.execute(writable, "ALTER DATABASE postgres RESET default_transaction_read_only")

    def silence_stores(self) -> None:
        """No answer comes on any connection to Valkey and PostgreSQL that is open now; what is sent there is acknowledged."""
        for proxy in self.proxies:
            proxy.silence()

    def fill_ledger(self) -> None:
        """No room for a while: no file of web and workers grows (SQLite), or every write ends as on a full disk."""
        with self._full_postgres() if self.postgres else self._full_files():
            time.sleep(self.dice.uniform(0.5, 0.9))

    def lock_ledger(self) -> None:
        """Read-only for a while."""
        with self._read_only_postgres() if self.postgres else self._read_only_sqlite():
            time.sleep(self.dice.uniform(0.5, 0.9))

    def jump_clock(self) -> None:
        """The ledger's clock is set ahead or back; `restore` sets it right."""
        self.clock.set_ahead(self.dice.choice((1, -1)) * self.dice.choice((5, 90, 600, 3600)))
        time.sleep(self.dice.uniform(0.5, 0.9))

    def move_destination(self) -> None:
        """Everything is redirected until that pauses the destination; then it is back, and somebody resumes."""
        script, self.destination.script = self.destination.script, lambda _key, _before: "redirect"
        # Where few deliveries are left, the bridge tries them again for three minutes before it blames the destination.
        deadline = time.monotonic() + 180 + PATIENCE_SECONDS
        while not self._is_paused() and time.monotonic() < deadline:
            time.sleep(0.05)
        self.destination.script = script
        assert self.stack.ledger.transact(lambda tx: resume(tx, "main", actor="faults")), "it was not paused"

    def _is_paused(self) -> bool:
        with suppress(LedgerUnavailable), self.stack.ledger.read() as tx:
            return destination_state(tx, "main").paused_at is not None
        return False

    def add_namesake(self) -> None:
        """A worker in a PID namespace of its own, under the same host name, works for a while and is stopped in order."""
        command = [*NAMESPACE, sys.executable, "-m", "workers"]
        log = self.stack.log
        worker = subprocess.Popen(command, env=self.stack.environment, stdout=log, stderr=log, start_new_session=True)
        try:
            time.sleep(4)  # two sweeps of each
            end_in_order(worker)
        finally:
            _end_group(worker.pid)

    def restore(self) -> None:
        """What does not become whole by itself, after a round."""
        self.clock.set_ahead(0)

    @contextmanager
    def _full_files(self) -> Iterator[None]:
        """RLIMIT_FSIZE, so the log, which is a file as well, cannot be written either."""
        with self._lock:
            pids = [pid for process in self.stack.processes for pid in _group(process.pid)]
            for pid in pids:
                _limit_files(pid, FULL_BYTES)
        yield
        with self._lock:
            leaders = [process.pid for process in self.stack.processes]
            for pid in leaders:  # before their children: one that granian starts just now has its parent's limit
                _limit_files(pid, resource.RLIM_INFINITY)
            for pid in [pid for leader in leaders for pid in _group(leader)]:
                _limit_files(pid, resource.RLIM_INFINITY)

    @contextmanager
    def _full_postgres(self) -> Iterator[None]:
        assert self.postgres is not None
        self.postgres.execute(
            "CREATE OR REPLACE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$",
            "CREATE TRIGGER no_room BEFORE INSERT OR UPDATE ON events EXECUTE FUNCTION no_room()",
            "CREATE TRIGGER no_room BEFORE INSERT OR UPDATE ON deliveries EXECUTE FUNCTION no_room()",
        )
        yield
        self.postgres.execute("DROP TRIGGER no_room ON events", "DROP TRIGGER no_room ON deliveries")

    @contextmanager
    def _read_only_postgres(self) -> Iterator[None]:
        assert self.postgres is not None
        self.postgres.execute("ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
        yield
        self.postgres.execute("ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()")

    @contextmanager
    def _read_only_sqlite(self) -> Iterator[None]:
        """Web and workers are started again with a ledger that they may only read: root can write to any file."""
        self._restart_all(f"sqlite:///file:{self.home / 'ledger.db'}?mode=ro&uri=true")
        yield
        self._restart_all(self.ledger_url)

    def wait_for_web(self) -> None:
        """Until it takes connections; granian leaves them waiting until a process of it can."""
        assert wait_until_answering("127.0.0.1", self.stack.port, PATIENCE_SECONDS), "the web did not come up again"

    def _restart_all(self, ledger_url: str) -> None:
        with self._lock:
            self.stack.environment["DATABASE_URL"] = ledger_url
            running = [(p, self._roles[p.pid]) for p in self.stack.processes]
            for process, _ in running:
                process.terminate()
            for process, role in running:
                process.wait(PATIENCE_SECONDS)
                self.stack.processes.remove(process)
                self._start(role)
        self.stack.wait_until_up()

    # -- the supervisor

    def _start(self, role: str) -> None:
        process = self.stack.start(role, wait=False)
        self._roles[process.pid] = role

    def _keep(self) -> None:
        expected = list(self._roles.values())
        while not self._ends.wait(0.1):
            with self._lock:
                for process in list(self.stack.processes):
                    if process.poll() is not None:
                        self.died[self._roles[process.pid]] += 1
                        _end_group(process.pid)
                        self.stack.processes.remove(process)
                running = [self._roles[p.pid] for p in self.stack.processes]
                for role in ("web", "worker"):
                    for _ in range(expected.count(role) - running.count(role)):
                        self._start(role)


def now_and_then(*breaks: Callable[[], None], dice: random.Random, pause: tuple[float, float]) -> Callable[[], None]:
    """A step that waits for a moment and does one of `breaks`."""

    def step() -> None:
        time.sleep(dice.uniform(*pause))
        dice.choice(breaks)()

    return step


def _group(pid: int) -> list[int]:
    """The living processes of a process group, its leader first."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, IndexError):
                fields = (entry / "stat").read_text(errors="replace").rsplit(")", 1)[1].split()
                if int(fields[2]) == pid and fields[0] != "Z":
                    found.append(int(entry.name))
    return sorted(found, key=lambda one: (one != pid, one))


def _end_group(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _limit_files(pid: int, size: int) -> None:
    with suppress(ProcessLookupError):
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))


def wait_until_answering(host: str, port: int, seconds: float) -> bool:
    """Whether something listens there within that time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if is_answering(host, port):
            return True
        time.sleep(0.05)
    return False
