"""One person's way: a Lead from a form, a checkout with only the e-mail, a renewal a month later."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import requests

from app.sources.catalog import example
from app.sources.typeform.source import SOURCE as TYPEFORM
from tests.conftest import PATIENCE_SECONDS, FakeDestination, wait_for
from tests.support import stripe_world as world
from tests.support.stack_parts import Stack

pytestmark = pytest.mark.stack
SECRET = "typeform secret of the tests"


def test_lead_sale_and_renewal_arrive_in_order_under_one_id_and_click_while_the_lead_is_refused(
    make_stack: Callable[..., Stack], destination: FakeDestination
) -> None:
    stack = make_stack(TYPEFORM_WEBHOOK_SECRET=SECRET, RETRY_SCHEDULE="1,1,1,1,1,1", HOLD_SECONDS="60")
    stack.serve()
    stack.start("worker")
    answers = iter([500, 503])
    destination.answer = lambda r: (next(answers, 200) if r["path"] == "/track/lead" else 200, {}, b"{}")
    lead = json.loads(example("typeform")[0])
    lead["form_response"]["hidden"] = {"clickid": "clk_first", "user_id": "user_7"}
    lead["form_response"]["answers"][1]["email"] = "pat@example.com"
    body = json.dumps(lead).encode()
    headers = TYPEFORM.sign(body, SECRET, datetime.now(UTC))
    assert (
        requests.post(
            f"{stack.url}/webhooks/typeform", data=body, headers=headers, timeout=PATIENCE_SECONDS
        ).status_code
        == 200
    )
    wait_for(lambda: destination.requests)

    w = world.World(old=False)
    w.email = "pat@example.com"
    session = w.session(
        mode="subscription",
        invoice=w.invoice_id,
        subscription=w.sub,
        payment_intent=None,
        client_reference_id=None,
        metadata={},
    )
    assert stack.post(world.body("checkout.session.completed", session)).json()["outcome"] == "sale"
    renewal = w.invoice(4900, "subscription_cycle", "in_renewal", customer_email=None)
    assert stack.post(world.body("invoice.paid", renewal)).json()["outcome"] == "sale"
    wait_for(lambda: stack.counts() == {"delivered": 3})

    accepted = [r["json"] for r in destination.requests[-3:]]
    assert [p["event"] for p in accepted] == ["lead", "sale", "sale"]
    assert [p.get("invoiceId") for p in accepted] == [None, w.invoice_id, "in_renewal"]
    assert {p["customerExternalId"] for p in accepted} == {"user_7"}
    assert {p["clickId"] for p in accepted} == {"clk_first"}
    assert [r["path"] for r in destination.requests[:2]] == ["/track/lead", "/track/lead"], "the Sale did not overtake"


def test_a_sale_goes_alone_once_it_has_waited_hold_seconds_for_its_lead(
    make_stack: Callable[..., Stack], destination: FakeDestination
) -> None:
    stack = make_stack(TYPEFORM_WEBHOOK_SECRET=SECRET, RETRY_SCHEDULE="30,30", HOLD_SECONDS="3")
    stack.serve()
    stack.start("worker")
    destination.answer = lambda r: (500 if r["path"] == "/track/lead" else 200, {}, b"{}")
    body = example("typeform")[0]
    headers = TYPEFORM.sign(body, SECRET, datetime.now(UTC))
    assert (
        requests.post(
            f"{stack.url}/webhooks/typeform", data=body, headers=headers, timeout=PATIENCE_SECONDS
        ).status_code
        == 200
    )
    wait_for(lambda: stack.counts() == {"retrying": 1})
    began = time.monotonic()
    assert stack.post(example("stripe")[0]).json()["outcome"] == "sale"
    wait_for(lambda: stack.counts() == {"retrying": 1, "delivered": 1})
    assert time.monotonic() - began > 2.5
