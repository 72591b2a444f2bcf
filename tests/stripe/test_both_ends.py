"""bridge reconcile over both ends: what was paid at Stripe, what is a Sale here, and what Dub holds. Planted losses are named."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from click.testing import CliRunner, Result

from app.cli import main
from app.config.settings import Settings
from app.ledger.engine import Ledger
from app.sources.custom import build
from tests.stripe.test_stripe_api import KEY, FakeStripe, bought, session
from tests.support.dub import FakeDub
from tests.support.makers import begin, change, one, settle
from tests.support.stripe_recorder import Recorder

Bridge = Callable[..., Result]
sqlite_alone = pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)


@pytest.fixture
def stripe() -> Iterator[FakeStripe]:
    server = FakeStripe()
    yield server
    server.close()


@pytest.fixture
def dub() -> Iterator[FakeDub]:
    server = FakeDub()
    yield server
    server.close()


@pytest.fixture
def bridge(
    make_settings: Callable[..., Settings], ledger_url: str, stripe: FakeStripe, dub: FakeDub, tmp_path: Path
) -> Iterator[Bridge]:
    def run(*arguments: object, **variables: str) -> Result:
        defaults = {
            "DATABASE_URL": ledger_url,
            "STRIPE_API_KEY": KEY,
            "STRIPE_API_BASE": stripe.url,
            "STRIPE_ALLOW_TEST_EVENTS": "1",
            "DESTINATION_URL": dub.url,
            "DESTINATION_TOKEN": "a-token-of-dub",
            "DESTINATION_FORMAT": "dub",
            "DESTINATION_ALLOW_PRIVATE": "1",
        }
        make_settings(**(defaults | variables))
        return CliRunner().invoke(main, [str(a) for a in arguments])

    yield run
    structlog.reset_defaults()


def sold(bridge: Bridge, ledger: Ledger, stripe: FakeStripe, dub: FakeDub, *numbers: int) -> None:
    """Paid at Stripe, delivered, and held by Dub."""
    stripe.lists["/v1/events"] = [bought(number, 600) for number in numbers]
    stripe.lists["/v1/checkout/sessions"] = [session(number, 700) for number in numbers]
    assert bridge("backfill", "stripe", "--since", "1h").exit_code == 0
    claimed = begin(ledger, "main")
    dub.clicks, dub.lag_seconds = {f"clk_{number}" for number in numbers}, 0.0
    for delivery in claimed:
        dub.sale(json.loads(delivery.payload))
    settle(ledger, "delivered", claimed=claimed, destination="main")
    dub.longest_page = 2  # the list is read page by page, whatever a page holds


def reconciled(bridge: Bridge, *options: str) -> tuple[int, dict[str, Any]]:
    result = bridge("reconcile", "--since", "7d", "--json", *options)
    assert result.stdout, result.output
    return result.exit_code, json.loads(result.stdout)


def lost(found: dict[str, Any]) -> dict[str, str]:
    return {each["invoice_id"]: each["state"] for each in found["destinations"][0]["missing"]}


def test_where_nothing_is_missing_both_ends_say_the_same_number(
    bridge: Bridge, ledger: Ledger, stripe: FakeStripe, dub: FakeDub
) -> None:
    sold(bridge, ledger, stripe, dub, 1, 2, 3, 4, 5)
    result = bridge("reconcile", "stripe", "--since", "7d")
    assert result.exit_code == 0, result.output
    assert "5 paid at Stripe, 5 at Dub." in result.stdout


def test_planted_losses_are_named_and_sent(bridge: Bridge, ledger: Ledger, stripe: FakeStripe, dub: FakeDub) -> None:
    sold(bridge, ledger, stripe, dub, 1, 2, 3, 4, 5, 6, 7)
    stripe.lists["/v1/checkout/sessions"].append(session("never", 700))
    stripe.lists["/v1/events"].append(bought("never", 600))
    by_invoice = {sale["invoiceId"]: sale for sale in dub.sales}
    dub.sales = [
        by_invoice[f"pi_{number}"] for number in (1, 5, 6, 7)
    ]  # 2 and 3 never arrived, 4 has a commission alone
    dub.commissions = [each for each in dub.commissions if each["invoiceId"] in ("pi_4", "pi_5")]
    deliveries = {key: identity for identity, key in rows(ledger, "SELECT id, dedupe_key FROM deliveries")}
    change(ledger, "UPDATE deliveries SET status = 'dead' WHERE id = ?", deliveries["sale:stripe:pi_3"])
    for key, status in (("pi_6", "unattributed"), ("pi_7", "discarded")):
        change(ledger, "UPDATE deliveries SET status = ? WHERE id = ?", status, deliveries[f"sale:stripe:{key}"])
    dub.sales = [sale for sale in dub.sales if sale["invoiceId"] not in ("pi_6", "pi_7")]
    code, found = reconciled(bridge)
    assert code == 1
    assert lost(found) == {"pi_2": "lost", "pi_3": "dead", "pi_7": "discarded"}
    (end,) = found["destinations"]
    assert (end["sales"], end["held"], end["unattributed"]) == (7, 3, 1)
    never = [each["id"] for each in found["missing"] if each["state"] == "never_received"]
    assert never == ["cs_never"]
    text = bridge("reconcile", "stripe", "--since", "7d").stdout
    assert "8 paid at Stripe, 3 at Dub, 1 unattributed. Missing at Dub: 3." in text
    code, found = reconciled(bridge, "--send")
    assert code == 1  # what somebody discarded stays so
    due = {key for _, key in rows(ledger, "SELECT id, dedupe_key FROM deliveries WHERE due_at IS NOT NULL")}
    assert due == {"sale:stripe:pi_2", "sale:stripe:pi_3", "sale:stripe:pi_never"}
    for delivery in begin(ledger, "main"):
        dub.clicks.add(json.loads(delivery.payload)["clickId"])
        dub._answers.pop(json.loads(delivery.payload)["invoiceId"], None)
        dub.sale(json.loads(delivery.payload))
    change(ledger, "UPDATE deliveries SET status = 'delivered', due_at = NULL, claim = NULL WHERE due_at IS NOT NULL")
    assert lost(reconciled(bridge)[1]) == {"pi_7": "discarded"}


def rows(ledger: Ledger, statement: str) -> list[tuple[int, str]]:
    with ledger.read() as tx:
        return [(row[0], row[1]) for row in tx.run(statement).all()]


def test_what_was_refunded_before_it_was_sent_is_missing_nowhere(
    bridge: Bridge, ledger: Ledger, stripe: FakeStripe, dub: FakeDub
) -> None:
    sold(bridge, ledger, stripe, dub, 1)
    back = {"id": "ch_2", "object": "charge", "payment_intent": "pi_2", "amount_refunded": 1999, "currency": "usd"}
    refunded = {"id": "evt_back", "object": "event", "type": "charge.refunded", "livemode": False}
    stripe.lists["/v1/events"] = [
        bought(2, 500),
        refunded
        | {"created": stripe.lists["/v1/events"][0]["created"] + 200, "data": {"object": back | {"refunded": True}}},
    ]
    stripe.lists["/v1/checkout/sessions"].append(session(2, 500))
    assert bridge("backfill", "stripe", "--since", "1h", "--restart").exit_code == 0
    assert one(ledger, "SELECT status FROM deliveries ORDER BY id DESC")[0] == "discarded"
    code, found = reconciled(bridge)
    assert (code, found["paid"], found["delivered"], found["refunded"], found["missing"]) == (0, 2, 1, 1, [])
    assert found["destinations"][0]["held"] == 1


@sqlite_alone
def test_without_stripe_our_sales_are_compared_and_a_token_without_the_scope_is_said(
    bridge: Bridge, ledger: Ledger, stripe: FakeStripe, dub: FakeDub, monkeypatch: pytest.MonkeyPatch
) -> None:
    sold(bridge, ledger, stripe, dub, 1, 2)
    change(ledger, "UPDATE conversions SET occurred_at = created_at")  # the fixtures' purchases are of another year
    monkeypatch.delenv("STRIPE_API_KEY")
    keyless = {"STRIPE_API_KEY": ""}
    result = bridge("reconcile", "--since", "7d", "--destination", "main", **keyless)
    assert (result.exit_code, "2 Sales here, 2 at Dub." in result.stdout) == (0, True), result.output
    dub.is_closed = True
    result = bridge("reconcile", "--since", "7d", **keyless)
    assert result.exit_code == 1
    assert "main was not compared: Dub answered 403 to /events: the token may not read events" in result.stdout
    assert "there is no destination" in bridge("reconcile", "--since", "7d", "--destination", "crm").output.lower()


@sqlite_alone
def test_one_destination_that_has_no_api_to_ask_is_compared_with_stripe_by_its_deliveries(
    bridge: Bridge, ledger: Ledger, stripe: FakeStripe, dub: FakeDub, tmp_path: Path
) -> None:
    sold(bridge, ledger, stripe, dub, 1, 2)
    config = tmp_path / "bridge.toml"
    config.write_text('[destinations.crm]\nurl = "https://crm.example"\ntoken_env = "CRM_TOKEN"\n')
    crm = {"BRIDGE_CONFIG": str(config), "CRM_TOKEN": "a-token-of-the-crm"}
    found = json.loads(bridge("reconcile", "--since", "7d", "--destination", "crm", "--json", **crm).stdout)
    assert [each["state"] for each in found["missing"]] == ["elsewhere", "elsewhere"]
    assert found["destinations"] == []
    keyless = bridge("reconcile", "--since", "7d", "--destination", "crm", **crm, STRIPE_API_KEY="")
    assert "crm has no API that says what it holds (format events)" in keyless.output


@sqlite_alone
def test_what_a_destination_without_an_api_to_ask_never_got_is_sent_to_it(
    bridge: Bridge, ledger: Ledger, stripe: FakeStripe, dub: FakeDub, tmp_path: Path
) -> None:
    sold(bridge, ledger, stripe, dub, 1, 2)
    config = tmp_path / "bridge.toml"
    config.write_text('[destinations.crm]\nurl = "https://crm.example"\ntoken_env = "CRM_TOKEN"\n')
    crm = {"BRIDGE_CONFIG": str(config), "CRM_TOKEN": "a-token-of-the-crm"}
    options = ("reconcile", "--since", "7d", "--destination", "crm")
    sent = bridge(*options, "--send", "--json", **crm)
    assert [each["message"] for each in json.loads(sent.stdout)["sent"]] == ["it was made for crm and is due now"] * 2
    assert sent.exit_code == 0, sent.output
    made = rows(ledger, "SELECT id, dedupe_key FROM deliveries WHERE destination = 'crm' AND status = 'pending'")
    assert sorted(key for _, key in made) == ["sale:stripe:pi_1", "sale:stripe:pi_2"]
    assert [each["state"] for each in json.loads(bridge(*options, "--json", **crm).stdout)["missing"]] == [
        "pending"
    ] * 2


@sqlite_alone
def test_sending_what_is_missing_reprocesses_the_parked_events_of_stripe_alone(
    bridge: Bridge, ledger: Ledger, stripe: FakeStripe, tmp_path: Path
) -> None:
    table = {"kind": "sale", "currency": "EUR", "fields": {"order_id": "id", "amount": "total"}}
    Recorder(ledger, build("shop", table)).take(b'{"id": 7, "total": "10.00 EUR", "email": "ada@example.com"}')
    nobody: dict[str, Any] = {"customer_details": None, "metadata": {}}
    stripe.lists["/v1/checkout/sessions"] = [session(1, **nobody)]
    Recorder(ledger, accept_test_events=True).take(json.dumps(bought(1, 3600, **nobody)).encode())
    parked = "SELECT COUNT(*) FROM events WHERE outcome = 'parked'"
    assert one(ledger, parked) == (2,)
    code, found = reconciled(bridge, "--send")
    assert "Stripe's parked events: 0 reprocessed, 1 stay parked" in [each["message"] for each in found["sent"]]
    assert (code, one(ledger, parked)) == (1, (2,))
    assert one(ledger, "SELECT actor, subject FROM audit WHERE action = 'remap'") == ("cli", "source stripe")


@sqlite_alone
def test_a_session_in_the_buyers_currency_is_listed_in_that_of_the_merchant(
    bridge: Bridge, ledger: Ledger, stripe: FakeStripe
) -> None:
    conversion = {"amount_total": 1999, "source_currency": "usd", "fx_rate": "0.92"}
    shown = session(1, amount_total=1839, currency="eur", currency_conversion=conversion)
    stripe.lists["/v1/checkout/sessions"] = [shown]
    _, found = reconciled(bridge)
    assert [missing["amount"] for missing in found["missing"]] == ["19.99 USD"]
