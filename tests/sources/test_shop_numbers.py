"""A shop of one's own that counts its orders and its invoices from 1: the same number names an order here and an invoice there."""

import itertools
import json
from typing import Any

import pytest

from app.ledger.engine import Ledger
from app.sources.custom import build
from tests.support.stripe_recorder import Recorder

TABLE = {
    "kind": "sale",
    "currency": "EUR",
    "events": {"path": "type", "allow": ["paid"], "refunds": ["refunded"]},
    "fields": {"invoice_id": "invoice", "order_id": "order", "amount": "total", "aliases": "payment"},
}


def body(kind: str, invoice: int | None, order: int, total: str, **fields: Any) -> bytes:
    email = f"buyer{order}@example.com"
    return json.dumps(
        {"type": kind, "invoice": invoice, "order": order, "total": total, "email": email, **fields}
    ).encode()


@pytest.mark.parametrize("together", [False, True])
def test_an_invoice_and_an_order_of_one_number_are_two_sales_in_every_order(ledger: Ledger, together: bool) -> None:
    recorder = Recorder(ledger, build("shop", TABLE))
    for round_, (first, second) in enumerate(itertools.permutations(((5, 1001, "10.00"), (9, 5, "20.00")))):
        bodies = [body("paid", a + 10000 * round_, b + 10000 * round_, c) for a, b, c in (first, second)]
        start = recorder.newest()
        receipts = recorder.take(*bodies) if together else [*recorder.take(bodies[0]), *recorder.take(bodies[1])]
        assert [receipt.outcome for receipt in receipts] == ["sale", "sale"]
        again = [json.dumps({**json.loads(one), "note": "again"}).encode() for one in bodies]
        assert {receipt.outcome for receipt in recorder.take(*again)} == {"duplicate"}
        for invoice, order, _ in (first, second):
            (refund,) = recorder.take(body("refunded", invoice + 10000 * round_, order + 10000 * round_, "1.50"))
            assert f"sale:shop:{invoice + 10000 * round_}" in refund.reason
        sales = recorder.payloads("sale", after=start)
        assert sorted((sale["amount"], sale["orderId"]) for sale in sales) == [
            (10, str(1001 + 10000 * round_)),
            (20, str(5 + 10000 * round_)),
        ]
    assert recorder.conflicts() == []
    with ledger.read() as tx:
        marked = (
            "SELECT COUNT(*) FROM marks m JOIN dedupe_keys k ON k.key = m.key GROUP BY k.conversion_id, m.reference"
        )
        assert len(tx.run(marked).all()) == 4, "each refund is one of one Sale"


def test_one_order_that_gets_its_invoice_later_and_one_payment_are_still_one_sale(ledger: Ledger) -> None:
    recorder = Recorder(ledger, build("shop", TABLE))
    outcomes = [
        recorder.take(body("paid", invoice, order, "10.00", payment=payment))[0].outcome
        for invoice, order, payment in ((None, 7, "tx_1"), (3, 7, "tx_1"), (3, 8, "tx_2"), (4, 9, "tx_1"))
    ]
    assert outcomes == ["sale", "duplicate", "duplicate", "duplicate"]
