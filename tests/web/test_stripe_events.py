"""Without a key to Stripe, the ledger shows which wanted events the endpoint is not subscribed to."""

import html
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from flask import Flask

from app.cli import main
from app.config.generated_secrets import make_up_secrets
from app.config.settings import Settings
from app.ledger.engine import Ledger
from app.model import Rules
from app.stripe_api.arrived import COMES_WITH, FEWEST, TWINS, arrived
from app.stripe_api.event_types import wanted_events
from tests.stripe.test_stripe_api import KEY, URL, FakeStripe, endpoint
from tests.support import stripe_world as world
from tests.support.makers import checkout, signed
from tests.support.stripe_recorder import Recorder
from tests.web.conftest import Browser

WANTED = wanted_events(Rules())
PASSWORD = "password of the tests"


@pytest.fixture
def stripe() -> Iterator[FakeStripe]:
    server = FakeStripe()
    yield server
    server.close()


def take(ledger: Ledger, event_type: str, times: int = 1) -> None:
    recorder = Recorder(ledger)
    for number in range(times):
        recorder.take(world.body(event_type, {"id": f"x_{number}", "object": "thing"}))


def found(ledger: Ledger) -> Any:
    with ledger.read() as tx:
        return arrived(tx, WANTED)


def test_the_evidence_is_about_wanted_events() -> None:
    assert set(COMES_WITH) | set(TWINS) <= set(WANTED)


def test_a_ledger_without_events_of_stripe_says_nothing(ledger: Ledger) -> None:
    assert found(ledger).is_empty
    assert found(ledger).missing == ()


@pytest.mark.parametrize(("event", "shown_by"), [(e, shown) for e, several in COMES_WITH.items() for shown in several])
def test_an_event_that_another_never_comes_without_is_missing_until_it_comes(
    ledger: Ledger, event: str, shown_by: str
) -> None:
    take(ledger, shown_by, FEWEST - 1)
    assert found(ledger).missing == ()
    take(ledger, shown_by)
    assert (event, shown_by) in found(ledger).missing
    take(ledger, event)
    assert event not in [missing for missing, _ in found(ledger).missing]
    assert event in found(ledger).seen


def test_a_twin_stands_for_its_event(ledger: Ledger) -> None:
    take(ledger, "customer.subscription.created", FEWEST)
    take(ledger, "invoice.payment_succeeded")
    assert "invoice.paid" in found(ledger).seen


def test_what_has_not_come_is_listed_as_that_alone(ledger: Ledger) -> None:
    take(ledger, "invoice.paid")
    assert found(ledger).seen == ("invoice.paid",)
    assert set(found(ledger).unseen) == set(WANTED) - {"invoice.paid"}


def test_doctor_without_a_key_says_what_never_came(
    ledger: Ledger, make_settings: Callable[..., Settings], ledger_url: str, tmp_path: Path
) -> None:
    def doctor(**variables: str) -> str:
        make_settings(DATABASE_URL=ledger_url, STRIPE_API_KEY="", **variables)
        return CliRunner().invoke(main, ["doctor"]).stdout

    assert "have not come yet" not in doctor(), "nothing of Stripe has come at all"
    take(ledger, "customer.subscription.created", FEWEST)
    message = doctor()
    assert "customer.subscription.created comes and invoice.paid never does" in message
    assert "these wanted events have not come yet: checkout.session.completed" in message
    make_up_secrets(tmp_path / "home")
    assert "have not come yet" not in doctor(STRIPE_WEBHOOK_SECRET=""), "no endpoint at Stripe has a generated secret"


def test_the_sources_page_says_what_never_came(make_app: Callable[..., Flask], ledger: Ledger) -> None:
    browser = Browser(make_app(STRIPE_API_KEY="").test_client(), PASSWORD)
    assert "Stripe events" not in browser.get("/sources").text
    take(ledger, "charge.refunded", FEWEST)
    page = html.unescape(browser.get("/sources").text)
    assert "charge.refunded comes and refund.created never does" in page
    assert "<code>invoice.paid</code>" in page
    assert "Check Stripe endpoint" not in page


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_the_sources_page_asks_stripe_when_told_to(make_app: Callable[..., Flask], stripe: FakeStripe) -> None:
    app = make_app(STRIPE_API_KEY=KEY, STRIPE_API_BASE=stripe.url, PUBLIC_URL=URL.removesuffix("/webhooks/stripe"))
    browser = Browser(app.test_client(), PASSWORD)
    app.test_client().post("/webhooks/stripe", **signed(checkout(1)))
    assert "Check Stripe endpoint" in browser.get("/sources").text
    assert stripe.requests == [], "the page itself asks nobody"
    stripe.lists["/v1/webhook_endpoints"] = [endpoint("we_1", URL, [e for e in WANTED if e != "refund.created"])]
    assert browser.submit("/sources/stripe/endpoint").status_code == 302
    message = html.unescape(browser.get("/sources").text)
    assert "we_1 is enabled" in message
    assert "we_1 is not sent refund.created" in message
    stripe.forbidden.add("/v1/webhook_endpoints")
    browser.submit("/sources/stripe/endpoint")
    assert "permission" in browser.get("/sources").text


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_without_a_key_there_is_nothing_to_ask_with(make_app: Callable[..., Flask]) -> None:
    browser = Browser(make_app(STRIPE_API_KEY="").test_client(), PASSWORD)
    assert browser.submit("/sources/stripe/endpoint").status_code == 404
