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
    "events": {"path": "type", "allow": ["paid"], "refunds": ["refunded"], "teach": ["created"]},
    "fields": {
        "invoice_id": "invoice",
        "order_id": "order",
        "amount": "total",
        "aliases": "payment",
        "click_id": "click",
    },
}


def body(kind: str, invoice: int | None, order: int | None, total: str, **fields: Any) -> bytes:
    email = f"buyer{order or invoice}@example.com"
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


NUMBERS = ((5, 1001), (9, 5), (7, 9))
"""Invoice and order of three Sales."""
PAID = [body("paid", invoice, order, "10.00") for invoice, order in NUMBERS]


def refunds(ledger: Ledger) -> list[tuple[str, int]]:
    """(invoice of its Sale, minor units) of each, the smallest first."""
    with ledger.read() as tx:
        statement = "SELECT c.facts, r.minor FROM refunds r JOIN conversions c ON c.id = r.sale_id ORDER BY r.minor"
        return [(json.loads(facts)["sale"]["invoice_id"], minor) for facts, minor in tx.run(statement).all()]


@pytest.mark.parametrize(
    ("invoice", "order", "sale"), [(None, 5, 9), (5, None, 5), (9, 5, 9), (9, None, 9), (None, 9, 7)]
)
def test_a_refund_counts_against_the_sale_of_its_order_or_invoice_whenever_it_comes(
    ledger: Ledger, invoice: int | None, order: int | None, sale: int
) -> None:
    recorder, expected = Recorder(ledger, build("shop", TABLE)), []
    for round_, (sales, place) in enumerate(itertools.product(itertools.permutations(NUMBERS), range(4))):
        more = 10000 * (round_ + 1)
        bodies = [body("paid", one + more, other + more, "10.00") for one, other in sales]
        bodies.insert(place, body("refunded", invoice and invoice + more, order and order + more, f"{round_ + 1}e-2"))
        recorder.take(*bodies[: place + 1])
        recorder.take(*bodies[place + 1 :])
        expected.append((str(sale + more), round_ + 1))
    assert refunds(ledger) == expected
    assert len(recorder.payloads("sale")) == 3 * len(expected)


def test_refunds_of_an_order_and_of_an_invoice_of_one_number_are_two(ledger: Ledger) -> None:
    recorder = Recorder(ledger, build("shop", TABLE))
    recorder.take(*PAID)
    recorder.take(body("refunded", None, 5, "1.50"), body("refunded", 5, None, "2.50"))
    assert refunds(ledger) == [("9", 150), ("5", 250)]
    outcomes = [
        recorder.take(body("paid", invoice, order, "5.00"))[0].outcome
        for invoice, order in ((None, 8), (8, 2002), (3, 8), (2002, None))
    ]
    assert outcomes == ["sale", "sale", "duplicate", "sale"]
    recorder.take(body("refunded", None, 8, "3.50"), body("refunded", 8, None, "4.50"))
    assert refunds(ledger)[2:] == [("8", 350), ("8", 450)]


def test_what_is_said_of_an_order_is_not_taken_for_the_invoice_of_its_number(ledger: Ledger) -> None:
    recorder = Recorder(ledger, build("shop", TABLE))
    recorder.take(body("created", None, 5, "10.00", click="clk_of_order_5"))
    recorder.take(*PAID)
    assert [sale.get("clickId") for sale in recorder.payloads("sale")] == [None, "clk_of_order_5", None]


def test_a_sale_that_a_former_version_recorded_is_found_by_its_number(ledger: Ledger) -> None:
    recorder = Recorder(ledger, build("shop", TABLE))
    recorder.take(*PAID)
    with ledger.write() as tx:
        tx.run("DELETE FROM dedupe_keys WHERE key LIKE 'sale:shop:%=%'")
        tx.run("UPDATE dedupe_keys SET key = 'sale:shop:500' WHERE key = 'sale:shop:5'")
        tx.run("INSERT INTO dedupe_keys SELECT 'sale:shop:5', conversion_id FROM dedupe_keys WHERE key = 'sale:shop:9'")
    recorder.take(body("refunded", None, 5, "1.50"))
    assert refunds(ledger) == [("9", 150)]


def test_ids_other_than_bare_numbers_are_found_in_whichever_field_they_stand(ledger: Ledger) -> None:
    recorder = Recorder(ledger, build("shop", TABLE))
    recorder.take(json.dumps(json.loads(body("paid", 1, 2, "10.00")) | {"invoice": "INV-1", "order": "ORD-1"}).encode())
    recorder.take(json.dumps(json.loads(body("refunded", 1, None, "1.50")) | {"invoice": "ORD-1"}).encode())
    assert refunds(ledger) == [("INV-1", 150)]
