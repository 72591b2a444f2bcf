"""Sources of payments: one purchase is one Sale whichever of its events come, in whatever order and how often; renewals keep the
first click and customer id; money that went back marks its Sale; tests and promises count nothing."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial, reduce
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from app.destinations.formats.dub import Dub
from app.destinations.formats.events import Events
from app.errors import MalformedEvent
from app.ledger.actions.replay import REFUNDED
from app.ledger.engine import Ledger
from app.ledger.reading.money.marks import adjustments
from app.ledger.recording.arrival import Arrival, Policy, Route
from app.ledger.recording.record import record
from app.model import Inbound, Outcome, Rules
from app.money import Money
from app.sources.catalog import SOURCES, content_type_of
from app.sources.custom import build
from app.sources.payment import money_of, whole
from app.sources.set_up import set_up_of
from tests.support.stripe_recorder import Recorder

FOLDER = Path(__file__).parents[2] / "app" / "sources"
MAIN = Route("main", Events())
START = datetime(2026, 4, 20, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Story:
    """Fixtures of one buyer by name: a first payment with its twins, and what follows it once it is counted."""

    first: tuple[str, ...]
    later: tuple[str, ...] = ()
    sales: int = 1
    leads: int = 0
    marks: int = 0
    customer: str = "user_kern"
    known_before: tuple[str, ...] = ()
    """Come before all others: what they teach is used."""


STORIES = {
    "paddle": Story(
        first=("transaction_paid_is_not_completed_yet", "transaction"),
        later=("refund_that_waits", "refund_in_part"),
        marks=1,
        known_before=("customer_created",),
    ),
    "lemonsqueezy": Story(
        first=("order", "first_invoice_is_its_order"), later=("renewal", "order_refunded_in_part"), sales=2, marks=1
    ),
    "polar": Story(first=("order_created_is_not_paid", "order"), later=("renewal", "refund"), sales=2, marks=1),
    "dodo": Story(
        first=("payment_in_yen",),
        later=("subscription_renewed_is_no_money", "payment_method_changed", "refund", "dispute_lost"),
        marks=2,
    ),
    "shopify": Story(first=("order_that_is_pending", "order"), later=("refund",), marks=1, customer="ida@kern.example"),
    "woocommerce": Story(first=("order",), later=("order_refunded_in_part",), marks=1, customer="ida@kern.example"),
    "razorpay": Story(
        first=("payment_authorized_is_no_money", "payment_captured", "order_paid_is_its_twin"),
        later=("subscription_charged", "refund_processed"),
        sales=2,
        marks=1,
    ),
    "revenuecat": Story(
        first=("initial_purchase",),
        later=("renewal", "cancelled_by_the_user", "refunded_by_support"),
        sales=2,
        marks=1,
    ),
    "gumroad": Story(first=("sale",), later=("renewal", "refund", "cancellation"), sales=2, marks=1),
    "creem": Story(
        first=("checkout", "first_subscription_payment_is_its_twin", "subscription_active_is_no_money"),
        later=("renewal", "refund"),
        sales=2,
        marks=1,
    ),
    "whop": Story(
        first=("membership_activated_is_no_money", "payment"),
        later=("renewal_without_metadata", "refund"),
        sales=2,
        marks=1,
        customer="user_own",
    ),
    "chargebee": Story(first=("invoice_generated_is_no_money", "payment"), later=("refund",), marks=1),
}
ELSEWHERE = ("stripe",)
"""Has tests of its own."""
PAYMENTS = sorted(
    {
        path.parents[1].name
        for path in FOLDER.glob("*/fixtures/*.expected.json")
        if json.loads(path.read_text("utf-8"))["outcome"] == "sale" and path.parents[1].name not in ELSEWHERE
    }
)
MARKING = sorted(name for name, one in SOURCES.items() if set_up_of(one).marks_tests and name not in ELSEWHERE)


def inbound_of(source: str, name: str) -> Inbound:
    path = next(p for p in (FOLDER / source / "fixtures").glob(f"{name}.*") if ".expected." not in p.name)
    return Inbound(path.read_bytes(), {"content-type": content_type_of(path.name, path.read_bytes())})


def fixtures_of(source: str) -> list[Inbound]:
    expected = sorted((FOLDER / source / "fixtures").glob("*.expected.json"))
    return [inbound_of(source, path.name.removesuffix(".expected.json")) for path in expected]


def take(
    ledger: Ledger, source: str, names: list[str], *, repeat: bool = False, routes: Sequence[Route] = (MAIN,)
) -> list[Outcome]:
    """Records the fixtures in that order; their outcomes."""
    policy = Policy(Rules(), routes)
    outcomes = []
    for name in names:
        inbound = inbound_of(source, name)
        mapped = SOURCES[source].map(inbound, policy.rules)
        if repeat:  # the provider sends it again as another event
            mapped = replace(mapped, event_id=f"{mapped.event_id}-again")
        arrival = Arrival(source, mapped, inbound, {}, START)
        with ledger.write() as tx:
            outcomes += [receipt.outcome for receipt in record(tx, [arrival], policy)]
    return outcomes


def deliver_all(ledger: Ledger) -> None:
    """As if the workers had sent everything that is recorded."""
    with ledger.write() as tx:
        tx.run("UPDATE deliveries SET status = 'delivered', attempts = 1, due_at = NULL")


def sent(ledger: Ledger, kind: str) -> list[dict[str, Any]]:
    """Payloads of what is sent, and of Sales that would be, had not all of the money gone back first."""
    with ledger.read() as tx:
        statement = (
            "SELECT payload FROM deliveries WHERE kind = ? AND (status <> 'discarded' OR last_error = ?) ORDER BY id"
        )
        return [json.loads(payload) for payload in tx.run(statement, kind, REFUNDED).scalars()]


def marks(ledger: Ledger) -> int:
    with ledger.read() as tx:
        return int(tx.run("SELECT COUNT(DISTINCT reference) FROM marks").scalar_one())


@pytest.mark.parametrize("source", STORIES)
@pytest.mark.parametrize("seed", range(2))
def test_a_purchase_is_one_sale_in_every_order_and_repetition(ledger: Ledger, source: str, seed: int) -> None:
    story, chance = STORIES[source], random.Random(seed)
    first = list(story.first)
    chance.shuffle(first)
    again = chance.choices([*story.first, *story.later], k=3)
    take(ledger, source, [*story.known_before, *first])
    take(ledger, source, first, repeat=True)
    deliver_all(ledger)  # else a purchase that is refunded in full is not sent
    later = list(story.later)
    chance.shuffle(later)
    take(ledger, source, later)
    take(ledger, source, again)
    sales = sent(ledger, "sale")
    assert len(sales) == story.sales
    assert len(sent(ledger, "lead")) == story.leads
    assert marks(ledger) == story.marks
    assert {payload["customerExternalId"] for payload in sales} == {story.customer}
    assert {payload["clickId"] for payload in sales if source != "razorpay"} <= {"clk_kern"}


BACK = {"dodo": [1400, 4000], "woocommerce": [1500], "razorpay": [100000], "revenuecat": [4900], "gumroad": [4900]}
"""What goes back in each story, where it is not one refund of 1000 (minor units)."""


@pytest.mark.parametrize("source", [source for source, story in STORIES.items() if story.marks])
def test_money_that_went_back_is_sent_once_to_who_takes_refunds(ledger: Ledger, source: str) -> None:
    story = STORIES[source]
    routes = [Route("main", Dub()), Route("partners", Dub(), refunds=True), Route("events", Events(), refunds=True)]
    take(ledger, source, [*story.known_before, *story.first], routes=routes)
    deliver_all(ledger)
    take(ledger, source, [*story.later, *story.later], routes=routes)
    take(ledger, source, list(story.later), repeat=True, routes=routes)
    with ledger.read() as tx:
        rows = tx.run("SELECT destination, dedupe_key, payload FROM deliveries WHERE kind = 'refund' ORDER BY id").all()
    assert {row[0] for row in rows} == {"partners"}
    assert all(row[1].startswith(f"refund:{source}:") for row in rows)
    left = [json.loads(row[2])["amountLeft"] for row in rows]
    total = json.loads(rows[0][2])["saleAmount"]
    assert [before - after for before, after in pairwise([total, *left])] == BACK.get(source, [1000])


@pytest.mark.parametrize("source", MARKING)
def test_a_test_event_is_ignored_unless_it_is_allowed(source: str) -> None:
    allowed = set()
    for inbound in fixtures_of(source):
        refused = SOURCES[source].map(inbound, Rules())
        if f"{source.upper()}_ALLOW_TEST_EVENTS" in refused.reason:
            assert (refused.outcome, refused.carries_identity, refused.keys) == ("ignored", False, ())
            allowed.add(SOURCES[source].map(inbound, Rules(test_events={source: True})).outcome)
    assert allowed & {"sale", "lead"}, "add the fixture of a test event that would count"


def test_a_paddle_transaction_gets_the_address_of_its_customer(ledger: Ledger) -> None:
    assert take(ledger, "paddle", ["transaction_in_yen", "customer_created"]) == ["sale", "ignored"]
    assert [payload["customerExternalId"] for payload in sent(ledger, "sale")] == ["ctm_01kern"]
    with ledger.read() as tx:
        assert tx.run("SELECT email FROM persons").scalars().all() == ["ida@kern.example"]


def test_a_shop_behind_stripe_counts_once(ledger: Ledger) -> None:
    """WooCommerce names Stripe's payment intent, which Stripe reports itself."""
    take(ledger, "woocommerce", ["order"])
    session = {
        "id": "cs_1", "object": "checkout.session", "mode": "payment", "payment_status": "paid", "amount_total": 4900,
        "currency": "eur", "customer_details": {"email": "ida@kern.example"}, "payment_intent": "pi_kern",
    }  # fmt: skip
    event = {"id": "evt_1", "object": "event", "type": "checkout.session.completed", "data": {"object": session}}
    inbound = Inbound(json.dumps(event).encode(), {})
    policy = Policy(Rules(), [Route("main", Events())])
    with ledger.write() as tx:
        arrival = Arrival("stripe", SOURCES["stripe"].map(inbound, policy.rules), inbound, {}, START)
        assert [receipt.outcome for receipt in record(tx, [arrival], policy)] == ["duplicate"]


