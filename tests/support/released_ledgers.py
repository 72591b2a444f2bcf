"""Ledgers as each released schema revision made them, kept as SQL so that a test can open them under the newest code.

    python -m tests.support.released_ledgers

writes the dumps of the revision that is newest now, tests/ledger/released/REVISION.{sqlite,postgresql}.sql. Run it once for each
release, before tagging it, and commit the result. Never write a released revision's dump again.
"""

import os
import sqlite3
import subprocess
import tempfile
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from app.ledger.schema import HEAD
from tests.support.makers import checkout, settle, stripe_headers

FOLDER = Path(__file__).parents[1] / "ledger" / "released"
REVISIONS = {"v0.1.0": "0001"}
"""The schema revision of each release."""
VARIABLES = {
    "STRIPE_WEBHOOK_SECRET": "whsec_test_secret_of_the_tests",
    "TYPEFORM_WEBHOOK_SECRET": "typeform secret of the tests",
    "DASHBOARD_PASSWORD": "password of the tests",
    "SECRET_KEY": "secret key of the tests",
    "DESTINATION_URL": "http://127.0.0.1:9",
    "DESTINATION_TOKEN": "token-of-the-tests",
    "DESTINATION_ALLOW_PRIVATE": "1",
    "STRIPE_ALLOW_TEST_EVENTS": "1",
    "STRIPE_HOLD": "0",
}


def revisions() -> list[str]:
    """The released revisions of which dumps are kept."""
    return sorted(path.name.split(".")[0] for path in FOLDER.glob("*.sqlite.sql"))


def load(revision: str, url: str) -> None:
    """Fills the empty database at `url` with the ledger of that revision."""
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        connection.executescript((FOLDER / f"{revision}.sqlite.sql").read_text("utf-8"))
        connection.close()
        return
    import psycopg

    with psycopg.connect(url, autocommit=True) as server:
        server.execute((FOLDER / f"{revision}.postgresql.sql").read_bytes())


def fill(url: str) -> None:
    """A few conversions of every kind: delivered, waiting for a retry, dead, due, parked, ignored and promised."""
    from app.config.settings import load_settings
    from app.ledger.engine import Ledger
    from app.ledger.schema import upgrade
    from app.sources.typeform.source import SOURCE as TYPEFORM
    from app.web.factory import create_app

    os.environ.update(VARIABLES, DATABASE_URL=url, BRIDGE_CONFIG=os.devnull)
    ledger = Ledger(url)
    upgrade(ledger)
    app = create_app(load_settings(), ledger)
    web = app.test_client()

    def post(source: str, body: bytes, headers: dict[str, str]) -> None:
        answer = web.post(f"/webhooks/{source}", data=body, headers={"Content-Type": "application/json", **headers})
        assert answer.status_code == 200, answer.text

    def buy(number: int, **session: Any) -> None:
        body = checkout(number, **session)
        post("stripe", body, stripe_headers(body, secret=VARIABLES["STRIPE_WEBHOOK_SECRET"]))

    text = (files("app.sources.typeform") / "example.json").read_text("utf-8")
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    form = text.replace("@ID@", "released1").replace("@ISO@", now).encode()
    post("typeform", form, dict(TYPEFORM.sign(form, VARIABLES["TYPEFORM_WEBHOOK_SECRET"], datetime.now(UTC))))
    buy(1)
    settle(ledger, "delivered", destination="main")
    buy(2)
    settle(ledger, "permanent", status=422, error="no such click", destination="main")
    buy(3)
    settle(ledger, "transient", status=503, error="busy", retry=True, destination="main")
    buy(4)
    buy(4)  # received twice
    buy(5, payment_status="unpaid")
    buy(6, amount_total=0)
    buy(7, currency="")
    app.extensions["writer"].stop()
    app.extensions["refusals"].stop()
    ledger.close()


def main() -> None:
    from tests.support.postgres import Postgres

    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        fill(f"sqlite:///{path}")
        connection = sqlite3.connect(path)
        (FOLDER / f"{HEAD}.sqlite.sql").write_text("\n".join(connection.iterdump()) + "\n", "utf-8")
        connection.close()
    server = Postgres("bridge-released-")
    try:
        fill(server.url)
        dump = [server.program("pg_dump"), "--no-owner", "--no-privileges", "--inserts", server.url]
        lines = subprocess.run(dump, check=True, capture_output=True, text=True).stdout.splitlines(keepends=True)
        kept = [line for line in lines if not line.startswith(("--", "\\")) and line.strip()]
        (FOLDER / f"{HEAD}.postgresql.sql").write_text("".join(kept), "utf-8")
    finally:
        server.close()


if __name__ == "__main__":
    main()
