"""The floor of intake: the smallest Flask app on the same server with the same settings that verifies the same signature and
commits one row to the same kind of database, in groups. It maps, deduplicates and promises nothing.

`python -m bench.floor` serves on PORT with the ledger at DATABASE_URL.
"""

import hmac
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable

import psycopg
from flask import Flask, Response, request
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import Server

from app.config.settings import Settings
from bench.purchases import SECRET

TOLERANCE_SECONDS = 300
LARGEST_GROUP = 128


class Committer:
    """One thread that commits for all; `commit` makes a list of bodies durable."""

    def __init__(self, connect: Callable[[], Callable[[list[tuple[bytes]]], None]]) -> None:
        self._connect = connect
        self._queue: deque[tuple[bytes, threading.Event]] = deque()
        self._wake = threading.Condition()
        threading.Thread(target=self._run, daemon=True).start()

    def record(self, body: bytes) -> None:
        """Returns once `body` is durable."""
        done = threading.Event()
        with self._wake:
            self._queue.append((body, done))
            self._wake.notify()
        done.wait()

    def _run(self) -> None:
        commit = self._connect()
        while True:
            with self._wake:
                while not self._queue:
                    self._wake.wait()
                group = [self._queue.popleft() for _ in range(min(len(self._queue), LARGEST_GROUP))]
            commit([(body,) for body, _ in group])
            for _, done in group:
                done.set()


def connect(url: str) -> Callable[[list[tuple[bytes]]], None]:
    """What commits a group to the database at `url`, with the durability that the bridge has."""
    if url.startswith("sqlite:///"):
        lite = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None, check_same_thread=False)
        lite.execute("PRAGMA journal_mode=WAL")
        lite.execute("PRAGMA synchronous=FULL")
        lite.execute("CREATE TABLE IF NOT EXISTS floor (id INTEGER PRIMARY KEY, body BLOB NOT NULL)")

        def commit_sqlite(rows: list[tuple[bytes]]) -> None:
            lite.execute("BEGIN IMMEDIATE")
            lite.executemany("INSERT INTO floor (body) VALUES (?)", rows)
            lite.execute("COMMIT")

        return commit_sqlite
    server = psycopg.connect(url)
    server.execute("CREATE TABLE IF NOT EXISTS floor (id BIGSERIAL PRIMARY KEY, body BYTEA NOT NULL)")
    server.commit()
    cursor = server.cursor()

    def commit_postgres(rows: list[tuple[bytes]]) -> None:
        cursor.executemany("INSERT INTO floor (body) VALUES (%s)", rows)
        server.commit()

    return commit_postgres


def application() -> Flask:
    """For granian."""
    app = Flask("bench.floor")
    url = os.environ["DATABASE_URL"]
    committer = Committer(lambda: connect(url))
    key = SECRET.encode()

    @app.post("/webhooks/stripe")
    def receive() -> Response:
        body = request.get_data()
        pairs = dict(part.split("=", 1) for part in request.headers["Stripe-Signature"].split(","))
        digest = hmac.digest(key, pairs["t"].encode() + b"." + body, "sha256").hex()
        if not hmac.compare_digest(digest, pairs["v1"]) or abs(time.time() - int(pairs["t"])) > TOLERANCE_SECONDS:
            return Response("", 401)
        committer.record(body)
        return Response("{}", 200, content_type="application/json")

    @app.get("/healthz")
    def healthz() -> Response:
        return Response("{}", 200, content_type="application/json")

    return app


def main() -> None:
    """Serves with the settings of app/web/server/serve.py."""
    settings = Settings()
    Server(
        "bench.floor:application",
        factory=True,
        address="127.0.0.1",
        port=settings.port,
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(keep_alive=True, header_read_timeout=30000),
        websockets=False,
        workers=settings.web_processes,
        blocking_threads=settings.web_threads,
        backlog=2048,
        backpressure=max(settings.web_threads * 4, 256),
        log_level=LogLevels.error,
    ).serve()


if __name__ == "__main__":
    main()