@pytest.mark.parametrize("gateway_first", [True, False])
def test_a_subscription_on_the_web_counts_once_although_its_store_reports_it_too(
    ledger: Ledger, gateway_first: bool
) -> None:
    purchase = json.loads(inbound_of("revenuecat", "renewal").body)
    purchase["event"] |= {"store": "STRIPE", "transaction_id": "in_kern"}
    invoice = {"id": "in_kern", "object": "invoice", "amount_paid": 999, "currency": "eur", "customer": "cus_kern"}
    invoice |= {"status": "paid", "billing_reason": "subscription_cycle", "subscription": "sub_kern"}
    event = {"id": "evt_1", "object": "event", "type": "invoice.paid", "data": {"object": invoice}}
    bodies = [("stripe", event), ("revenuecat", purchase)]
    outcomes = [
        Recorder(ledger, SOURCES[source]).take(json.dumps(body).encode())[0].outcome
        for source, body in (bodies if gateway_first else reversed(bodies))
    ]
    assert outcomes == ["sale", "duplicate"]


def chargebee(event: str, transaction: dict[str, Any], **content: Any) -> Inbound:
    known = {"type": "payment", "status": "success", "amount": 5000, "currency_code": "EUR", "date": 1_790_000_000}
    customer = {"id": "user_kern", "email": "ida@kern.example"}
    body = {"id": f"ev_{transaction['id']}", "event_type": event,
            "content": {"transaction": {**known, **transaction}, "customer": customer, **content}}  # fmt: skip
    return Inbound(json.dumps(body).encode(), {})


