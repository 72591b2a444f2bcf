"""REDIS_URL that names Sentinels, or asks for TLS: real servers, a failover, and a certificate."""

import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from app.config.addresses.redis import check_redis_url
from app.queue import Nudges, connect, redis_problem
from app.stack.valkey import valkey_binary
from tests.conftest import FakeDestination, Valkey, wait_for
from tests.support.ports import quiet_port
from tests.support.reaper import guard_process
from tests.support.stack_parts import Stack, purchase

pytestmark = pytest.mark.stack
CERTIFICATE = Path(__file__).parents[1] / "certificate"


class Watched:
    """A primary, its replica, and a Sentinel that watches them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = [quiet_port() for _ in range(3)]
        primary, replica, sentinel = self.ports
        self.processes = [
            self._start("primary", f"port {primary}"),
            self._start("replica", f"port {replica}\nreplicaof 127.0.0.1 {primary}"),
        ]
        wait_for(lambda: self._role(replica)[:1] == [b"slave"] and b"connected" in self._role(replica))
        watch = f"sentinel monitor mine 127.0.0.1 {primary} 1\nsentinel down-after-milliseconds mine 500\n"
        text = f"port {sentinel}\n{watch}sentinel failover-timeout mine 3000"
        self.processes.append(self._start("sentinel", text, "--sentinel"))
        self.url = f"sentinel://127.0.0.1:{quiet_port()},127.0.0.1:{sentinel}/mine/0"
        """The first of the two does not answer, as after the loss of a machine."""

    def _start(self, name: str, text: str, *options: str) -> "subprocess.Popen[bytes]":
        folder = self.folder / name
        folder.mkdir()
        (folder / "server.conf").write_text(f"{text}\nbind 127.0.0.1\n")
        with (folder / "log").open("wb") as log:
            command = [valkey_binary(), "server.conf", *options]
            process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        guard_process(process.pid)
        return process

    def _role(self, port: int) -> list[object]:
        with suppress(RedisError), Redis(port=port, retry=Retry(NoBackoff(), 0)) as redis:
            return list(redis.execute_command("ROLE"))
        return []

    def end(self, number: int = -1) -> None:
        for process in [self.processes[number]] if number >= 0 else self.processes:
            process.kill()
            process.wait()


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    made = Watched(tmp_path)
    yield made
    made.end()


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_after_a_failover_nudges_go_to_the_new_primary_and_nothing_is_lost(
    watched: Watched, ledger_url: str, destination: FakeDestination, tmp_path: Path
) -> None:
    stack = Stack(tmp_path, ledger_url, watched.url, destination.url)
    try:
        wait_for(lambda: redis_problem(Nudges(connect(watched.url))) is None)
        stack.serve()
        stack.start("worker")
        assert stack.post_all([purchase() for _ in range(10)]) == [200] * 10
        wait_for(lambda: stack.counts() == {"delivered": 10})
        watched.end(0)
        assert stack.post_all([purchase() for _ in range(20)]) == [200] * 20
        wait_for(lambda: stack.counts() == {"delivered": 30})
        wait_for(lambda: redis_problem(Nudges(connect(watched.url))) is None)
        redis = Redis(port=watched.ports[1])
        wait_for(lambda: redis.smembers("rq:workers"))
        redis.close()
        assert stack.post_all([purchase() for _ in range(10)]) == [200] * 10
        wait_for(lambda: stack.counts() == {"delivered": 40})
        keys = [request["headers"]["idempotency-key"] for request in destination.requests]
        assert len(keys) == len(set(keys)) == 40
    finally:
        stack.close()


class TlsBefore:
    """Ends TLS before a server on a Unix socket; asks the client for its certificate too."""

    def __init__(self, path: str) -> None:
        self._path = path
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE / "localhost.pem", CERTIFICATE / "localhost.key")
        context.load_verify_locations(CERTIFICATE / "localhost.pem")
        context.verify_mode = ssl.CERT_REQUIRED
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._run, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _run(self) -> None:
        with suppress(OSError):
            while True:
                plain, _ = self._listener.accept()
                with suppress(OSError):
                    client = self._context.wrap_socket(plain, server_side=True)
                    server = socket.socket(socket.AF_UNIX)
                    server.connect(self._path)
                    for ends in ((client, server), (server, client)):
                        threading.Thread(target=_pump, args=ends, daemon=True).start()


def _pump(reading: socket.socket, writing: socket.socket) -> None:
    with suppress(OSError):
        while data := reading.recv(65536):
            writing.sendall(data)
        writing.shutdown(socket.SHUT_RDWR)


def test_tls_with_a_ca_and_a_client_certificate_and_no_other_server_is_trusted(valkey: Valkey) -> None:
    server = TlsBefore(valkey.url.removeprefix("unix://").partition("?")[0])
    ca, key = CERTIFICATE / "localhost.pem", CERTIFICATE / "localhost.key"
    url = f"rediss://localhost:{server.port}/0?ssl_ca_certs={ca}&ssl_certfile={ca}&ssl_keyfile={key}"
    try:
        assert redis_problem(Nudges(connect(check_redis_url(url)))) is None
        untrusted = redis_problem(Nudges(connect(f"rediss://localhost:{server.port}/0")))
        assert untrusted is not None
        assert "does not answer" in untrusted
    finally:
        server.close()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sentinel://h1,h2", "must name the master"),
        ("sentinel://:26379/m", "the host or port of a Sentinel cannot be read"),
        ("redis+sentinel://h1:x/m", "the host or port of a Sentinel cannot be read"),
        ("sentinel://h1/m/first", "the number of a database"),
        ("sentinel://h1/m?ssl_ca_certs=/etc/ca.pem", "begin it with rediss://"),
        ("rediss://h1?ssl_ca_certs=/no/such/ca.pem", "there is no file"),
        ("amqp://h1", "must begin with"),
    ],
)
def test_a_redis_url_that_is_wrong_is_refused_without_being_shown(url: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        check_redis_url(url)
    assert "h1" not in str(caught.value) or "host1" in str(caught.value)
