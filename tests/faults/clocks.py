"""The ledger's clock, set ahead or back while web and workers run: on SQLite it is theirs, on PostgreSQL the server's."""

import struct
from pathlib import Path
from typing import Protocol

FOLDER = Path(__file__).parent / "clock"


class Clock(Protocol):
    def set_ahead(self, seconds: float) -> None:
        """By how much it goes ahead of the true one from now on; negative: behind."""


class ProcessClock:
    """time.time of all processes that were started with `variables`; see clock/sitecustomize.py."""

    def __init__(self, home: Path) -> None:
        self._path = home / "clock"
        self._path.write_bytes(struct.pack("d", 0.0))
        self.variables = {"PYTHONPATH": str(FOLDER), "BRIDGE_FAULTS_CLOCK": str(self._path)}

    def set_ahead(self, seconds: float) -> None:
        with self._path.open("r+b") as file:
            file.write(struct.pack("d", seconds))


class PostgresClock:
    """clock_timestamp() of one database: a function of that name, found before the server's own."""

    def __init__(self, execute: "Execute", database: str) -> None:
        self._execute = execute
        execute(
            "CREATE SCHEMA clock",
            "CREATE TABLE clock.setting (ahead interval NOT NULL)",
            "INSERT INTO clock.setting VALUES ('0')",
            "CREATE FUNCTION clock.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS"
            " $$ SELECT pg_catalog.clock_timestamp() + (SELECT ahead FROM clock.setting) $$",
            f'ALTER DATABASE "{database}" SET search_path = public, clock, pg_catalog',
        )

    def set_ahead(self, seconds: float) -> None:
        self._execute(f"UPDATE clock.setting SET ahead = make_interval(secs => {seconds:.3f})")


class Execute(Protocol):
    def __call__(self, *statements: str) -> None: ...
