"""Real parts for tests: both databases, a Valkey, and a destination that answers as scripted."""

import gc
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, settings
from redis import Redis

from app.config.settings import Settings
from app.ledger.engine import Ledger
from tests.support.diagnosis import describe_wait, ends_of_logs
from tests.support.empty_ledgers import Databases, empty_file
from tests.support.order import mix_files
from tests.support.postgres import Postgres
from tests.support.reaper import guard_process

PATIENCE_SECONDS = 100
"""How long what must happen may take: nothing where it happens at once, and a build machine may be busy with something else."""

# A machine's own configuration must reach neither the tests nor the processes that they start: settings of the bridge and of the
# libraries beneath it, proxies (which would be asked for 127.0.0.1), and how wide and colourful a terminal is.
_NAMES = {name.upper() for name in Settings.model_fields} | {"BRIDGE_PARENT", "CRM_TOKEN", "OUR_HOOK"}
_NAMES |= {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"}
_NAMES |= {"COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE", "TTY_INTERACTIVE"}
for _name in list(os.environ):
    _upper = _name.upper()
    if (
        _upper in _NAMES
        or _upper.endswith(("_WEBHOOK_SECRET", "_PATH_TOKEN"))
        or (_upper.endswith("_FILE") and _upper.removesuffix("_FILE") in _NAMES)
        or _upper.startswith(("PG", "FLASK_", "GRANIAN_", "OTEL_"))
    ):
        del os.environ[_name]
os.environ["BRIDGE_CONFIG"] = os.devnull  # not the bridge.toml that a developer may have beside the code
os.environ["BRIDGE_ENV_FILE"] = os.devnull  # nor the bridge.env
# Under nohup, processes would inherit that SIGHUP is ignored, and tests of that signal would fail. A handler is not inherited.
if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda _number, _frame: None)
# Every process that tests start would compile the whole program again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
os.environ["LC_ALL"] = "C"  # initdb refuses a locale that is not installed; Python takes C as UTF-8


