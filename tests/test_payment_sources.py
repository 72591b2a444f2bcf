"""Of every payment source: whatever comes, in whatever order and however often, each payment is one Sale of the right money, person
and click, what went back is known, and a test counts nothing."""

import os
import tempfile
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.ledger.engine import Ledger
from app.ledger.reading.money.marks import adjustments
from app.ledger.recording.arrival import Arrival
from app.ledger.recording.record import record
from app.ledger.schema import upgrade
from app.model import Inbound
from app.money import from_major
from app.sources.catalog import SOURCES
from tests.support.payment_worlds import WORLDS, Message, Price
from tests.support.stripe_recorder import Recorder

EXAMPLES = int(os.environ.get("BRIDGE_EXAMPLES", "4"))
"""The nightly run sets 1000."""
WHOLE = ("JPY", "KRW", "ISK", "UGX")
pytestmark = pytest.mark.filterwarnings("ignore::hypothesis.errors.NonInteractiveExampleWarning")
numbers = iter(range(1_000, 10_000_000))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    """One ledger for all examples: each has ids of its own."""
    path = Path(tempfile.mkdtemp(dir=tmp_path_factory.getbasetemp())) / "ledger.db"
    ledger = Ledger(f"sqlite:///{path}")
    upgrade(ledger)
    return ledger


class Posted(Recorder):
    """Records messages with their headers, in groups."""

    def post(self, messages: list[Message], data: st.DataObject) -> None:
        size = data.draw(st.integers(1, 5), label="group size")
        for start in range(0, len(messages), size):
            inbounds = [Inbound(body, headers) for body, headers in messages[start : start + size]]
            now = datetime.now(UTC)
            arrivals = [
                Arrival(self.source.name, self.source.map(one, self.policy.rules), one, {}, now) for one in inbounds
            ]
            with self.ledger.write() as tx:
                record(tx, arrivals, self.policy)

    def returned(self, sale: int) -> list[tuple[int, str]]:
        """What went back of the Sale of that delivery."""
        with self.ledger.read() as tx:
            (conversion,) = tx.run("SELECT conversion_id FROM deliveries WHERE id = ?", sale).one()
            return [(one.minor, one.currency) for one in adjustments(tx, [conversion])]

    def sales(self, after: int) -> list[tuple[int, int | None]]:
        """(delivery, person) of each, the oldest first."""
        statement = (
            "SELECT id, person_id FROM deliveries WHERE kind = 'sale' AND id > ? AND status <> 'discarded' ORDER BY id"
        )
        with self.ledger.read() as tx:
            return [tuple(row) for row in tx.run(statement, after).all()]


def price_in(currency: str, units: int) -> Price:
    """A price that is ten times something in every unit."""
    return Price(Decimal(units * 10) if currency in WHOLE else Decimal(units * 10) / 100, currency)


@given(data=st.data())
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@pytest.mark.parametrize("source", WORLDS)
def test_every_payment_is_one_sale_in_any_order_and_repetition(
    shared: Ledger, source: str, data: st.DataObject
) -> None:
    make, currencies = WORLDS[source]
    currency = data.draw(st.sampled_from(currencies), label="currency")
    price = price_in(currency, data.draw(st.integers(1, 99_999), label="price"))
    buyer = make(next(numbers), price)
    posted = Posted(shared, SOURCES[source])
    start = posted.newest()
    posted.post(list(buyer.before), data)
    repeated = data.draw(st.lists(st.sampled_from(buyer.first), max_size=4), label="again")
    tests = [buyer.test] if buyer.test else []
    posted.post(data.draw(st.permutations([*buyer.first, *repeated, *tests]), label="first"), data)
    posted.send_all()
    everything = [*buyer.first, *buyer.renewals, *buyer.refunds]
    repeated = data.draw(st.lists(st.sampled_from(everything), max_size=4), label="again later")
    posted.post(data.draw(st.permutations([*buyer.renewals, *buyer.refunds, *repeated]), label="later"), data)
    sales = posted.sales(start)
    assert len(sales) == 1 + len(buyer.renewals)
    assert posted.payloads("lead", after=start) == []
    assert len({person for _, person in sales}) == 1
    for payload in posted.payloads("sale", after=start):
        assert (Decimal(str(payload["amount"])), payload["currency"]) == (price.major, currency)
        assert payload["customerExternalId"] == buyer.customer
        assert payload["clickId"] == buyer.click
    (first, _), *renewed = sales
    assert sum(minor for minor, _ in posted.returned(first)) == from_major(buyer.returned, currency).minor
    assert [posted.returned(delivery) for delivery, _ in renewed] == [[], []]