def test_payments_of_one_invoice_are_a_sale_each_and_a_refund_that_names_the_invoice_finds_its_payment(
    ledger: Ledger,
) -> None:
    policy = Policy(Rules(), [Route("main", Events())])
    linked, credited = {"linked_invoices": [{"invoice_id": "1023"}]}, {"reference_invoice_id": "1023"}
    for inbound in (
        chargebee("payment_succeeded", {"id": "txn_1", **linked}),
        chargebee("payment_refunded", {"id": "txn_r", "type": "refund", "amount": 700}, credit_note=credited),
        chargebee("payment_succeeded", {"id": "txn_2", **linked}),
        chargebee("payment_succeeded", {"id": "txn_3"}, invoice={"id": "1024"}),
    ):  # fmt: skip
        with ledger.write() as tx:
            arrival = Arrival("chargebee", SOURCES["chargebee"].map(inbound, policy.rules), inbound, {}, START)
            record(tx, [arrival], policy)
    sales = sent(ledger, "sale")
    assert [payload["invoiceId"] for payload in sales] == ["1023", "1023", "1024"]
    with ledger.read() as tx:
        ids = tx.run("SELECT conversion_id FROM deliveries ORDER BY id").scalars().all()
        assert [[one.minor for one in adjustments(tx, [each])] for each in ids] == [[700], [], []]


