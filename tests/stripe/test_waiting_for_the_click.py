"""What comes before its session waits for the click id that only the session has, also where the customer id is known."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from app.ledger.engine import Ledger
from tests.support import stripe_world as world
from tests.support.stripe_recorder import Recorder


def named_by_the_merchant(w: world.World) -> dict[str, list[bytes]]:
    """How the customer id may be known before the session comes: the invoice's own metadata, or an earlier sign-up."""
    customer = {"id": w.cus, "object": "customer", "email": w.email, "metadata": {"user_id": w.customer}}
    return {"metadata": [], "sign-up": [world.body("customer.created", customer)]}


@pytest.mark.parametrize("old", [False, True], ids=["basil", "before basil"])
@pytest.mark.parametrize("reason", ["subscription_create", "manual"])
@pytest.mark.parametrize("known_by", ["metadata", "sign-up"])
def test_an_invoice_with_a_user_id_takes_its_click_id_from_the_session(
    ledger: Ledger, known_by: str, reason: str, old: bool
) -> None:
    recorder, w = Recorder(ledger), world.World(old)
    for body in named_by_the_merchant(w)[known_by]:
        recorder.take(body)
    metadata = {"user_id": w.customer} if known_by == "metadata" else {}
    recorder.take(world.body("invoice.paid", w.invoice(4900, reason, metadata=metadata)))
    recorder.send_due()
    assert [status for _, status in recorder.deliveries()] == ["pending"]
    session: dict[str, Any] = {"metadata": {}, "invoice": w.invoice_id}
    if reason == "subscription_create":
        session |= {"mode": "subscription", "subscription": w.sub, "payment_intent": None}
    recorder.take(world.body("checkout.session.completed", w.session(**session)))
    recorder.send_due()
    assert [status for _, status in recorder.deliveries()] == ["delivered"], "the session lets it go"
    (sale,) = recorder.payloads("sale")
    assert (sale["clickId"], sale["customerExternalId"]) == (w.click, w.customer)


@pytest.mark.parametrize("together", [False, True])
def test_a_session_without_a_click_id_lets_its_invoice_go_at_once(ledger: Ledger, together: bool) -> None:
    recorder, w = Recorder(ledger), world.World(old=False)
    invoice = w.invoice(4900, "subscription_create", metadata={"user_id": w.customer})
    session = w.session(mode="subscription", subscription=w.sub, invoice=w.invoice_id, client_reference_id=None)
    bodies = [world.body("invoice.paid", invoice), world.body("checkout.session.completed", session)]
    for group in [bodies] if together else [[body] for body in bodies]:
        recorder.take(*group)
    recorder.send_due()
    assert [status for _, status in recorder.deliveries()] == ["delivered"]


def test_an_invoice_whose_person_has_a_click_id_and_a_renewal_wait_for_nothing(ledger: Ledger) -> None:
    recorder, w = Recorder(ledger), world.World(old=False)
    metadata = {"user_id": w.customer, "clickId": w.click}
    recorder.take(world.body("customer.created", {"id": w.cus, "object": "customer", "metadata": metadata}))
    recorder.send_due()
    recorder.take(world.body("invoice.paid", w.invoice(4900, "subscription_create", metadata={"user_id": w.customer})))
    recorder.send_due()
    other = world.World(old=False)
    recorder.take(world.body("invoice.paid", other.invoice(4900, "subscription_cycle", metadata={"user_id": "u_2"})))
    recorder.send_due()
    assert [status for _, status in recorder.deliveries()] == ["delivered"] * 3


def test_a_session_that_came_first_and_names_no_invoice_lets_the_invoice_go_at_once(ledger: Ledger) -> None:
    """API 2020-08: the session names its subscription alone, and is pending until the invoice comes."""
    recorder, w = Recorder(ledger), world.World(old=True)
    session = w.session(mode="subscription", subscription=w.sub, payment_intent=None, client_reference_id=None)
    recorder.take(world.body("checkout.session.completed", session))
    recorder.take(world.body("invoice.paid", w.invoice(4900, "subscription_create", metadata={"user_id": w.customer})))
    recorder.send_due()
    assert [status for _, status in recorder.deliveries()] == ["delivered"]


def test_a_trial_with_a_user_id_takes_its_click_id_from_the_session(ledger: Ledger) -> None:
    recorder, w = Recorder(ledger), world.World(old=False)
    trial = w.subscription("trialing") | {"metadata": {"user_id": w.customer}}
    recorder.take(world.body("customer.subscription.created", trial))
    recorder.send_due()
    assert [status for _, status in recorder.deliveries()] == ["pending"]
    session = w.session(mode="subscription", subscription=w.sub, payment_intent=None, amount_total=0, metadata={})
    recorder.take(world.body("checkout.session.completed", session))
    recorder.send_due()
    assert [status for _, status in recorder.deliveries()] == ["delivered"]
    (lead,) = recorder.payloads("lead")
    assert (lead["clickId"], lead["customerExternalId"]) == (w.click, w.customer)


@pytest.mark.parametrize(
    "kind", [world.subscription, world.one_off_with_invoice, world.trial], ids=lambda k: k.__name__
)
def test_in_every_order_a_first_purchase_has_its_click_id_although_each_event_names_the_customer(
    ledger: Ledger, kind: Callable[..., Any]
) -> None:
    telling = (
        "invoice.paid",
        "checkout.session.completed",
        "payment_intent.succeeded",
        "customer.subscription.created",
    )
    recorder = Recorder(ledger)
    for order in itertools.permutations(telling):
        bought = kind(old=False)
        start = recorder.newest()
        events = sorted((one for one in bought.events if one[0] in telling), key=lambda one: order.index(one[0]))
        for number, (event_type, thing) in enumerate(events):
            named = thing if event_type.startswith("checkout") else thing | {"metadata": {"user_id": bought.customer}}
            recorder.take(world.body(event_type, named, number))
            recorder.send_due()
        sent = [*recorder.payloads("sale", after=start), *recorder.payloads("lead", after=start)]
        assert [(one["clickId"], one["customerExternalId"]) for one in sent] == [(bought.click, bought.customer)] * len(
            sent
        ), order
        assert sent
