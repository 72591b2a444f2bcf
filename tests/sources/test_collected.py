"""What counts is the money that was collected, from whom: bodies that name more of it, or a stand-in for a person."""

import json
from dataclasses import replace
from functools import reduce
from typing import Any

import pytest

from app.ledger.engine import Ledger
from app.ledger.reading.money.marks import adjustments
from app.model import Inbound, Mapped, Product, Rules
from app.sources.catalog import SOURCES
from tests.sources.test_payments import chargebee, inbound_of
from tests.support import stripe_world as world
from tests.support.stripe_recorder import Recorder

TOTALS = "data.details.totals"
PRICE = "event.price_in_purchased_currency"
UNDATED = {"payment_method": "cod", "date_paid_gmt": None}


def changed(source: str, name: str, changes: dict[str, Any]) -> Mapped:
    """What that fixture means with other values at these paths."""
    inbound = inbound_of(source, name)
    body = json.loads(inbound.body)
    for path, value in changes.items():
        *way, last = path.split(".")
        reduce(lambda found, key: found[key], way, body)[last] = value
    return SOURCES[source].map(replace(inbound, body=json.dumps(body).encode()), Rules())


@pytest.mark.parametrize(
    ("source", "name", "changes", "minor", "tax"),
    [
        ("polar", "order", {}, 4900, 782),
        ("polar", "order", {"data.applied_balance_amount": 0, "data.due_amount": 4900}, 4900, 782),
        ("polar", "order", {"data.applied_balance_amount": -2000, "data.due_amount": 2900}, 2900, 0),
        ("polar", "order", {"data.applied_balance_amount": 300}, 5200, 0),
        ("polar", "order", {"data.applied_balance_amount": -9900, "data.due_amount": 0}, 0, 0),
        ("paddle", "transaction", {f"{TOTALS}.credit": "0", f"{TOTALS}.credit_to_balance": "0"}, 4900, 782),
        ("paddle", "transaction", {f"{TOTALS}.grand_total": "900", f"{TOTALS}.credit": "4000"}, 900, 0),
        (
            "paddle", "transaction",
            {f"{TOTALS}.grand_total": "900", f"{TOTALS}.credit": "4000", f"{TOTALS}.grand_total_tax": "144"}, 900, 144,
        ),
        ("woocommerce", "order", UNDATED, 0, 0),
        ("woocommerce", "order", {**UNDATED, "status": "completed"}, 4900, 782),
        ("woocommerce", "order", {"payment_method": "cod"}, 4900, 782),
        ("revenuecat", "renewal", {"event.price": 7.8365, PRICE: None, "event.currency": None}, 784, 0),
        ("revenuecat", "renewal", {"event.price": 4.9999998, "event.currency": None}, 500, 0),
    ],
)  # fmt: skip
def test_only_what_was_collected_counts(source: str, name: str, changes: dict[str, Any], minor: int, tax: int) -> None:
    mapped = changed(source, name, changes)
    sale = mapped.sale
    assert (mapped.outcome, sale.money.minor if sale else 0, sale.tax if sale else 0) == (
        "sale" if minor else "ignored",
        minor,
        tax,
    )
    assert mapped.keys, "what it says is remembered for the payment that follows"


def test_a_purchase_of_kit_has_its_tax_and_its_products() -> None:
    purchase = json.loads(inbound_of("kit", "purchase").body)["events"][0]
    purchase["data"]["purchase"]["products"] = [{"name": "A course", "pid": 9, "lid": 1, "price": 41.18, "quantity": 2}]
    sale = SOURCES["kit"].map(Inbound(json.dumps({"events": [purchase]}).encode(), {}), Rules()).sale
    assert sale
    assert (sale.money.minor, sale.tax, sale.products) == (4900, 782, (Product("9", "A course", 2),))


def test_the_address_of_nobody_joins_no_buyers() -> None:
    email = "payload.payment.entity.email"
    given, none = (
        changed("razorpay", "payment_captured", {email: text}) for text in ("p@kern.example", "Void@razorpay.com")
    )
    assert (given.who.email, none.who.email) == ("p@kern.example", None)
    assert none.who.phone