def test_orders_of_two_shops_with_one_number_are_two(ledger: Ledger) -> None:
    order = inbound_of("woocommerce", "order")
    one, two, same = (
        SOURCES["woocommerce"].map(Inbound(order.body, {**order.headers, "x-wc-webhook-source": shop}), Rules())
        for shop in ("https://one.example/", "https://two.example", "https://ONE.example")
    )
    assert (one.account, two.account) == ("one.example", "two.example")
    assert one.account == same.account
    assert one.sale == two.sale


@pytest.mark.parametrize("source", PAYMENTS)
def test_odd_amounts_and_missing_ids_are_parked_or_ignored_and_never_sent(source: str) -> None:
    inbound = next(each for each in fixtures_of(source) if SOURCES[source].map(each, Rules()).sale)
    if not inbound.body.startswith(b"{"):
        return
    odd_values: tuple[object, ...] = (None, "x", {}, [], True, -1, "1e400", 10**30, "")
    for odd in odd_values:
        body = json.loads(inbound.body)
        for holder, key in list(places(body)):
            before = holder[key]
            holder[key] = odd
            odd_body = Inbound(json.dumps(body).encode(), inbound.headers)
            holder[key] = before
            try:
                mapped = SOURCES[source].map(odd_body, Rules())
            except MalformedEvent:
                continue  # the whole body is not this provider's
            assert mapped.outcome in ("sale", "ignored", "parked", "lead")
            if mapped.sale:
                assert mapped.sale.money.minor > 0
                assert mapped.keys


def places(value: Any) -> Any:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield value, key
        yield from places(inner)


@pytest.mark.parametrize(
    ("amount", "currency", "unit", "expected"),
    [
        ("4900", "eur", "iso", Money(4900, "EUR")),
        (5400, "JPY", "iso", Money(5400, "JPY")),
        (500, "ISK", "iso", Money(50000, "ISK")),
        (500, "UGX", "stripe", Money(500, "UGX")),
        (1999, "JPY", "cents", "the amount has more decimals than JPY has"),
        (2000, "JPY", "cents", Money(20, "JPY")),
        (10500, "KWD", "iso", Money(10500, "KWD")),
        ("49.00", "EUR", "major", Money(4900, "EUR")),
        (19.99, "usd", "major", Money(1999, "USD")),
        (None, "EUR", "iso", "it has no amount"),
        ("12.5", "EUR", "iso", "the amount is not a whole number of a sensible size"),
        (True, "EUR", "cents", "the amount is not a whole number of a sensible size"),
        (5, "euro", "iso", "the currency is missing or no ISO 4217 code"),
    ],
)
def test_amounts_are_read_in_the_provider_s_unit(amount: Any, currency: str, unit: Any, expected: Money | str) -> None:
    assert money_of(amount, currency, unit) == expected


def test_whole_numbers() -> None:
    assert [whole(value) for value in (5, "5", 5.0, "-5", "5.0", 5.5, None, True, "1" * 20)] == [
        5,
        5,
        5,
        -5,
        None,
        None,
        None,
        None,
        None,
    ]


REVERSALS: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "revenuecat": (
        "refunded_by_support",
        [{"event.type": "REFUND_REVERSED", "event.event_timestamp_ms": 1800000000000}],
    ),
    "paddle": (
        "refund_in_part",
        [{"data.status": "reversed", "occurred_at": "2027-01-01T00:00:00Z"}],
    ),
    "woocommerce": (
        "order_refunded_in_part",
        [{"refunds": [{"id": 1, "total": "-0.01"}], "date_modified_gmt": "2027-01-01T00:00:00"}],
    ),
}


DELETED = {"status": "processing", "refunds": [], "date_modified_gmt": "2027-01-01T00:00:00"}