# On top of Hypothesis's own profile, which is another one where CI is set. How long an example takes is the machine's affair.
settings.register_profile(
    "bridge", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("bridge")


# Imports and collected tests stay until the end. Without this, the garbage collector walks over them again and again, which takes
# longer than to create the application of a test.
gc.disable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items[:] = mix_files(items)


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        report.sections += ends_of_logs()
    return report


@pytest.fixture(scope="session")
def _server() -> Iterator[Postgres]:
    server = Postgres("bridge-pg-")
    yield server
    server.close()


@pytest.fixture(scope="session")
def postgres(_server: Postgres) -> str:
    """The URL of a PostgreSQL of our own, started once."""
    return _server.url


@pytest.fixture(scope="session")
def _databases(_server: Postgres) -> Databases:
    return Databases(_server)


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty ledger at the newest schema, on each database in turn."""
    if request.param == "sqlite":
        yield empty_file(tmp_path / "ledger.db")
        return
    databases: Databases = request.getfixturevalue("_databases")
    url = databases.take()
    yield url
    databases.put_away(url)


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    opened = Ledger(ledger_url)
    yield opened
    opened.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database with nothing in it, on each kind in turn."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    postgres = request.getfixturevalue("postgres")
    name = f"empty_{time.monotonic_ns()}"
    _execute(postgres, f"CREATE DATABASE {name}")
    yield _with_database(postgres, name)
    _execute(postgres, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def empty(empty_url: str) -> Iterator[Ledger]:
    """A ledger on it, without a schema."""
    opened = Ledger(empty_url)
    yield opened
    opened.close()


def _with_database(url: str, name: str) -> str:
    from sqlalchemy import make_url

    return make_url(url).set(database=name).render_as_string(hide_password=False)


def _execute(url: str, statement: str) -> None:
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)


class Valkey:
    """A Valkey server that a test may stop, kill and start again on the same socket."""

    def __init__(self, folder: Path) -> None:
        from app.stack.valkey import EmbeddedValkey

        self._server = EmbeddedValkey(folder)
        self.url = self._server.url
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        from app.queue import connect

        self._process = self._server.start()
        guard_process(self._process.pid)
        redis = connect(self.url)
        wait_for(lambda: _answers(redis))
        redis.close()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def _answers(redis: Redis) -> bool:
    try:
        return bool(redis.ping())
    except Exception:
        return False


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    folder = Path(tempfile.mkdtemp(prefix="bridge-vk-"))
    server = Valkey(folder)
    server.start()
    yield server
    server.kill()
    shutil.rmtree(folder, ignore_errors=True)


class FakeDestination:
    """A real HTTP server that remembers what it was sent. `answer` may be replaced: request -> (status, headers, body)."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.answer: Callable[[dict[str, Any]], tuple[int, dict[str, str], bytes]] = lambda _request: (200, {}, b"{}")
        self.delay_seconds = 0.0
        destination = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                import json

                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                found = {
                    "path": self.path,
                    "headers": {k.lower(): v for k, v in self.headers.items()},
                    "body": body,
                    "json": json.loads(body) if body[:1] in (b"{", b"[") else None,
                    "at": time.monotonic(),
                }
                destination.requests.append(found)
                if destination.delay_seconds:
                    time.sleep(destination.delay_seconds)
                status, headers, text = destination.answer(found)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_PUT = do_POST  # noqa: N815 - the library's name

            def log_message(self, *_args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def handle_error(self, *_args: object) -> None:
                pass  # a killed worker leaves half a request

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def payloads(self) -> list[dict[str, Any]]:
        return [request["json"] for request in self.requests]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def destination() -> Iterator[FakeDestination]:
    server = FakeDestination()
    yield server
    server.close()


def wait_for(condition: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> None:
    """Waits until `condition()` is true; where it does not become so in time, fails the test and says what it waited for."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds} s: {describe_wait(condition, found)}")
        time.sleep(0.02)


STRIPE_SECRET = "whsec_test_secret_of_the_tests"
TYPEFORM_SECRET = "typeform secret of the tests"


@pytest.fixture
def make_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Settings]:
    """Settings from an environment made for the test: stripe and typeform configured, sandbox, a home of its own."""

    def make(**variables: str) -> Settings:
        from app.config.settings import load_settings

        defaults = {
            "BRIDGE_HOME": str(tmp_path / "home"),
            "BRIDGE_CONFIG": os.devnull,
            "STRIPE_WEBHOOK_SECRET": STRIPE_SECRET,
            "TYPEFORM_WEBHOOK_SECRET": TYPEFORM_SECRET,
            "DASHBOARD_PASSWORD": "password of the tests",
            "SECRET_KEY": "secret key of the tests",
            "API_TOKEN": "api token of the tests",
            "STRIPE_HOLD": "0",
            "SANDBOX": "1",
        }
        for name, value in (defaults | variables).items():
            monkeypatch.setenv(name, value)
        return load_settings()

    return make


PYTHON = sys.executable


def forget_logs() -> None:
    """Takes back what configure_logs set up in this process."""
    import logging

    import structlog

    structlog.reset_defaults()
    logging.captureWarnings(False)
    sys.excepthook, threading.excepthook = sys.__excepthook__, threading.__excepthook__


@pytest.fixture
def bridge(make_settings: Callable[..., Settings]) -> Iterator[Callable[..., Result]]:
    """Runs a command in an environment of the test; returns what it printed and how it ended."""
    from app.cli import main
    from app.errors import ConfigurationError

    umask = os.umask(0o022)
    os.umask(umask)

    def run(*arguments: object, input: str | None = None, **variables: str) -> Result:
        with suppress(ConfigurationError):  # which the command is to report
            make_settings(**variables)
        return CliRunner().invoke(main, [str(argument) for argument in arguments], input=input)

    yield run
    os.umask(umask)
    forget_logs()
