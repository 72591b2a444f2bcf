"""Bodies as Stripe and Typeform send them, signed, and deliveries brought into a state, for tests of the web and the commands."""

import json
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import make_url

from app.ledger.engine import Ledger
from app.ledger.forwarding.breaker import ensure_destination
from app.ledger.forwarding.claims import Claimed, claim
from app.ledger.forwarding.outcomes import Outcome, finish
from app.ledger.recording.arrival import Arrival
from app.model import Inbound, Rules
from app.sources.stripe.source import SOURCE as STRIPE
from tests.conftest import STRIPE_SECRET


def checkout(number: object = 1, event_id: str | None = None, **session: Any) -> bytes:
    """A paid checkout session; every number is another purchase of another person."""
    return json.dumps(
        {
            "id": event_id or f"evt_{number}",
            "object": "event",
            "created": 1_780_000_000,
            "livemode": False,
            "type": "checkout.session.completed",
            "data": {
                "object": {
                    "id": f"cs_{number}",
                    "object": "checkout.session",
                    "mode": "payment",
                    "payment_status": "paid",
                    "status": "complete",
                    "amount_total": 1999,
                    "currency": "usd",
                    "created": 1_780_000_000,
                    "livemode": False,
                    "payment_intent": f"pi_{number}",
                    "customer_details": {"email": f"p{number}@example.com", "name": "Ada Lovelace"},
                    "metadata": {"user_id": f"user_{number}", "clickId": f"clk_{number}"},
                    **session,
                }
            },
        }
    ).encode()


def stripe_headers(body: bytes, at: datetime | None = None, secret: str = STRIPE_SECRET) -> dict[str, str]:
    """The headers that Stripe would send with `body` at `at` (now)."""
    return {"Content-Type": "application/json", **STRIPE.sign(body, secret, at or datetime.now(UTC))}


def signed(body: bytes) -> dict[str, Any]:
    """Arguments for a client's post."""
    return {"data": body, "headers": stripe_headers(body)}


def arrival_of(number: object) -> Arrival:
    """The purchase of that number, read as intake would."""
    inbound = Inbound(checkout(number), {})
    return Arrival("stripe", STRIPE.map(inbound, Rules(accept_test_events=True)), inbound, {}, datetime.now(UTC))


def count(ledger: Ledger, table: str) -> int:
    with ledger.read() as tx:
        return int(tx.run(f"SELECT COUNT(*) FROM {table}").scalar_one())


def one(ledger: Ledger, statement: str, *values: Any) -> Any:
    """The first row of a statement."""
    with ledger.read() as tx:
        return tx.run(statement, *values).first()


def change(ledger: Ledger, statement: str, *values: Any) -> None:
    with ledger.write() as tx:
        tx.run(statement, *values)


def begin(ledger: Ledger, destination: str = "sandbox") -> list[Claimed]:
    """Claims all that is due, as a worker would."""
    with ledger.write() as tx:
        ensure_destination(tx, destination, "print")
        now = tx.now()
        return claim(tx, destination, "1.1", limit=500, now=now, claim_ms=60_000, hold_ms=0)


def settle(
    ledger: Ledger,
    result: str,
    *,
    claimed: list[Claimed] | None = None,
    retry: bool = False,
    status: int | None = 200,
    error: str | None = None,
    answer: str | None = None,
    destination: str = "sandbox",
) -> list[int]:
    """Makes one attempt at all that is due (or at `claimed`) and records how it came out. Ids of the deliveries."""
    claimed = begin(ledger, destination) if claimed is None else claimed
    now = int(time.time() * 1000)
    due_at = now + 3_600_000 if retry else None
    outcomes = [
        Outcome(c, result, now, 7, status, error, json.dumps({"server": "x"}), answer, due_at)  # type: ignore[arg-type]
        for c in claimed
    ]
    with ledger.write() as tx:
        finish(tx, destination, outcomes, now=now, token_print="print")
    return [c.id for c in claimed]


@contextmanager
def away(ledger: Ledger, url: str) -> Any:
    """The database cannot be reached while this lasts; then it is there again, as it was."""
    ledger.close()
    with _sqlite_away(url) if ledger.is_sqlite else _postgres_away(url):
        yield
    ledger.close()


@contextmanager
def _sqlite_away(url: str) -> Any:
    path = Path(make_url(url).database or "")
    hidden = path.with_suffix(".away")
    path.rename(hidden)
    path.mkdir()
    yield
    path.rmdir()
    hidden.rename(path)


@contextmanager
def _postgres_away(url: str) -> Any:
    name = make_url(url).database
    execute_beside(url, f"ALTER DATABASE {name} RENAME TO {name}_away")
    yield
    execute_beside(url, f"ALTER DATABASE {name}_away RENAME TO {name}")


def execute_beside(url: str, *statements: str) -> None:
    """Runs statements about the database of `url` from another one of the same server, with nobody connected to it."""
    name = make_url(url).database
    beside = make_url(url).set(database="postgres").render_as_string(hide_password=False)
    with psycopg.connect(beside, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE %s", (f"{name}%",)
        )
        for statement in statements:
            connection.execute(statement)