@pytest.mark.parametrize(
    ("source", "story"), [*REVERSALS.items(), ("woocommerce", ("order_refunded_in_part", [DELETED]))]
)
def test_money_that_came_again_restores_the_sale(
    ledger: Ledger, source: str, story: tuple[str, list[dict[str, Any]]]
) -> None:
    name, changes = story
    policy = Policy(Rules(), [Route("partners", Dub(), refunds=True)])
    take(ledger, source, [*STORIES[source].known_before, *STORIES[source].first], routes=policy.routes)
    deliver_all(ledger)
    take(ledger, source, [name], routes=policy.routes)
    deliver_all(ledger)
    for change in changes:
        inbound = inbound_of(source, name)
        body = json.loads(inbound.body)
        for path, value in change.items():
            *way, last = path.split(".")
            reduce(lambda found, key: found[key], way, body)[last] = value
        mapped = SOURCES[source].map(replace(inbound, body=json.dumps(body).encode()), policy.rules)
        arrival = Arrival(source, replace(mapped, event_id=f"{mapped.event_id}-later"), inbound, {}, START)
        with ledger.write() as tx:
            record(tx, [arrival], policy)
    with ledger.read() as tx:
        rows = tx.run("SELECT dedupe_key, payload FROM deliveries WHERE kind = 'refund' ORDER BY id").all()
    back, again = [json.loads(payload) for _, payload in rows]
    assert (rows[1][0].endswith(":restored"), again["isRestored"]) == (True, True)
    assert again["amountLeft"] >= again["saleAmount"] - 1 > back["amountLeft"]


@pytest.mark.parametrize("stripe_first", [True, False])
def test_a_refund_that_shop_and_gateway_report_counts_once(ledger: Ledger, stripe_first: bool) -> None:
    routes = [Route("partners", Dub(), refunds=True)]
    take(ledger, "woocommerce", ["order"], routes=routes)
    deliver_all(ledger)
    fields = {"object": "refund", "amount": 1500, "currency": "eur", "status": "succeeded", "payment_intent": "pi_kern"}
    event = {"id": "evt_re", "object": "event", "created": 1_790_000_000, "type": "refund.created"}
    inbound = Inbound(json.dumps(event | {"data": {"object": fields | {"id": "re_1"}}}).encode(), {})

    def by_stripe() -> None:
        policy = Policy(Rules(), routes)
        with ledger.write() as tx:
            record(tx, [Arrival("stripe", SOURCES["stripe"].map(inbound, policy.rules), inbound, {}, START)], policy)

    def by_shop() -> None:
        take(ledger, "woocommerce", ["order_refunded_in_part"], routes=routes)

    for tell in (by_stripe, by_shop) if stripe_first else (by_shop, by_stripe):
        tell()
        deliver_all(ledger)
    with ledger.read() as tx:
        rows = tx.run("SELECT dedupe_key, payload FROM deliveries WHERE kind = 'refund'").all()
    first = "refund:stripe:re_1" if stripe_first else "refund:woocommerce:shop:727:1500"
    assert [(key, json.loads(payload)["amountLeft"]) for key, payload in rows] == [(first, 3400)]


def test_a_refund_of_a_creem_renewal_leaves_the_first_payment_alone(ledger: Ledger) -> None:
    recorder = Recorder(ledger, SOURCES["creem"])
    paid = {"amount": 2380, "amount_paid": 2380, "currency": "EUR", "status": "paid"}
    customer = {"id": "cust_1", "email": "ida@kern.example"}
    first = {"id": "ch_1", "customer": customer, "order": {**paid, "id": "ord_1", "transaction": "tran_1"}}
    renewal = {"id": "sub_1", "customer": customer, "last_transaction": {**paid, "id": "tran_2"}}
    transaction = {"id": "tran_2", "order": "ord_1"}
    refund = {
        "id": "ref_1",
        "status": "succeeded",
        "refund_amount": 1000,
        "refund_currency": "EUR",
        "transaction": transaction,
    }
    for kind, thing in (("checkout.completed", first), ("subscription.paid", renewal), ("refund.created", refund)):
        recorder.take(json.dumps({"id": f"evt_{kind}", "eventType": kind, "object": thing}).encode())
    assert_refund_of(ledger, "sale:creem:tran_2", 1000)
    assert recorder.open_or_sent() == ["sale:creem:tran_1", "sale:creem:tran_2"]


