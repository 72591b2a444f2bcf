"""One buyer of each payment provider, as that provider tells it: a first payment with its twins, renewals, refunds and a test.

Every number is another buyer with ids of their own. Amounts are exact, and written in the provider's own unit.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

Headers = Mapping[str, str]
Message = tuple[bytes, Headers]
FORM = {"content-type": "application/x-www-form-urlencoded"}
ISO_WHOLE = ("JPY", "KRW", "ISK", "UGX", "VND")
STRIPE_WHOLE = ("JPY", "KRW", "VND", "UGX")
"""Of these: Stripe counts hundredths of the króna, and whole shillings in what it charges."""
THOUSANDTHS = ("KWD", "JOD")
AT = 1_790_000_000
ISO_AT, DAY_2, DAY_3 = "2026-09-21T14:13:20Z", "2026-09-22T10:00:00Z", "2026-09-23T10:00:00Z"


@dataclass(frozen=True)
class Price:
    """What is paid, in major units."""

    major: Decimal
    currency: str

    def iso(self) -> int:
        return int(self.major * (1 if self.currency in ISO_WHOLE else 1000 if self.currency in THOUSANDTHS else 100))

    def cents(self) -> int:
        return int(self.major * 100)

    def part(self) -> "Price":
        """A tenth, which is a whole number of every unit."""
        return Price(self.major / 10, self.currency)


@dataclass(frozen=True)
class Buyer:
    """before: what comes ahead of the first payment, if anything. first: one payment and its twins. renewals: one payment each.
    refunds: first a tenth of the first payment goes back, then the rest. test: a payment in test mode; None where none is marked.
    returned: what went back in the end, in major units, where refunds tell amounts."""

    first: tuple[Message, ...]
    renewals: tuple[Message, ...]
    refunds: tuple[Message, ...]
    customer: str
    click: str
    price: Price
    returned: Decimal
    before: tuple[Message, ...] = ()
    test: Message | None = None


def as_json(body: Mapping[str, Any], **headers: str) -> Message:
    return json.dumps(body).encode(), {name.replace("_", "-"): value for name, value in headers.items()}


def paddle(n: int, price: Price) -> Buyer:
    def transaction(event: str, ident: str, custom: Any, origin: str = "web") -> Message:
        totals = {"grand_total": str(price.iso()), "tax": "0"}
        data = {"id": ident, "status": "completed", "customer_id": f"ctm_{n}", "subscription_id": f"sub_{n}",
                "origin": origin, "currency_code": price.currency, "custom_data": custom, "billed_at": ISO_AT,
                "details": {"totals": totals}}  # fmt: skip
        return envelope(event, f"{event}_{ident}", data)

    def envelope(event: str, ident: str, data: Mapping[str, Any]) -> Message:
        return as_json({"event_id": f"evt_{ident}", "event_type": event, "occurred_at": ISO_AT, "data": data})

    def adjustment(step: int, back: Price) -> Message:
        totals = {"total": str(back.iso()), "currency_code": price.currency}
        data = {"id": f"adj_{n}_{step}", "action": "refund", "status": "approved", "transaction_id": f"txn_{n}",
                "customer_id": f"ctm_{n}", "currency_code": price.currency, "totals": totals}  # fmt: skip
        return envelope("adjustment.updated", f"adj_{n}_{step}", data)

    custom, rest = (
        {"clickId": f"clk_{n}", "user_id": f"user_{n}"},
        Price(price.major - price.part().major, price.currency),
    )
    customer = {"id": f"ctm_{n}", "email": f"b{n}@example.com", "name": "Ada", "custom_data": None}
    return Buyer(
        before=(envelope("customer.created", f"ctm_{n}", customer),),
        first=(transaction("transaction.paid", f"txn_{n}", custom), transaction("transaction.completed", f"txn_{n}", custom)),
        renewals=tuple(
            transaction("transaction.completed", f"txn_{n}_{m}", None, "subscription_recurring") for m in (1, 2)
        ),
        refunds=(adjustment(1, price.part()), adjustment(2, rest)),
        customer=f"user_{n}", click=f"clk_{n}", price=price, returned=price.major,
    )  # fmt: skip


def lemonsqueezy(n: int, price: Price) -> Buyer:
    def message(event: str, kind: str, ident: int, custom: Any = None, **attributes: Any) -> Message:
        known = {"customer_id": n, "user_email": f"b{n}@example.com", "currency": price.currency, "total": price.cents(),
                 "tax": 0, "status": "paid", "created_at": ISO_AT, "test_mode": False, **attributes}  # fmt: skip
        meta = {"event_name": event, **({"custom_data": custom} if custom else {})}
        return as_json({"meta": meta, "data": {"type": kind, "id": str(ident), "attributes": known}})

    def invoice(m: int, reason: str) -> Message:
        return message("subscription_payment_success", "subscription-invoices", n * 10 + m, subscription_id=n,
                       billing_reason=reason)  # fmt: skip

    def refunded(status: str, back: Price, at: str) -> Message:
        return message(
            "order_refunded", "orders", n, custom, status=status, refunded_amount=back.cents(), refunded_at=at
        )

    custom = {"clickId": f"clk_{n}", "user_id": f"user_{n}"}
    subscription = message("subscription_created", "subscriptions", n, custom, status="active", order_id=n)
    test = message("order_created", "orders", n * 10 + 9, custom, test_mode=True)
    return Buyer(
        before=(subscription,),
        first=(message("order_created", "orders", n, custom), invoice(0, "initial")),
        renewals=(invoice(1, "renewal"), invoice(2, "renewal")),
        refunds=(refunded("partial_refund", price.part(), DAY_2), refunded("refunded", price, DAY_3)),
        customer=f"user_{n}", click=f"clk_{n}", price=price, returned=price.major, test=test,
    )  # fmt: skip


def polar(n: int, price: Price) -> Buyer:
    amount = price.iso() if price.currency in (*STRIPE_WHOLE, *THOUSANDTHS) else price.cents()

    def order(event: str, ident: str, reason: str, metadata: Mapping[str, Any], message: str) -> Message:
        customer = {"id": f"c-{n}", "external_id": f"user_{n}", "email": f"b{n}@example.com", "name": "Ada"}
        data = {"id": ident, "status": "paid", "paid": True, "billing_reason": reason, "net_amount": amount, "tax_amount": 0,
                "total_amount": amount, "currency": price.currency.lower(), "customer_id": f"c-{n}", "metadata": metadata,
                "subscription_id": f"s-{n}", "checkout_id": f"k-{n}", "customer": customer}  # fmt: skip
        return as_json({"type": event, "timestamp": ISO_AT, "data": data}, webhook_id=message)

    def refund(step: int, tenths: int) -> Message:
        data = {"id": f"r-{n}-{step}", "order_id": f"o-{n}", "status": "succeeded", "amount": amount // 10 * tenths,
                "tax_amount": 0, "currency": price.currency.lower()}  # fmt: skip
        return as_json({"type": "refund.updated", "timestamp": ISO_AT, "data": data}, webhook_id=f"msg_{n}_r{step}")

    click = {"clickId": f"clk_{n}"}
    first = ("order.created", "order.updated", "order.paid")
    return Buyer(
        first=tuple(order(event, f"o-{n}", "subscription_create", click, f"msg_{n}_{event}") for event in first),
        renewals=tuple(order("order.paid", f"o-{n}-{m}", "subscription_cycle", {}, f"msg_{n}_{m}") for m in (1, 2)),
        refunds=(refund(1, 1), refund(2, 9)),
        customer=f"user_{n}", click=f"clk_{n}", price=price, returned=price.major,
    )  # fmt: skip


def dodo(n: int, price: Price) -> Buyer:
    def payment(ident: str, metadata: Mapping[str, str], **more: Any) -> Message:
        data = {"payment_id": ident, "status": "succeeded", "currency": price.currency, "total_amount": price.iso(), "tax": 0,
                "subscription_id": f"sub_{n}", "checkout_session_id": f"cks_{n}", "metadata": metadata, "created_at": ISO_AT,
                "customer": {"customer_id": f"cus_{n}", "email": f"b{n}@example.com", "name": "Ada"}, **more}  # fmt: skip
        return as_json({"type": "payment.succeeded", "timestamp": ISO_AT, "data": data}, webhook_id=f"msg_{ident}")

    def refund(step: int, back: Price) -> Message:
        data = {
            "refund_id": f"ref_{n}_{step}",
            "payment_id": f"pay_{n}",
            "amount": back.iso(),
            "currency": price.currency,
        }
        return as_json({"type": "refund.succeeded", "timestamp": ISO_AT, "data": data}, webhook_id=f"msg_{n}_r{step}")

    renewed = as_json({"type": "subscription.renewed", "timestamp": ISO_AT, "data": {"subscription_id": f"sub_{n}"}})
    card = payment(f"pay_{n}_card", {}, is_update_payment_method=True)
    return Buyer(
        first=(payment(f"pay_{n}", {"dub_click_id": f"clk_{n}", "user_id": f"user_{n}"}), renewed, card),
        renewals=(payment(f"pay_{n}_1", {}), payment(f"pay_{n}_2", {})),
        refunds=(refund(1, price.part()), refund(2, Price(price.major - price.part().major, price.currency))),
        customer=f"user_{n}", click=f"clk_{n}", price=price, returned=price.major,
    )  # fmt: skip


def shopify(n: int, price: Price) -> Buyer:
    def order(topic: str, ident: int, notes: Any = (), **more: Any) -> Message:
        body = {"id": ident, "admin_graphql_api_id": f"gid://shopify/Order/{ident}", "name": f"#{ident}", "test": False,
                "financial_status": "paid", "currency": price.currency, "total_price": str(price.major), "total_tax": "0.00",
                "customer": {"id": n, "email": f"b{n}@example.com", "first_name": "Ada"}, "user_id": 12,
                "checkout_token": f"tok{ident}", "note_attributes": list(notes), "processed_at": ISO_AT, **more}  # fmt: skip
        return as_json(body, x_shopify_topic=topic, x_shopify_event_id=f"{topic}-{ident}")

    def refund(step: int, back: Price) -> Message:
        paid = {
            "id": n * 10 + step,
            "kind": "refund",
            "status": "success",
            "amount": str(back.major),
            "currency": price.currency,
        }
        body = {"id": n * 10 + step, "order_id": n * 10, "created_at": ISO_AT, "transactions": [paid]}
        return as_json(body, x_shopify_topic="refunds/create", x_shopify_event_id=f"refund-{n}-{step}")

    notes = [{"name": "clickId", "value": f"clk_{n}"}]
    first = ("orders/create", "orders/updated", "orders/paid")
    return Buyer(
        first=tuple(order(topic, n * 10, notes) for topic in first),
        renewals=(order("orders/paid", n * 10 + 1), order("orders/paid", n * 10 + 2)),
        refunds=(refund(1, price.part()), refund(2, Price(price.major - price.part().major, price.currency))),
        customer=f"b{n}@example.com", click=f"clk_{n}", price=price, returned=price.major,
        test=order("orders/paid", n * 10 + 9, notes, test=True),
    )  # fmt: skip


def woocommerce(n: int, price: Price) -> Buyer:
    def order(topic: str, ident: int, status: str = "processing", click: bool = True, refunds: Any = ()) -> Message:
        notes = [{"id": 1, "key": "clickId", "value": f"clk_{n}"}] if click else []
        body = {"id": ident, "number": str(ident), "status": status, "currency": price.currency, "total": str(price.major),
                "total_tax": "0.00", "customer_id": n, "transaction_id": f"pi_woo_{ident}", "date_paid_gmt": ISO_AT[:-1],
                "date_modified_gmt": f"2026-09-2{2 + len(refunds)}T10:00:00", "refunds": list(refunds), "meta_data": notes,
                "billing": {"first_name": "Ada", "email": f"b{n}@example.com"}}  # fmt: skip
        return as_json(body, x_wc_webhook_topic=topic, x_wc_webhook_source="https://shop.example/",
                       x_wc_webhook_delivery_id=f"{topic}-{ident}-{status}-{len(refunds)}")  # fmt: skip

    part = {"id": 1, "total": f"-{price.part().major}"}
    rest = {"id": 2, "total": f"-{price.major - price.part().major}"}
    own = n * 10
    return Buyer(
        first=(order("order.created", own), order("order.updated", own), order("order.updated", own, "completed")),
        renewals=(order("order.created", own + 1, click=False), order("order.updated", own + 2, click=False)),
        refunds=(order("order.updated", own, refunds=[part]), order("order.updated", own, "refunded", refunds=[part, rest])),
        customer=f"b{n}@example.com", click=f"clk_{n}", price=price, returned=price.major,
    )  # fmt: skip


def razorpay(n: int, price: Price) -> Buyer:
    def message(event: str, ident: str, notes: Any, **entities: Mapping[str, Any]) -> Message:
        payment = {"id": ident, "amount": price.iso(), "currency": price.currency, "status": "captured", "captured": True,
                   "order_id": f"order_{ident}", "invoice_id": None, "email": f"b{n}@example.com", "contact": "+919876543210",
                   "customer_id": f"cust_{n}", "notes": notes, "created_at": AT}  # fmt: skip
        payload = {name: {"entity": entity} for name, entity in {"payment": payment, **entities}.items()}
        body = {"entity": "event", "event": event, "contains": list(payload), "payload": payload, "created_at": AT + 5}
        return as_json(body, x_razorpay_event_id=f"{event}-{ident}-{len(entities)}")

    def refund(step: int, back: Price) -> Message:
        entity = {"id": f"rfnd_{n}_{step}", "payment_id": f"pay_{n}", "amount": back.iso(), "currency": price.currency}
        body = {"event": "refund.processed", "payload": {"refund": {"entity": entity}}, "created_at": AT + 60 + step}
        return as_json(body, x_razorpay_event_id=f"refund-{n}-{step}")

    notes = {"clickId": f"clk_{n}", "user_id": f"user_{n}"}
    subscription = {"id": f"sub_{n}", "customer_id": f"cust_{n}", "notes": []}
    return Buyer(
        first=(
            message("payment.captured", f"pay_{n}", notes),
            message("order.paid", f"pay_{n}", notes, order={"id": f"order_pay_{n}", "notes": notes}),
            message("subscription.charged", f"pay_{n}", notes, subscription=subscription),
        ),
        renewals=(
            message("subscription.charged", f"pay_{n}_1", [], subscription=subscription),
            message("payment.captured", f"pay_{n}_2", []),
        ),
        refunds=(refund(1, price.part()), refund(2, Price(price.major - price.part().major, price.currency))),
        customer=f"user_{n}", click=f"clk_{n}", price=price, returned=price.major,
    )  # fmt: skip


def revenuecat(n: int, price: Price) -> Buyer:
    def message(kind: str, ident: int, attributes: Mapping[str, str], **more: Any) -> Message:
        event = {"type": kind, "id": f"{kind}-{ident}-{more}", "event_timestamp_ms": AT * 1000, "app_user_id": f"user_{n}",
                 "aliases": [f"user_{n}"], "product_id": "pro", "period_type": "NORMAL", "purchased_at_ms": AT * 1000,
                 "environment": "PRODUCTION", "store": "APP_STORE", "transaction_id": str(ident),
                 "original_transaction_id": str(n * 10), "price": 1.0, "currency": price.currency,
                 "price_in_purchased_currency": float(price.major),
                 "subscriber_attributes": {name: {"value": value} for name, value in attributes.items()}, **more}  # fmt: skip
        return as_json({"api_version": "1.0", "event": event})

    known = {"$email": f"b{n}@example.com", "clickId": f"clk_{n}"}
    support = {"cancel_reason": "CUSTOMER_SUPPORT", "price_in_purchased_currency": -float(price.major)}
    return Buyer(
        first=(
            message("INITIAL_PURCHASE", n * 10, known),
            message("PRODUCT_CHANGE", n * 10, known),
            message("CANCELLATION", n * 10, known, cancel_reason="UNSUBSCRIBE"),
        ),
        renewals=(message("RENEWAL", n * 10 + 1, {}), message("RENEWAL", n * 10 + 2, {})),
        refunds=(message("CANCELLATION", n * 10, known, **support),),
        customer=f"user_{n}", click=f"clk_{n}", price=price, returned=price.major,
        test=message("INITIAL_PURCHASE", n * 10 + 9, known, environment="SANDBOX"),
    )  # fmt: skip


def gumroad(n: int, price: Price) -> Buyer:
    def ping(ident: str, **more: str) -> Message:
        fields = {"sale_id": ident, "sale_timestamp": ISO_AT, "order_number": str(n), "email": f"b{n}@example.com",
                  "price": str(price.cents()), "currency": "eur", "subscription_id": f"gs_{n}", "refunded": "false",
                  "disputed": "false", **more}  # fmt: skip
        return urlencode(fields).encode(), FORM

    first = {"url_params[clickId]": f"clk_{n}", "url_params[user_id]": f"user_{n}"}
    again = {"is_recurring_charge": "true"}
    return Buyer(
        first=(ping(f"gum_{n}", **first), ping(f"gum_{n}", resource_name="sale", **first)),
        renewals=(ping(f"gum_{n}_1", **again), ping(f"gum_{n}_2", **again)),
        refunds=(ping(f"gum_{n}", resource_name="refund", refunded="true"),),
        customer=f"user_{n}", click=f"clk_{n}", price=price, returned=price.major,
        test=ping(f"gum_{n}_test", test="true", **first),
    )  # fmt: skip


def creem(n: int, price: Price) -> Buyer:
    amount = price.iso() if price.currency in (*STRIPE_WHOLE, *THOUSANDTHS) else price.cents()
    customer, metadata = {"id": f"cust_{n}", "email": f"b{n}@example.com", "name": "Ada"}, {"clickId": f"clk_{n}"}

    def message(event: str, ident: str, thing: Mapping[str, Any], mode: str = "prod") -> Message:
        return as_json(
            {"id": f"evt_{ident}", "eventType": event, "created_at": AT * 1000, "object": {"mode": mode, **thing}}
        )

    def checkout(ident: str, mode: str = "prod") -> Message:
        order = {"id": f"ord_{ident}", "transaction": f"tran_{ident}", "amount": amount, "amount_paid": amount, "tax_amount": 0,
                 "currency": price.currency, "status": "paid", "type": "recurring"}  # fmt: skip
        thing = {"id": f"ch_{ident}", "request_id": f"user_{n}", "metadata": metadata, "order": order, "customer": customer,
                 "subscription": {"id": f"sub_{n}"}}  # fmt: skip
        return message("checkout.completed", f"c_{ident}", thing, mode)

    def paid(ident: str, metadata: Mapping[str, str]) -> Message:
        last = {
            "id": f"tran_{ident}",
            "amount": amount,
            "amount_paid": amount,
            "currency": price.currency,
            "status": "paid",
        }
        thing = {"id": f"sub_{n}", "customer": customer, "metadata": metadata, "last_transaction": last}
        return message("subscription.paid", f"p_{ident}", thing)

    def refund(step: int, tenths: int) -> Message:
        thing = {"id": f"ref_{n}_{step}", "status": "succeeded", "refund_amount": amount // 10 * tenths,
                 "refund_currency": price.currency, "transaction": {"id": f"tran_{n}", "order": f"ord_{n}"}}  # fmt: skip
        return message("refund.created", f"r_{n}_{step}", thing)

    active = message("subscription.active", f"a_{n}", {"id": f"sub_{n}", "customer": customer, "metadata": metadata})
    return Buyer(
        before=(active,),
        first=(checkout(str(n)), paid(str(n), {**metadata, "user_id": f"user_{n}"})),
        renewals=(paid(f"{n}_1", {}), paid(f"{n}_2", {})),
        refunds=(refund(1, 1), refund(2, 9)),
        customer=f"user_{n}", click=f"clk_{n}", price=price, returned=price.major, test=checkout(f"{n}_test", "test"),
    )  # fmt: skip


def whop(n: int, price: Price) -> Buyer:
    def payment(event: str, ident: str, reason: str, metadata: Any) -> Message:
        data = {"id": ident, "status": "paid", "currency": price.currency.lower(), "total": float(price.major),
                "settlement_amount": float(price.major), "tax_amount": 0.0, "billing_reason": reason, "paid_at": ISO_AT,
                "metadata": metadata, "membership": {"id": f"mem_{n}"},
                "user": {"id": f"user_whop{n}", "email": f"b{n}@example.com", "name": "Ada"}}  # fmt: skip
        return as_json({"id": f"msg_{event}_{ident}", "type": event, "timestamp": ISO_AT, "data": data})

    def refund(step: int, back: Decimal) -> Message:
        data = {"id": f"rfnd_{n}_{step}", "amount": float(back), "currency": price.currency.lower(), "status": "succeeded",
                "payment": {"id": f"pay_{n}"}}  # fmt: skip
        return as_json({"id": f"msg_{n}_r{step}", "type": "refund.created", "timestamp": ISO_AT, "data": data})

    metadata = {"clickId": f"clk_{n}", "user_id": f"own_{n}"}
    first = ("payment.created", "invoice.paid", "payment.succeeded")
    return Buyer(
        first=tuple(payment(event, f"pay_{n}", "subscription_create", metadata) for event in first),
        renewals=tuple(payment("payment.succeeded", f"pay_{n}_{m}", "subscription_cycle", None) for m in (1, 2)),
        refunds=(refund(1, price.part().major), refund(2, price.major - price.part().major)),
        customer=f"own_{n}", click=f"clk_{n}", price=price, returned=price.major,
    )  # fmt: skip


def chargebee(n: int, price: Price) -> Buyer:
    def message(event: str, transaction: Mapping[str, Any], click: bool) -> Message:
        known = {
            "type": "payment",
            "status": "success",
            "amount": price.iso(),
            "currency_code": price.currency,
            "date": AT,
        }
        customer = {"id": f"user_{n}", "email": f"b{n}@example.com", **({"cf_click_id": f"clk_{n}"} if click else {})}
        content = {"transaction": {**known, **transaction}, "customer": customer, "subscription": {"id": f"cb_sub_{n}"}}
        ident = f"ev_{event}_{transaction['id']}"
        return as_json({"id": ident, "occurred_at": AT, "object": "event", "event_type": event, "content": content})

    def paid(ident: str, click: bool = False) -> Message:
        return message("payment_succeeded", {"id": ident, "linked_invoices": [{"invoice_id": f"inv_{ident}"}]}, click)

    def refund(step: int, back: Price, link: Mapping[str, Any]) -> Message:
        return message(
            "payment_refunded", {"id": f"txn_{n}_r{step}", "type": "refund", "amount": back.iso(), **link}, False
        )

    invoice = message("invoice_generated", {"id": f"txn_{n}"}, True)
    return Buyer(
        first=(invoice, paid(f"txn_{n}", click=True)),
        renewals=(paid(f"txn_{n}_1"), paid(f"txn_{n}_2")),
        refunds=(
            refund(1, price.part(), {"refunded_txn_id": f"txn_{n}"}),
            refund(2, Price(price.major - price.part().major, price.currency), {"linked_payments": [{"txn_id": f"txn_{n}"}]}),
        ),
        customer=f"user_{n}", click=f"clk_{n}", price=price, returned=price.major,
    )  # fmt: skip


EVERYWHERE = ("EUR", "USD")
BY_ISO = (*EVERYWHERE, "JPY", "KWD", "ISK", "UGX")
WORLDS: Mapping[str, tuple[Callable[[int, Price], Buyer], tuple[str, ...]]] = {
    "paddle": (paddle, (*EVERYWHERE, "JPY", "KRW")),
    "lemonsqueezy": (lemonsqueezy, EVERYWHERE),
    "polar": (polar, (*EVERYWHERE, "JPY", "ISK")),
    "dodo": (dodo, BY_ISO),
    "shopify": (shopify, BY_ISO),
    "woocommerce": (woocommerce, BY_ISO),
    "razorpay": (razorpay, ("INR", *BY_ISO)),
    "revenuecat": (revenuecat, (*EVERYWHERE, "JPY")),
    "gumroad": (gumroad, ("USD",)),
    "creem": (creem, (*EVERYWHERE, "JPY")),
    "whop": (whop, EVERYWHERE),
    "chargebee": (chargebee, BY_ISO),
}
"""Each provider's buyer, and the currencies to try: those in which its unit differs from that of others."""
