"""The books of both ends: what was paid, at the source or by our Sales, beside what each destination holds of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from app.destinations.books import BooksRefused, held_of
from app.destinations.target import Destination
from app.errors import TransientDeliveryError
from app.ledger.actions.replay import REFUNDED, ActionResult, replay
from app.ledger.actions.send_to import Target, send_conversions
from app.ledger.engine import Ledger
from app.ledger.reading.money.sales import Sold, sales_by_id, sales_since
from app.ledger.recording.arrival import Route

CLOCKS = timedelta(hours=1)
"""Destinations date a Sale when it arrives, by their own clock."""
LOST = "it was delivered, and {title} does not hold it"
BATCH = 500
ON_THEIR_WAY = ("pending", "retrying")


@dataclass(frozen=True, slots=True)
class Lost:
    """A Sale that a destination does not hold. state: "lost" where it was delivered, "elsewhere" where it has no delivery there,
    else the status of its delivery."""

    sale: Sold
    state: str
    reason: str
    delivery_id: int | None

    def as_json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {
            "invoice_id": self.sale.invoice_id,
            "dedupe_key": self.sale.dedupe_key,
            "amount": self.sale.money.text,
            "state": self.state,
            "reason": self.reason,
            "delivery_id": self.delivery_id,
        }


@dataclass(slots=True)
class End:
    """One destination. sales: how many it should hold. held: how many it does. unattributed: those without a known click or
    customer; not missing."""

    name: str
    title: str
    sales: int = 0
    held: int = 0
    unattributed: int = 0
    missing: list[Lost] = field(default_factory=list)
    problem: str | None = None
    """Why it was not compared."""

    def as_json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {
            "name": self.name,
            "service": self.title,
            "sales": self.sales,
            "held": self.held,
            "unattributed": self.unattributed,
            "missing": [lost.as_json() for lost in self.missing],
            "problem": self.problem,
        }


def compare_ends(
    ledger: Ledger,
    destinations: Sequence[Destination],
    routes: Sequence[Route],
    since: int,
    conversion_ids: Sequence[int] | None = None,
) -> list[End]:
    """Each of these destinations that has an API to ask, beside our Sales since then (seconds), or beside these. Reads only, on
    both sides. Raises LedgerUnavailable."""
    sales = list(_sales(ledger, since, conversion_ids))
    by_name = {route.name: route for route in routes}
    ends = []
    for destination in destinations:
        books, route = destination.format.books, by_name.get(destination.name)
        if books is None or route is None or route.is_shadow:
            continue
        end = End(destination.name, books.title)
        ends.append(end)
        expected = [sale for sale in sales if route.takes("sale", sale.source) and not _is_withdrawn(sale, route.name)]
        end.sales = len(expected)
        start = datetime.fromtimestamp(since, UTC) - CLOCKS
        try:
            held = held_of(destination, [sale.invoice_id for sale in expected], start)
        except (BooksRefused, TransientDeliveryError) as error:
            end.problem = str(error)
            continue
        assert held is not None
        for sale in expected:
            _judge(end, sale, is_held=sale.invoice_id in held.invoice_ids)
    return ends


def _sales(ledger: Ledger, since: int, conversion_ids: Sequence[int] | None) -> Iterator[Sold]:
    if conversion_ids is None:
        with ledger.read() as tx:
            yield from sales_since(tx, since * 1000)
        return
    for first in range(0, len(conversion_ids), BATCH):
        with ledger.read() as tx:
            yield from sales_by_id(tx, conversion_ids[first : first + BATCH])


def _is_withdrawn(sale: Sold, destination: str) -> bool:
    """It was refunded before it was sent."""
    _, status, error = sale.deliveries.get(destination, (0, "", None))
    return status == "discarded" and error == REFUNDED


def _judge(end: End, sale: Sold, *, is_held: bool) -> None:
    delivery, status, error = sale.deliveries.get(end.name, (None, "elsewhere", None))
    if is_held:
        end.held += 1
    elif status == "unattributed":
        end.unattributed += 1
    elif status == "delivered":
        end.missing.append(Lost(sale, "lost", LOST.format(title=end.title), delivery))
    else:
        reason = error or ("it has no delivery there" if delivery is None else f"its delivery is {status}")
        end.missing.append(Lost(sale, status, reason, delivery))


def send_missing(ledger: Ledger, end: End, target: Target, *, actor: str) -> list[ActionResult]:
    """Sends what a destination does not hold: what was delivered once more, under the same Idempotency-Key, what is dead again, and
    what it never got. What is on its way, or was discarded by somebody, stays as it is."""
    done: list[ActionResult] = []
    for lost in end.missing:
        if lost.state == "elsewhere":
            ids = [lost.sale.conversion_id]
            done += ledger.transact(partial(send_conversions, conversion_ids=ids, target=target, actor=actor))
        elif lost.delivery_id is not None and lost.state not in (*ON_THEIR_WAY, "discarded", "shadow"):
            done.append(ledger.transact(partial(replay, delivery_id=lost.delivery_id, actor=actor, force=True)))
        else:
            done.append(
                ActionResult(lost.delivery_id or 0, lost.state in ON_THEIR_WAY, f"it is {lost.state}: left as it is")
            )
    return done