def test_a_refund_that_names_two_counted_sales_does_not_join_them(ledger: Ledger) -> None:
    table = {
        "kind": "sale",
        "currency": "EUR",
        "events": {"path": "type", "allow": ["paid"], "refunds": ["refunded"]},
        "fields": {"order_id": "order", "amount": "total", "aliases": "payment"},
    }
    recorder = Recorder(ledger, build("shop", table))
    for kind, order, payment in (("paid", "o1", "p1"), ("paid", "o2", "p2"), ("refunded", "o1", "p2")):
        event = {"type": kind, "order": order, "payment": payment, "total": "10.00", "email": "ida@kern.example"}
        recorder.take(json.dumps(event).encode())
    assert_refund_of(ledger, "sale:shop:o1", 1000)
    assert recorder.deliveries() == [("sale:shop:o1", "discarded"), ("sale:shop:o2", "pending")]
    assert recorder.conflicts() == []


def test_a_lost_shopify_dispute_is_a_refund_and_a_won_one_or_an_inquiry_is_none(ledger: Ledger) -> None:
    policy, order = Policy(Rules(), [MAIN]), {"total_price": "20.00", "currency": "USD", "email": "ida@kern.example"}
    dispute = {"type": "chargeback", "amount": "20.00", "currency": "USD", "status": "needs_response"}
    for number, changes in enumerate(({"status": "lost"}, {"status": "won"}, {"status": "lost", "type": "inquiry"}), 1):
        paid = {**order, "financial_status": "paid"}
        for topic, body in (
            ("orders/paid", paid),
            ("disputes/create", dispute),
            ("disputes/update", dispute | changes),
        ):
            thing = {"id": number, "order_id": number, **body}
            inbound = Inbound(json.dumps(thing).encode(), {"x-shopify-topic": topic})
            arrival = Arrival("shopify", SOURCES["shopify"].map(inbound, policy.rules), inbound, {}, START)
            ledger.transact(partial(record, arrivals=[arrival], policy=policy))
    assert_refund_of(ledger, "sale:shopify:1", 2000)


def assert_refund_of(ledger: Ledger, sale: str, minor: int) -> None:
    with ledger.read() as tx:
        statement = "SELECT c.dedupe_key, r.minor FROM refunds r JOIN conversions c ON c.id = r.sale_id"
        assert [tuple(row) for row in tx.run(statement).all()] == [(sale, minor)]


def both(shop: str, buyer: str) -> dict[str, Any]:
    """An amount of Shopify in the shop's currency and in the buyer's."""
    return {
        "shop_money": {"amount": shop, "currency_code": "USD"},
        "presentment_money": {"amount": buyer, "currency_code": "JPY"},
    }


@pytest.mark.parametrize(
    ("paid_back", "lines", "expected"),
    [
        ("3000", {"refund_line_items": [{"subtotal_set": both("18.18", "2727"), "total_tax_set": both("1.82", "273")}]}, 2000),
        ("1500", {"order_adjustments": [{"amount_set": both("-10.00", "-1500")}]}, 1000),
        ("1000", {"refund_shipping_lines": [{"subtotal_amount_set": both("10.00", "1500")}]}, 667),
    ],
)  # fmt: skip
def test_a_shopify_refund_in_the_buyers_currency_counts_in_the_shops(
    ledger: Ledger, paid_back: str, lines: dict[str, Any], expected: int
) -> None:
    order = {
        "id": 7,
        "financial_status": "paid",
        "total_price": "20.00",
        "currency": "USD",
        "email": "ida@kern.example",
    }
    entry = {"kind": "refund", "status": "success", "amount": paid_back, "currency": "JPY"}
    refund = {"id": 8, "order_id": 7, "transactions": [entry], **lines}
    unknown_rate = {"id": 9, "order_id": 7, "transactions": [entry]}
    recorder = Recorder(ledger, SOURCES["shopify"])
    (before,) = recorder.take(json.dumps(unknown_rate).encode())
    recorder.take(json.dumps(order).encode())
    recorder.take(json.dumps(refund).encode())
    with ledger.read() as tx:
        sale = tx.run("SELECT conversion_id FROM deliveries").scalar_one()
        marks = {(one.minor, one.currency) for one in adjustments(tx, [sale])}
        reason = tx.run("SELECT reason FROM events WHERE id = ?", before.id).scalar_one()
        assert tx.run("SELECT minor FROM refunds").scalars().all() == [expected]
    assert marks == {(expected, "USD"), (int(paid_back), "JPY")}
    assert reason.endswith(", sale:shopify:7; nothing is taken off, since the Sale is in USD and this is in JPY")
