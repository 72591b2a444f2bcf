"""Fills a ledger with deliveries that are due, through the bridge's own recording and not over HTTP."""

from datetime import UTC, datetime
from functools import partial

from app.destinations.formats.registry import format_of
from app.intake.verify_and_map import kept_headers
from app.ledger.engine import Ledger
from app.ledger.recording.arrival import Arrival, Policy, Route
from app.ledger.recording.record import record
from app.model import Inbound, Rules
from app.sources.stripe.source import SOURCE
from bench.purchases import Purchases

GROUP = 128
HEADERS = {"content-type": "application/json; charset=utf-8", "user-agent": "Stripe/1.0"}


def fill(database_url: str, count: int) -> None:
    """Records `count` purchases of as many persons, each with one delivery to "main", due now."""
    ledger, purchases, rules = Ledger(database_url), Purchases(), Rules()
    policy = Policy(rules, [Route("main", format_of("events"))])
    while count > 0:
        arrivals = []
        for _ in range(min(GROUP, count)):
            inbound = Inbound(purchases.make()[1], HEADERS)
            mapped = SOURCE.map(inbound, rules)
            arrivals.append(Arrival("stripe", mapped, inbound, kept_headers(HEADERS), datetime.now(UTC)))
        receipts = ledger.transact(partial(record, arrivals=arrivals, policy=policy))
        if not all(receipt.delivers for receipt in receipts):
            raise RuntimeError(f"a purchase of the backlog became {receipts[0].outcome}: {receipts[0].reason}")
        count -= len(arrivals)
    ledger.close()


def delivered(database_url: str) -> int:
    """How many deliveries the ledger says are delivered."""
    ledger = Ledger(database_url)
    with ledger.read() as tx:
        if not ledger.is_sqlite:  # of ten million rows
            tx.set_deadline(None)
            tx.run("SET LOCAL statement_timeout = 0")
        count = tx.run("SELECT COUNT(*) FROM deliveries WHERE status = 'delivered'").scalar_one()
    ledger.close()
    return int(count)
