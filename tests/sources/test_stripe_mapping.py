"""The rules of the Stripe mapping, one test each; the fixtures beside them are read as they are, then bent."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app.errors import MalformedEvent
from app.model import Inbound, Mapped, Rules
from app.money import Money
from app.sources.stripe.source import SOURCE

FOLDER = Path(__file__).parents[2] / "app" / "sources" / "stripe" / "fixtures"
EVERYTHING = frozenset({"checkout", "invoice", "payment_intent", "charge"})
CREATED = 1771234567
AT = datetime(2026, 2, 16, 9, 36, 7, tzinfo=UTC)

Body = dict[str, Any]


def load(name: str) -> Body:
    body = json.loads((FOLDER / f"{name}.json").read_bytes())
    assert isinstance(body, dict)
    return body


def map_body(body: object, rules: Rules | None = None) -> Mapped:
    return SOURCE.map(Inbound(json.dumps(body).encode(), {}), rules or Rules())


def map_fixture(name: str, rules: Rules | None = None, **changes: Any) -> Mapped:
    """The fixture with fields of its object changed; ... removes one."""
    body = load(name)
    for field, value in changes.items():
        if value is ...:
            body["data"]["object"].pop(field, None)
        else:
            body["data"]["object"][field] = value
    return map_body(body, rules)


def map_object(event_type: str, thing: object, rules: Rules | None = None, **envelope: Any) -> Mapped:
    event = {"id": "evt_1", "object": "event", "type": event_type, "created": CREATED, "livemode": True}
    return map_body(event | {"data": {"object": thing}} | envelope, rules)


def amount_of(mapped: Mapped) -> Money:
    assert mapped.sale is not None, mapped.reason
    return mapped.sale.money


def net_of(mapped: Mapped) -> Money:
    assert mapped.sale is not None
    return mapped.sale.net.money


# --- the envelope


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"7",
        b"{}",
        b"not json",
        b"\xff\xfe",
        b'{"id": "evt_1"}',
        b'{"id": "evt_1", "type": 5}',
        b'{"id": "evt_1", "type": ""}',
        b'{"id": "evt_1", "type": "a\\u0000b"}',
        b'{"type": "invoice.paid"}',
        b'{"id": null, "type": "invoice.paid"}',
        b'{"id": "evt_1", "object": "price", "type": "recurring"}',
        b'{"id": "evt_1", "type": "' + b"x" * 101 + b'"}',
    ],
)
def test_a_body_that_is_no_event_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedEvent):
        SOURCE.map(Inbound(body, {}), Rules())


@pytest.mark.parametrize("data", [None, [], "x", {}, {"object": None}, {"object": []}, {"object": "in_1"}])
def test_an_event_without_its_object_is_ignored(data: object) -> None:
    mapped = map_object("invoice.paid", None, data=data)
    assert mapped.outcome == "ignored"
    assert "data.object" in mapped.reason


def test_an_unknown_type_is_ignored_by_name() -> None:
    mapped = map_fixture("product_created")
    assert (mapped.outcome, mapped.reason) == ("ignored", "product.created is not a conversion")


def test_a_thin_event_is_ignored_with_the_hint_to_create_a_snapshot_destination() -> None:
    mapped = map_fixture_thin()
    assert mapped.outcome == "ignored"
    assert "snapshot destination" in mapped.reason


def map_fixture_thin() -> Mapped:
    return map_body(load("thin_event"))


def test_a_test_event_is_ignored_and_teaches_nothing_unless_allowed() -> None:
    refused = map_fixture("checkout_livemode_false")
    assert (refused.outcome, refused.carries_identity, refused.links_keys, refused.keys) == (
        "ignored",
        False,
        False,
        (),
    )
    assert "STRIPE_ALLOW_TEST_EVENTS" in refused.reason
    assert map_fixture("checkout_livemode_false", Rules(accept_test_events=True)).outcome == "sale"


def test_the_event_tells_when_it_happened_and_an_invoice_when_it_was_paid() -> None:
    assert map_fixture("checkout_payment").occurred_at == AT
    assert map_fixture("invoice_renewal_clover").occurred_at == datetime(2026, 2, 16, 9, 36, 2, tzinfo=UTC)
    assert map_fixture("invoice_renewal_clover", status_transitions=None).occurred_at == AT


def test_ids_of_a_connected_account_are_scoped_by_it() -> None:
    mapped = map_fixture("checkout_connected_account")
    assert mapped.account == "acct_1PxHsFGh2mKwLbQc"
    assert all(alias.startswith("stripe:acct_1PxHsFGh2mKwLbQc:") for alias in mapped.who.aliases)


# --- the purchase and its keys


def test_the_invoice_id_is_sent_before_the_intent_and_the_intent_before_the_session() -> None:
    three = map_fixture("checkout_with_invoice")
    assert three.sale is not None
    assert [key[:3] for key in three.keys] == ["in_", "pi_", "cs_"]
    assert three.sale.invoice_id == three.keys[0]
    assert [key[:3] for key in map_fixture("checkout_payment").keys] == ["pi_", "cs_"]
    assert [key[:3] for key in map_fixture("checkout_no_payment_intent").keys] == ["cs_"]


def test_session_and_invoice_of_one_subscription_share_a_key_in_every_rendering() -> None:
    old_session = set(map_fixture("checkout_subscription_2020_names_no_invoice").keys)
    old_invoice = set(map_fixture("invoice_first_2020_of_a_session_without_invoice").keys)
    assert len(old_session & old_invoice) == 1
    session = set(map_fixture("checkout_subscription").keys)
    assert len(session & set(map_fixture("invoice_first_basil").keys)) == 2
    assert len(session & set(map_fixture("invoice_first_acacia").keys)) == 2


def test_only_the_first_invoice_of_a_subscription_carries_its_first_key() -> None:
    for reason in ("subscription_cycle", "subscription_update", "manual", None):
        keys = map_fixture("invoice_first_basil", billing_reason=reason).keys
        assert not any(key.endswith(":first") for key in keys)


def test_a_session_with_a_subscription_alone_is_the_sale_where_invoices_are_not() -> None:
    mapped = map_fixture("checkout_subscription_2020_names_no_invoice", Rules(sale_events=frozenset({"checkout"})))
    assert mapped.outcome == "sale"


def test_the_subscription_of_an_invoice_is_found_in_its_lines_alone() -> None:
    line = {"parent": {"subscription_item_details": {"subscription": "sub_77"}, "type": "subscription_item_details"}}
    mapped = map_fixture("invoice_first_basil", parent=None, lines={"data": [line]})
    assert "sub_77:first" in mapped.keys
    mapped = map_fixture("invoice_first_basil", parent=None, lines=[{"subscription": "sub_78"}])
    assert "sub_78:first" in mapped.keys


def test_an_invoice_payment_links_intent_and_invoice_whatever_its_amount() -> None:
    mapped = map_fixture("invoice_payment_links_intent_and_invoice", amount_paid=None)
    assert (mapped.outcome, mapped.links_keys) == ("ignored", True)
    assert [key[:3] for key in mapped.keys] == ["in_", "pi_"]
    charged = map_fixture(
        "invoice_payment_links_intent_and_invoice", payment={"type": "charge", "charge": {"id": "ch_9"}}
    )
    assert charged.keys[1] == "ch_9"
    alone = map_fixture("invoice_payment_links_intent_and_invoice", payment=None)
    assert (alone.links_keys, len(alone.keys)) == (False, 1)


def test_an_order_reference_is_a_prefix_and_never_sent() -> None:
    mapped = map_fixture("payment_intent_of_an_invoice_clover")
    full = map_fixture("invoice_first_basil").keys[0]
    assert len(mapped.key_prefixes) == 1
    assert len(mapped.key_prefixes[0]) == 25
    assert full.startswith(mapped.key_prefixes[0])
    assert mapped.key_prefixes[0] not in mapped.keys
    assert mapped.links_keys


@pytest.mark.parametrize(
    "reference", ["in_", "in_2024", "IN_1QbrdgFxabcdefghijklm", "order 5", "in_1Qbrdg Fxabcdefghijk", 7, None, {}]
)
def test_an_order_reference_of_the_merchants_own_is_no_invoice(reference: object) -> None:
    details = {"order_reference": reference}
    mapped = map_fixture("payment_intent_captured_by_hand", payment_details=details)
    assert (mapped.outcome, mapped.key_prefixes) == ("sale", ())


def test_expanded_objects_read_like_their_ids() -> None:
    body = load("checkout_with_invoice")["data"]["object"]
    expanded: dict[str, Any] = {
        name: {"id": body[name], "object": "whatever"} for name in ("invoice", "payment_intent", "customer")
    }
    plain, bent = map_fixture("checkout_with_invoice"), map_fixture("checkout_with_invoice", **expanded)
    assert (bent.keys, bent.sale, bent.who) == (plain.keys, plain.sale, plain.who)


def test_an_expanded_intent_names_invoice_and_charge_of_its_session() -> None:
    intent = {"id": "pi_7", "invoice": "in_7", "latest_charge": "ch_7"}
    mapped = map_fixture("checkout_payment", payment_intent=intent)
    assert mapped.keys[:2] == ("in_7", "pi_7")
    assert mapped.keys[3] == "ch_7"


# --- Checkout


@pytest.mark.parametrize("mode", ["payment", "subscription"])
def test_a_delayed_payment_is_a_sale_when_it_has_come_and_pending_before(mode: str) -> None:
    changes: dict[str, Any] = {"mode": mode, "invoice": "in_5"}
    assert map_fixture("checkout_unpaid", **changes).outcome == "pending"
    came = map_fixture("checkout_async_succeeded", **changes)
    assert (came.outcome, came.completes_identity) == ("sale", True)
    assert came.keys == map_fixture("checkout_unpaid", **changes).keys


def test_a_pending_purchase_says_how_much_was_promised_and_teaches_who() -> None:
    mapped = map_fixture("checkout_unpaid")
    assert "199.99 EUR" in mapped.reason
    assert (mapped.carries_identity, mapped.completes_identity, mapped.who.click_id) == (True, True, "clk_slow")


@pytest.mark.parametrize(("name", "is_remembered"), [("checkout_async_failed", True), ("checkout_expired", False)])
def test_a_failed_or_expired_session_cancels_what_was_pending(name: str, is_remembered: bool) -> None:
    mapped = map_fixture(name)
    assert (mapped.outcome, mapped.cancels, mapped.links_keys) == ("ignored", True, is_remembered)
    assert mapped.keys


def test_only_failed_and_expired_sessions_cancel() -> None:
    paths = [path.stem for path in FOLDER.glob("*.json") if not path.name.endswith(".expected.json")]
    assert {name for name in paths if map_fixture_any(name).cancels} == {"checkout_async_failed", "checkout_expired"}


def map_fixture_any(name: str) -> Mapped:
    return map_body(load(name))


@pytest.mark.parametrize("amount", [-1, -19999])
def test_a_negative_amount_is_never_a_sale(amount: int) -> None:
    assert map_fixture("checkout_payment", amount_total=amount).outcome == "ignored"
    assert map_fixture("invoice_renewal_clover", amount_paid=amount).outcome == "ignored"
    assert map_fixture("payment_intent_captured_by_hand", amount_received=amount).outcome == "ignored"


@pytest.mark.parametrize("amount", ["19999", 199.99, True, [], {}, 10**16])
def test_an_amount_that_is_no_whole_number_is_parked(amount: object) -> None:
    assert map_fixture("checkout_payment", amount_total=amount).outcome == "parked"
    assert map_fixture("invoice_renewal_clover", amount_paid=amount).outcome == "parked"
    assert map_fixture("payment_intent_captured_by_hand", amount_received=amount).outcome == "parked"


@pytest.mark.parametrize("currency", [None, "", "euro", "e1r", 978, "€€€"])
def test_a_currency_that_is_none_is_parked(currency: object) -> None:
    mapped = map_fixture("checkout_payment", currency=currency)
    assert mapped.outcome == "parked"
    assert "currency" in mapped.reason


def test_a_session_that_does_not_say_whether_it_was_paid_is_parked() -> None:
    assert map_fixture("checkout_payment", payment_status=...).outcome == "parked"


def test_a_payment_put_off_is_no_sale_yet() -> None:
    assert map_fixture("checkout_payment", payment_status="no_payment_required").outcome == "ignored"


@pytest.mark.parametrize("status", ["paid", "no_payment_required"])
def test_a_free_subscription_session_is_a_trial_start_keyed_by_its_subscription(status: str) -> None:
    mapped = map_fixture("checkout_trial", payment_status=status)
    assert mapped.lead is not None
    assert (mapped.lead.event_name, mapped.completes_identity, mapped.hold) == ("trial_started", True, "none")
    assert mapped.keys == (mapped.lead.lead_id,)
    assert mapped.keys == map_fixture("subscription_trialing").keys


def test_a_full_coupon_is_neither_sale_nor_trial() -> None:
    for name in ("checkout_full_coupon", "checkout_subscription_full_coupon"):
        mapped = map_fixture(name)
        assert (mapped.outcome, mapped.lead, mapped.sale) == ("ignored", None, None)


@pytest.mark.parametrize("details", [..., None, {}])
def test_a_full_coupon_of_a_rendering_without_details_is_told_by_the_subtotal(details: object) -> None:
    mapped = map_fixture("checkout_subscription_full_coupon", total_details=details)
    assert (mapped.outcome, mapped.lead) == ("ignored", None)
    assert map_fixture("checkout_trial", total_details=details).outcome == "lead"


def test_sessions_release_what_was_held_and_setup_sessions_do_not() -> None:
    assert map_fixture("checkout_subscription").completes_identity
    assert map_fixture("checkout_subscription_2020_names_no_invoice").completes_identity
    assert not map_fixture("checkout_setup").completes_identity
    assert not map_fixture("invoice_first_basil").completes_identity


@pytest.mark.parametrize(
    ("name", "rules"),
    [
        ("checkout_payment", Rules(sale_events=frozenset({"invoice"}))),
        ("checkout_unpaid", Rules(sale_events=frozenset({"invoice"}))),
        ("invoice_renewal_2020", Rules(sale_events=frozenset({"checkout"}))),
    ],
)
def test_what_is_not_among_the_sale_events_is_ignored_but_links_and_teaches(name: str, rules: Rules) -> None:
    mapped = map_fixture(name, rules)
    assert (mapped.outcome, mapped.links_keys, mapped.carries_identity) == ("ignored", True, True)
    assert "STRIPE_SALE_EVENTS" in mapped.reason


# --- who


@pytest.mark.parametrize(
    ("reference", "click_id", "customer_id"),
    [
        ("clk_5", "clk_5", None),
        ("clickid_5", "clickid_5", None),
        ("dub_id_5", "5", None),
        ("user-5", None, "user-5"),
        ("CLK_5", None, "CLK_5"),
        ("dub_id_", None, None),
        ("clk_", None, None),
        ("", None, None),
        ("  ", None, None),
        (None, None, None),
        (5, None, None),
        ({}, None, None),
    ],
)
def test_client_reference_id_is_a_click_by_its_prefix_else_a_customer(
    reference: object, click_id: str | None, customer_id: str | None
) -> None:
    who = map_fixture("checkout_payment", client_reference_id=reference).who
    assert (who.click_id, who.customer_id) == (click_id, customer_id)


def test_the_prefixes_of_click_ids_are_configuration() -> None:
    rules = Rules(reference_click_prefixes=(("ref-", False),))
    who = map_fixture("checkout_payment", rules, client_reference_id="ref-9").who
    assert (who.click_id, who.customer_id) == ("9", None)
    assert map_fixture("checkout_payment", rules, client_reference_id="clk_9").who.customer_id == "clk_9"


def test_the_names_of_metadata_are_configuration() -> None:
    rules = Rules(click_id_names=("trk",), customer_id_names=("member",))
    who = map_fixture(
        "checkout_payment", rules, metadata={"TRK": "1", "Member": "2", "clickId": "no", "user_id": "no"}
    ).who
    assert (who.click_id, who.customer_id) == ("1", "2")


def test_explicit_metadata_goes_before_client_reference_id() -> None:
    metadata = {"user_id": "u_1", "click_id": "k_1"}
    mapped = map_fixture("checkout_payment", client_reference_id="cart-9", metadata=metadata)
    assert (mapped.who.customer_id, mapped.who.click_id) == ("u_1", "k_1")
    mapped = map_fixture("checkout_payment", client_reference_id="clk_9", metadata=metadata)
    assert (mapped.who.customer_id, mapped.who.click_id) == ("u_1", "k_1")


SESSION_PLACES: list[Callable[[Body], Body]] = [
    lambda metadata: {"metadata": metadata},
    lambda metadata: {"payment_intent": {"id": "pi_1", "metadata": metadata}},
    lambda metadata: {"invoice": {"id": "in_1", "metadata": metadata}},
    lambda metadata: {"subscription": {"id": "sub_1", "metadata": metadata}},
    lambda metadata: {"customer": {"id": "cus_1", "metadata": metadata}},
]


@pytest.mark.parametrize("place", SESSION_PLACES)
def test_metadata_of_a_session_is_found_wherever_it_was_put(place: Callable[[Body], Body]) -> None:
    who = map_fixture("checkout_payment", **place({"user_id": "u_1", "click_id": "k_1"})).who
    assert (who.customer_id, who.click_id) == ("u_1", "k_1")


INVOICE_PLACES: list[Callable[[Body], Body]] = [
    lambda metadata: {"payment_intent": {"id": "pi_1", "metadata": metadata}},
    lambda metadata: {"metadata": metadata},
    lambda metadata: {"parent": {"subscription_details": {"subscription": "sub_1", "metadata": metadata}}},
    lambda metadata: {"subscription_details": {"metadata": metadata}},
    lambda metadata: {"lines": {"data": [{"metadata": {}}, {"metadata": metadata}]}},
    lambda metadata: {"subscription": {"id": "sub_1", "metadata": metadata}},
    lambda metadata: {"customer": {"id": "cus_1", "metadata": metadata}},
]


@pytest.mark.parametrize("place", INVOICE_PLACES)
def test_metadata_of_an_invoice_is_found_wherever_it_was_put(place: Callable[[Body], Body]) -> None:
    who = map_fixture("invoice_renewal_clover", **place({"user_id": "u_1", "click_id": "k_1"})).who
    assert (who.customer_id, who.click_id) == ("u_1", "k_1")


def test_each_id_comes_from_the_first_place_that_has_it() -> None:
    intent = {"id": "pi_1", "metadata": {"click_id": "k_2", "user_id": "u_2"}}
    who = map_fixture("checkout_payment", metadata={"user_id": "u_1"}, payment_intent=intent).who
    assert (who.customer_id, who.click_id) == ("u_1", "k_2")


def test_aliases_begin_with_the_customer() -> None:
    aliases = map_fixture("checkout_subscription").who.aliases
    assert [alias[: len("stripe:xxx")] for alias in aliases] == ["stripe:cus", "stripe:sub", "stripe:cs_"]


def test_a_name_that_repeats_the_email_is_no_name() -> None:
    assert map_fixture("checkout_name_repeats_the_email").who.name is None


@pytest.mark.parametrize("email", ["not an address", "", None, 5, ["a@b.co"], "a@b", "x" * 400 + "@b.co"])
def test_an_email_that_is_none_is_left_out(email: object) -> None:
    details = {"email": email, "name": "Ana", "phone": None}
    assert map_fixture("checkout_payment", customer_details=details).who.email is None


# --- invoices


@pytest.mark.parametrize(
    ("billing_reason", "event_name"),
    [
        ("subscription_create", "subscription_created"),
        ("subscription_cycle", "order_paid"),
        ("subscription_update", "order_paid"),
        ("manual", "order_paid"),
        (None, "order_paid"),
    ],
)
def test_the_event_name_tells_first_payments_from_later_ones(billing_reason: str | None, event_name: str) -> None:
    sale = map_fixture("invoice_renewal_clover", billing_reason=billing_reason).sale
    assert sale is not None
    assert sale.event_name == event_name


def test_session_and_first_invoice_bear_the_same_event_name() -> None:
    session, invoice = map_fixture("checkout_subscription").sale, map_fixture("invoice_first_basil").sale
    assert session is not None
    assert invoice is not None
    assert session.event_name == invoice.event_name == "subscription_created"


@pytest.mark.parametrize("billing_reason", ["subscription_create", "manual", None, ...])
def test_an_invoice_that_a_session_may_still_name_is_held(billing_reason: object) -> None:
    assert map_fixture("invoice_first_basil", billing_reason=billing_reason).hold == "click"


@pytest.mark.parametrize("billing_reason", ["subscription_cycle", "subscription_update", "subscription_threshold"])
def test_a_renewal_is_not_held(billing_reason: str) -> None:
    assert map_fixture("invoice_first_basil", billing_reason=billing_reason).hold == "none"


@pytest.mark.parametrize("metadata", [{"clickId": "k_1"}, {"clickId": "k_1", "user_id": "u_1"}])
def test_an_invoice_with_a_click_id_is_not_held(metadata: Body) -> None:
    assert map_fixture("invoice_first_basil", metadata=metadata).hold == "none"


def test_an_invoice_with_a_user_id_and_no_click_id_waits_for_its_session() -> None:
    assert map_fixture("invoice_first_basil", metadata={"user_id": "u_1"}).hold == "click"


def test_a_trial_with_a_user_id_and_no_click_id_waits_for_its_session() -> None:
    assert map_fixture("subscription_trialing", metadata={"user_id": "u_1"}).hold == "click"


@pytest.mark.parametrize(("due", "outcome"), [(2900, "sale"), (0, "ignored"), (None, "ignored"), ("junk", "parked")])
def test_an_old_invoice_without_amount_paid_was_paid_what_was_due(due: object, outcome: str) -> None:
    """amount_due has the credit of the customer taken off; total does not."""
    mapped = map_fixture("invoice_2016", amount_paid=..., amount_due=due, total=3500)
    assert mapped.outcome == outcome
    assert mapped.sale is None or mapped.sale.money == Money(2900, "USD")


def test_an_old_invoice_without_amount_paid_may_say_by_its_status_that_it_was_paid() -> None:
    assert map_fixture("invoice_2016", amount_paid=..., paid=..., status="paid").outcome == "sale"


@pytest.mark.parametrize("changes", [{"paid": False}, {"paid": ...}, {"paid": True, "forgiven": True}])
def test_an_old_invoice_that_was_closed_without_money_is_no_sale(changes: Body) -> None:
    assert map_fixture("invoice_2016", amount_paid=..., **changes).outcome == "ignored"


def test_an_old_invoice_without_amount_paid_is_net_of_tax_where_that_is_set() -> None:
    mapped = map_fixture("invoice_2016", amount_paid=..., total=2900, tax=400)
    assert (amount_of(mapped), net_of(mapped)) == (Money(2900, "USD"), Money(2500, "USD"))


def test_an_invoice_without_an_id_is_parked() -> None:
    mapped = map_fixture("invoice_renewal_clover", id=...)
    assert (mapped.outcome, mapped.keys) == ("parked", ())


def test_only_the_payment_that_paid_an_invoice_is_its_alias() -> None:
    payments = [
        {"status": "canceled", "payment": {"payment_intent": "pi_1"}},
        {"status": "paid", "payment": {"payment_intent": "pi_2"}},
    ]
    assert map_fixture("invoice_renewal_clover", payments={"data": payments}).keys[1:] == ("pi_2",)


def test_the_twin_of_invoice_paid_has_the_same_keys_and_money() -> None:
    paid, twin = map_fixture("invoice_first_basil"), map_fixture("invoice_payment_succeeded_is_its_twin")
    assert (paid.keys, paid.sale, paid.occurred_at) == (twin.keys, twin.sale, twin.occurred_at)


def test_products_are_few_and_short() -> None:
    lines = {"data": [{"description": f"{number}" + "x" * 500, "quantity": number} for number in range(50)]}
    sale = map_fixture("invoice_renewal_clover", lines=lines).sale
    assert sale is not None
    products = sale.metadata["products"]
    assert len(products) == 20
    assert all(len(product["name"]) == 200 for product in products)


def test_a_line_with_no_quantity_has_none() -> None:
    lines = {"data": [{"description": "Usage", "quantity": None}, {"description": None}, "junk", {"description": 5}]}
    sale = map_fixture("invoice_renewal_clover", lines=lines).sale
    assert sale is not None
    assert sale.metadata == {"products": [{"name": "Usage"}, {"name": "5"}]}


# --- money


def test_net_of_tax_is_the_same_for_session_and_invoice() -> None:
    details = {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 2300}
    session = map_fixture("checkout_payment", amount_total=12300, currency="eur", total_details=details)
    money: dict[str, Any] = {"amount_paid": 12300, "total": 12300, "currency": "eur"}
    new = map_fixture("invoice_renewal_clover", **money, total_excluding_tax=10000)
    old = map_fixture("invoice_renewal_2020", **money, total_excluding_tax=..., tax=2300)
    listed = map_fixture("invoice_renewal_clover", **money, total_excluding_tax=None, total_taxes=[{"amount": 2300}])
    before = map_fixture("invoice_renewal_2020", **money, total_tax_amounts=[{"amount": 2300}], tax=None)
    assert {net_of(mapped) for mapped in (session, new, old, listed, before)} == {Money(10000, "EUR")}


def test_an_invoice_paid_in_part_is_gross_even_net_of_tax() -> None:
    changes: dict[str, Any] = {"amount_paid": 5000, "total": 12300, "total_excluding_tax": 10000}
    assert net_of(map_fixture("invoice_renewal_clover", **changes)) == Money(5000, "USD")


@pytest.mark.parametrize("tax", [19999, 25000, -100])
def test_a_tax_that_is_not_a_part_of_the_amount_leaves_it_gross(tax: int) -> None:
    session = map_fixture("checkout_payment", total_details={"amount_tax": tax})
    paid = map_fixture("invoice_renewal_clover", amount_paid=19999, total=19999, total_excluding_tax=19999 - tax)
    assert {net_of(session), net_of(paid)} == {Money(19999, "USD")}


def test_gross_is_what_the_customer_paid() -> None:
    changes: dict[str, Any] = {"amount_paid": 12300, "total": 12300, "total_excluding_tax": 10000}
    assert amount_of(map_fixture("invoice_renewal_clover", **changes)) == Money(12300, "USD")


def test_adaptive_pricing_is_counted_in_the_merchants_currency() -> None:
    assert amount_of(map_fixture("checkout_adaptive_pricing_2024")) == Money(19999, "USD")
    assert amount_of(map_fixture("checkout_adaptive_pricing_clover")) == Money(19999, "USD")


def test_adaptive_pricing_net_of_tax_takes_the_same_share_off() -> None:
    details = {"amount_tax": 1852}
    mapped = map_fixture("checkout_adaptive_pricing_2024", total_details=details)
    assert net_of(mapped) == Money(17999, "USD")


@pytest.mark.parametrize(
    "conversion",
    [[], {}, {"amount_total": 5}, {"source_currency": "usd"}, {"amount_total": "5", "source_currency": "usd"}],
)
def test_a_currency_conversion_that_says_nothing_changes_nothing(conversion: object) -> None:
    assert amount_of(map_fixture("checkout_payment", currency_conversion=conversion)) == Money(19999, "USD")


# --- payment intents and charges


def test_an_ordinary_payment_intent_is_a_sale_only_by_opting_in_and_is_held_for_its_session() -> None:
    assert map_fixture("payment_intent_of_a_session").outcome == "ignored"
    mapped = map_fixture("payment_intent_of_a_session", Rules(sale_events=EVERYTHING))
    assert (mapped.outcome, mapped.hold) == ("sale", "purchase")
    assert mapped.sale is not None
    assert mapped.sale.event_name == "order_paid"


@pytest.mark.parametrize("name", ["payment_intent_of_an_invoice_clover", "payment_intent_of_an_invoice_2020"])
def test_a_payment_intent_of_an_invoice_is_never_a_sale_beside_it(name: str) -> None:
    for capture_method in ("automatic", "manual"):
        assert map_fixture(name, Rules(sale_events=EVERYTHING), capture_method=capture_method).outcome == "ignored"
        assert map_fixture(name, capture_method=capture_method).outcome == "ignored"


def test_a_payment_intent_of_an_invoice_is_the_sale_where_only_intents_are_counted() -> None:
    rules = Rules(sale_events=frozenset({"payment_intent"}))
    mapped = map_fixture("payment_intent_of_an_invoice_2020", rules)
    assert mapped.sale is not None
    assert mapped.sale.invoice_id.startswith("in_")
    cut = map_fixture("payment_intent_of_an_invoice_clover", rules)
    assert cut.sale is not None
    assert cut.sale.invoice_id.startswith("pi_")


def test_manual_capture_is_a_sale_of_what_was_received_and_is_held_for_its_session() -> None:
    mapped = map_fixture("payment_intent_captured_in_part")
    assert amount_of(mapped) == Money(7500, "USD")
    assert mapped.hold == "purchase"
    assert mapped.sale is not None
    assert mapped.sale.event_name == "payment_captured"


@pytest.mark.parametrize(
    ("types", "options", "is_sale"),
    [
        (["card"], {"card": {"capture_method": "manual"}}, True),
        (["card", "klarna"], {"card": {"capture_method": "manual"}}, False),
        (["klarna"], {"card": {"capture_method": "manual"}}, False),
        ("card", {"card": "manual"}, False),
        ([{}], {"card": {"capture_method": "manual"}}, False),
    ],
)
def test_manual_capture_of_one_payment_method_counts_where_it_was_the_one_used(
    types: object, options: object, is_sale: bool
) -> None:
    changes: dict[str, Any] = {"payment_method_types": types, "payment_method_options": options}
    assert (map_fixture("payment_intent_of_a_session", **changes).outcome == "sale") is is_sale


@pytest.mark.parametrize("received", [0, None, ...])
def test_an_intent_that_received_nothing_is_no_sale(received: object) -> None:
    for rules in (Rules(), Rules(sale_events=EVERYTHING)):
        assert map_fixture("payment_intent_captured_by_hand", rules, amount_received=received).outcome == "ignored"


def test_the_email_of_an_intent_is_the_receipts_then_the_charges_then_the_metadatas() -> None:
    charge = {"id": "ch_1", "billing_details": {"email": "charge@example.com", "name": "Cho"}}
    metadata = {"email": "metadata@example.com"}
    everything: dict[str, Any] = {"receipt_email": "receipt@example.com", "latest_charge": charge, "metadata": metadata}
    name = "payment_intent_captured_by_hand"
    assert map_fixture(name, **everything).who.email == "receipt@example.com"
    assert map_fixture(name, **(everything | {"receipt_email": None})).who.email == "charge@example.com"
    alone = everything | {"receipt_email": None, "latest_charge": "ch_1"}
    assert map_fixture(name, **alone).who.email == "metadata@example.com"


@pytest.mark.parametrize(
    "name", ["payment_intent_of_a_session", "charge_of_a_payment_intent", "charge_captured_is_a_twin"]
)
def test_an_ignored_twin_links_intent_and_charge_so_that_a_refund_of_the_charge_finds_the_sale(name: str) -> None:
    mapped = map_fixture(name)
    assert (mapped.outcome, mapped.links_keys) == ("ignored", True)
    assert [key[:3] for key in mapped.keys] == ["pi_", "ch_"]


def test_a_twin_teaches_who_only_where_it_names_somebody() -> None:
    assert map_fixture("charge_of_a_payment_intent").carries_identity
    assert not map_fixture("payment_intent_of_a_session").carries_identity
    assert map_fixture("payment_intent_of_a_session", receipt_email="a@example.com").carries_identity
    assert map_fixture("payment_intent_of_a_session", metadata={"clickId": "k_1"}).carries_identity


def test_a_bare_charge_is_a_sale_only_by_opting_in() -> None:
    mapped = map_fixture("charge_2016_without_opting_in", Rules(sale_events=EVERYTHING))
    assert amount_of(mapped) == Money(1500, "USD")
    assert mapped.sale is not None
    assert mapped.sale.invoice_id.startswith("ch_")
    assert (mapped.hold, mapped.who.name) == ("purchase", "Old Buyer")


def test_a_charge_counts_what_was_captured_and_nothing_before() -> None:
    rules = Rules(sale_events=EVERYTHING)
    assert amount_of(map_fixture("charge_2016_without_opting_in", rules, amount_captured=900)) == Money(900, "USD")
    assert map_fixture("charge_2016_without_opting_in", rules, captured=False).outcome == "ignored"
    assert map_fixture("charge_2016_without_opting_in", rules, captured=False).sale is None


def test_a_charge_of_an_intent_or_an_invoice_is_never_a_sale() -> None:
    rules = Rules(sale_events=EVERYTHING)
    assert map_fixture("charge_of_a_payment_intent", rules).outcome == "ignored"
    assert map_fixture("charge_2016_without_opting_in", rules, invoice="in_1").outcome == "ignored"


# --- customers and subscriptions


def test_a_customer_is_a_lead_only_with_a_click() -> None:
    plain = map_fixture("customer_created")
    assert (plain.outcome, plain.carries_identity) == ("ignored", True)
    mapped = map_fixture("customer_created", metadata={"clickId": "k_1"})
    assert mapped.lead is not None
    assert mapped.lead.event_name == "signed_up"


def test_created_and_updated_of_one_customer_share_their_key() -> None:
    assert map_fixture("customer_created_with_a_click").keys == map_fixture("customer_updated_with_a_click").keys


def test_a_customer_with_nothing_to_say_teaches_nothing() -> None:
    assert not map_fixture("customer_created", email=None).carries_identity


@pytest.mark.parametrize("status", ["active", "incomplete", "past_due", None, 5])
def test_a_subscription_not_on_trial_is_ignored(status: object) -> None:
    assert map_fixture("subscription_trialing", status=status).outcome == "ignored"


def test_a_trial_that_names_nobody_is_held_for_its_session() -> None:
    assert map_fixture("subscription_trialing").hold == "click"
    assert map_fixture("subscription_trialing_with_a_click").hold == "none"


def test_a_changed_subscription_teaches_its_metadata() -> None:
    assert not map_fixture("subscription_trial_to_active").carries_identity
    assert map_fixture("subscription_trial_to_active", metadata={"user_id": "u_1"}).carries_identity


# --- refunds and disputes


def test_a_refunded_charge_marks_the_sum_of_its_refunds() -> None:
    mark = map_fixture("charge_refunded_clover").mark
    assert mark is not None
    assert (mark.kind, mark.money, mark.status, mark.at) == ("refund", Money(4200, "EUR"), "refunded", AT)
    assert mark.reference.endswith(":refunded")
    part = map_fixture("charge_refunded_2016_in_part").mark
    assert part is not None
    assert (part.money, part.status) == (Money(500, "USD"), "partially_refunded")
    summed = map_fixture("charge_refunded_2016_in_part", amount_refunded=...).mark
    assert summed is not None
    assert summed.money == Money(500, "USD")


def test_a_refund_marks_under_its_own_id_with_its_state() -> None:
    created, updated = map_fixture("refund_created"), map_fixture("refund_updated")
    assert created.mark is not None
    assert updated.mark is not None
    assert created.mark.reference == updated.mark.reference
    assert created.mark.reference.startswith("re_")
    assert (created.mark.status, updated.mark.status) == ("pending", "succeeded")


def test_a_dispute_marks_and_is_found_by_its_charge_alone() -> None:
    created, closed = map_fixture("dispute_created"), map_fixture("dispute_closed")
    assert created.mark is not None
    assert closed.mark is not None
    assert created.mark.reference == closed.mark.reference
    assert (created.mark.kind, closed.mark.status) == ("dispute", "lost")
    assert closed.keys == (created.keys[-1],)


def test_a_dispute_of_2013_has_no_id_and_still_marks() -> None:
    mark = map_fixture("dispute_closed", id=...).mark
    assert mark is not None
    assert mark.reference.endswith(":disputed")


def test_a_refund_of_nothing_known_marks_nothing() -> None:
    assert map_fixture("refund_created", amount=0).mark is None
    assert map_fixture("refund_created", charge=None, payment_intent=None).mark is None


def test_a_refund_is_never_a_sale() -> None:
    for name in ("charge_refunded_clover", "refund_created", "refund_updated", "dispute_created", "dispute_closed"):
        mapped = map_fixture(name, Rules(sale_events=EVERYTHING))
        assert (mapped.outcome, mapped.sale) == ("ignored", None)


@pytest.mark.parametrize(
    "line",
    [
        {"pricing": {"price_details": {"product": "prod_1", "price": "price_1"}}},
        {"price": {"product": "prod_1"}},
        {"price": {"product": {"id": "prod_1", "name": "Course"}}},
        {"plan": {"product": "prod_1"}},
    ],
)
def test_the_products_of_an_invoice_are_known_in_every_version(line: dict[str, object]) -> None:
    lines = {"data": [line, {"description": "Shipping"}, {"price": {"product": "prod_2"}}, line]}
    mapped = map_fixture("invoice_renewal_clover", lines=lines)
    assert mapped.sale is not None
    assert mapped.sale.product_ids == ("prod_1", "prod_2")