@pytest.mark.parametrize(("holder", "buyer"), [("payment_link", "customer"), ("invoice", "customer_details")])
def test_a_payment_link_or_invoice_of_razorpay_names_its_buyer(holder: str, buyer: str) -> None:
    body = json.loads(inbound_of("razorpay", "payment_captured").body)
    body["event"] = f"{holder}.paid"
    body["payload"]["payment"]["entity"] |= {"email": "void@razorpay.com", "notes": []}
    person = {"email": "p@kern.example", "name": "Pia Kern", "contact": None}
    body["payload"][holder] = {"entity": {"id": "x_1", "notes": {"clickId": "clk_link"}, buyer: person}}
    mapped = SOURCES["razorpay"].map(Inbound(json.dumps(body).encode(), {}), Rules())
    assert mapped.outcome == "sale"
    assert (mapped.who.email, mapped.who.name, mapped.who.click_id) == ("p@kern.example", "Pia Kern", "clk_link")
    body["payload"]["payment"]["entity"] |= {"email": "q@kern.example", "notes": {"clickId": "clk_own"}}
    nearer = SOURCES["razorpay"].map(Inbound(json.dumps(body).encode(), {}), Rules())
    assert (nearer.who.email, nearer.who.click_id) == ("q@kern.example", "clk_own")


def test_a_lead_of_meta_s_testing_tool_is_a_test() -> None:
    fields = [{"name": "email", "values": ["test@meta.com"]},
              {"name": "full_name", "values": ["<test lead: dummy data for full_name>"]}]  # fmt: skip
    inbound = Inbound(json.dumps({"id": "7", "field_data": fields}).encode(), {})
    refused = SOURCES["metaleads"].map(inbound, Rules())
    assert (refused.outcome, refused.keys, "METALEADS_ALLOW_TEST_EVENTS" in refused.reason) == ("ignored", (), True)
    assert SOURCES["metaleads"].map(inbound, Rules(test_events={"metaleads": True})).outcome == "lead"
    fields[1]["values"] = ["Ida Kern"]
    real = replace(inbound, body=json.dumps({"id": "7", "field_data": fields}).encode())
    assert SOURCES["metaleads"].map(real, Rules()).outcome == "lead"


@pytest.mark.parametrize(("tries", "invoice_id"), [(["failure", "success"], "1023"), (["success", "success"], "txn_1")])
def test_a_payment_that_failed_before_paid_nothing_of_the_invoice(tries: list[str], invoice_id: str) -> None:
    linked = [{"txn_id": f"txn_{number}", "txn_status": status} for number, status in enumerate(tries)]
    invoice = {"id": "1023", "total": 5000, "linked_payments": linked}
    mapped = SOURCES["chargebee"].map(chargebee("payment_succeeded", {"id": "txn_1"}, invoice=invoice), Rules())
    assert mapped.sale
    assert mapped.sale.invoice_id == invoice_id


def test_each_payment_of_an_invoice_finds_its_sale(ledger: Ledger) -> None:
    recorder, w = Recorder(ledger), world.World(old=False)
    parts = [{"status": status, "payment": {"type": "payment_intent", "payment_intent": f"pi_{number}_{w.tail}"}}
             for number, status in enumerate(("paid", "open", "paid"))]  # fmt: skip
    invoice = w.invoice(4900, "subscription_cycle", payments={"object": "list", "data": parts})
    recorder.take(world.body("invoice.paid", invoice))
    fields = {"object": "refund", "amount": 900, "currency": "usd", "status": "succeeded"}
    for number in range(3):
        refund = {**fields, "id": f"re_{number}", "payment_intent": f"pi_{number}_{w.tail}"}
        recorder.take(world.body("refund.created", refund))
    with ledger.read() as tx:
        sale = tx.run("SELECT id FROM conversions WHERE kind = 'sale'").scalar_one()
        assert [mark.reference for mark in adjustments(tx, [sale])] == ["re_0", "re_2"]
