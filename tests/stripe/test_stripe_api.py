"""The commands that ask Stripe's API, against a local HTTP server that speaks its shapes."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import structlog
from click.testing import CliRunner, Result

from app.bootstrap import make_policy
from app.cli import main
from app.config.settings import Settings
from app.ledger.engine import Ledger
from app.sources.stripe.source import SOURCE as STRIPE
from app.stripe_api.backfill import Backfill
from app.stripe_api.client import API_VERSION, StripeApi
from app.stripe_api.event_types import wanted_events
from app.stripe_api.lookup import Lookups
from tests.support.makers import checkout, count, one, settle

KEY = "sk_test_key_of_the_tests"
NOW = int(time.time())
DAY = 86400
URL = "https://bridge.example.com/webhooks/stripe"
sqlite_alone = pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)


class FakeStripe:
    """Stripe's lists and endpoints. `broken_after`: so many requests are answered, the others are errors."""

    def __init__(self) -> None:
        self.lists: dict[str, list[dict[str, Any]]] = {
            "/v1/events": [],
            "/v1/webhook_endpoints": [],
            "/v1/invoices": [],
            "/v1/checkout/sessions": [],
            "/v1/payment_intents": [],
            "/v1/charges": [],
            "/v1/invoice_payments": [],
        }
        self.forbidden: set[str] = set()
        """Paths that the key may not read."""
        self.objects: dict[str, dict[str, Any]] = {}
        self.requests: list[tuple[str, str, dict[str, Any]]] = []
        self.broken_after: int | None = None
        self.limited = 0
        """So many requests are answered 429 first."""
        stripe = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                self._answer("GET", urlsplit(self.path).query)

            def do_POST(self) -> None:
                self._answer("POST", self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())

            def _answer(self, method: str, query: str) -> None:
                path = urlsplit(self.path).path
                if self.headers.get("Authorization") != f"Bearer {KEY}":
                    report = f"Invalid API Key provided: {self.headers.get('Authorization', '')[7:]}"
                    status, answer = 401, _error(report)
                else:
                    status, answer = stripe.answer(method, path, _params(query))
                body = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def answer(self, method: str, path: str, params: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if self.limited:
            self.limited -= 1
            return 429, _error("Too many requests")
        self.requests.append((method, path, params))
        if self.broken_after is not None and len(self.requests) > self.broken_after:
            return 400, _error("out of order")
        if method == "POST":
            return 200, self._change(path, params)
        if path in self.forbidden:
            return 403, _error("The provided key does not have the required permissions")
        if path in self.lists:
            return 200, self._list(path, params)
        if path in self.objects:
            return 200, self.objects[path]
        return 404, _error("No such object")

    def _list(self, path: str, params: dict[str, Any]) -> dict[str, Any]:
        found = sorted(self.lists[path], key=lambda thing: -thing.get("created", 0))
        created = params.get("created", {})
        low, high = int(created.get("gte", 0)), int(created.get("lte", 10**12))
        types = list(params.get("types", {}).values())
        assert len(types) <= 20
        found = [
            thing
            for thing in found
            if low <= thing.get("created", 0) <= high
            and (not types or thing["type"] in types)
            and ("status" not in params or thing.get("status") == params["status"])
            and ("subscription" not in params or thing.get("subscription") == params["subscription"])
            and ("payment_intent" not in params or thing.get("payment_intent") == params["payment_intent"])
            and ("payment" not in params or thing["payment"]["payment_intent"] == params["payment"]["payment_intent"])
            and ("delivery_success" not in params or thing.get("_undelivered"))
        ]
        if "starting_after" in params:
            ids = [thing["id"] for thing in found]
            found = found[ids.index(params["starting_after"]) + 1 :]
        limit = int(params.get("limit", 10))
        return {"object": "list", "url": path, "has_more": len(found) > limit, "data": found[:limit]}

    def _change(self, path: str, params: dict[str, Any]) -> dict[str, Any]:
        endpoints = self.lists["/v1/webhook_endpoints"]
        events = list(params.get("enabled_events", {}).values())
        if path == "/v1/webhook_endpoints":
            made = endpoint(f"we_{len(endpoints) + 1}", params["url"], events, api_version=params["api_version"])
            made |= {"description": params.get("description"), "metadata": params.get("metadata", {})}
            made["application"] = "ca_1" if params.get("connect") == "true" else None
            endpoints.append(made)
            return made | {"secret": "whsec_told_only_once"}
        found = next(one for one in endpoints if path == f"/v1/webhook_endpoints/{one['id']}")
        found["enabled_events"] = events or found["enabled_events"]
        found["metadata"] |= params.get("metadata", {})
        if params.get("disabled") == "false":
            found["status"] = "enabled"
        return found

    @property
    def changes(self) -> list[tuple[str, str, dict[str, Any]]]:
        return [request for request in self.requests if request[0] == "POST"]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _error(message: str) -> dict[str, Any]:
    return {"error": {"type": "invalid_request_error", "message": message}}


def _params(query: str) -> dict[str, Any]:
    """a[b]=c as {"a": {"b": "c"}}."""
    found: dict[str, Any] = {}
    for name, value in parse_qsl(query):
        match = re.fullmatch(r"(\w+)\[(\w*)\]", name)
        if match:
            inner = found.setdefault(match.group(1), {})
            inner[match.group(2) or str(len(inner))] = value
        else:
            found[name] = value
    return found


def endpoint(identity: str, url: str, events: list[str], **fields: Any) -> dict[str, Any]:
    return {
        "id": identity,
        "object": "webhook_endpoint",
        "url": url,
        "enabled_events": events,
        "status": "enabled",
        "api_version": API_VERSION,
        "metadata": {},
    } | fields


def bought(number: object, age_seconds: int, **session: Any) -> dict[str, Any]:
    """The event of a paid checkout session."""
    return {**json.loads(checkout(number, **session)), "created": NOW - age_seconds}


def session(number: object, age_seconds: int = 3600, **fields: Any) -> dict[str, Any]:
    """The same session as Stripe lists it."""
    return {**json.loads(checkout(number))["data"]["object"], "created": NOW - age_seconds, **fields}


def invoice(number: object, age_seconds: int = 3600, **fields: Any) -> dict[str, Any]:
    return {
        "id": f"in_{number}",
        "object": "invoice",
        "status": "paid",
        "amount_paid": 4900,
        "currency": "usd",
        "billing_reason": "subscription_cycle",
        "customer": f"cus_{number}",
        "customer_email": f"p{number}@example.com",
        "created": NOW - age_seconds - 3600,
        "status_transitions": {"paid_at": NOW - age_seconds},
        "livemode": False,
        **fields,
    }


@pytest.fixture
def stripe() -> Iterator[FakeStripe]:
    server = FakeStripe()
    yield server
    server.close()


@pytest.fixture
def bridge(
    make_settings: Callable[..., Settings], ledger_url: str, stripe: FakeStripe
) -> Iterator[Callable[..., Result]]:
    """Runs a command on the ledger of the test and this Stripe."""

    def run(*arguments: object, **variables: str) -> Result:
        defaults = {"DATABASE_URL": ledger_url, "STRIPE_API_KEY": KEY, "STRIPE_API_BASE": stripe.url}
        make_settings(**(defaults | variables))
        return CliRunner().invoke(main, [str(a) for a in arguments])

    yield run
    structlog.reset_defaults()


@pytest.fixture
def fetch(make_settings: Callable[..., Settings], ledger: Ledger, stripe: FakeStripe) -> Callable[..., Backfill]:
    """A backfill that has not begun."""

    def make(**options: Any) -> Backfill:
        api = StripeApi(KEY, stripe.url, retries=0, sleep=lambda _seconds: None)
        policy = make_policy(make_settings())
        return Backfill(api, ledger, STRIPE, policy, **{"since": NOW - 3 * DAY, **options})

    return make


# backfill


def test_backfill_records_what_never_came_and_a_second_run_finds_only_duplicates(
    bridge: Callable[..., Result], ledger: Ledger, stripe: FakeStripe
) -> None:
    stripe.lists["/v1/events"] = [bought(n, n * 3600) for n in range(1, 6)]
    stripe.lists["/v1/events"].append({**bought(9, 60), "type": "payout.paid"})
    stripe.lists["/v1/events"].append(bought(7, 50, payment_status="unpaid"))
    stripe.lists["/v1/events"].append(bought(8, 40, amount_total=0))
    first = bridge("backfill", "stripe", "--since", "7d")
    assert first.exit_code == 0, first.output
    summary = "7 found: 5 new (5 sales, 0 leads), 0 duplicate, 1 pending, 1 ignored, 0 parked"
    assert first.stdout.splitlines()[-1] == summary
    assert count(ledger, "deliveries") == 5
    second = bridge("backfill", "stripe", "--since", "7d")
    assert second.stdout.splitlines()[-1].startswith("7 found: 0 new (0 sales, 0 leads), 7 duplicate,")
    assert "interrupted" not in second.stderr
    assert count(ledger, "deliveries") == 5


@sqlite_alone
def test_backfill_reads_every_page_and_learns_from_the_oldest_first(
    fetch: Callable[..., Backfill], ledger: Ledger, stripe: FakeStripe
) -> None:
    stripe.lists["/v1/events"] = [bought(n, 3 * DAY - n) for n in range(250)]
    run = fetch(most_events=60)
    list(run.run())
    assert (run.tally.found, run.tally.sales) == (250, 250)
    with ledger.read() as tx:
        ids = tx.run("SELECT event_id FROM events ORDER BY id").scalars().all()
    assert ids == [f"evt_{n}" for n in range(250)]


@sqlite_alone
def test_backfill_ends_at_until(bridge: Callable[..., Result], stripe: FakeStripe) -> None:
    stripe.lists["/v1/events"] = [bought(1, 2 * DAY), bought(2, 60)]
    result = bridge("backfill", "stripe", "--since", "3d", "--until", "1d")
    assert result.stdout.startswith("1 found: 1 new ")


def test_interrupted_backfill_goes_on_where_it_ended(
    bridge: Callable[..., Result], ledger: Ledger, stripe: FakeStripe
) -> None:
    stripe.lists["/v1/events"] = [bought(1, 6 * DAY - 7200), bought(2, 60)]
    stripe.broken_after = 5
    first = bridge("backfill", "stripe", "--since", "6d")
    assert first.exit_code == 1
    assert "out of order" in first.stderr
    done = [int(params["created"]["lte"]) for _, _, params in stripe.requests[:5]]
    stripe.broken_after = None
    stripe.requests.clear()
    second = bridge("backfill", "stripe", "--since", "6d")
    assert second.exit_code == 0
    assert "An earlier run was interrupted: going on from " in second.stderr
    assert int(stripe.requests[0][2]["created"]["gte"]) == done[-1] + 1
    assert count(ledger, "deliveries") == 2


@sqlite_alone
def test_backfill_waits_where_stripe_asks_for_patience(
    make_settings: Callable[..., Settings], ledger: Ledger, stripe: FakeStripe
) -> None:
    paused: list[float] = []
    stripe.lists["/v1/events"], stripe.limited = [bought(1, 60)], 2
    api = StripeApi(KEY, stripe.url, retries=0, sleep=paused.append)
    run = Backfill(api, ledger, STRIPE, make_policy(make_settings()), since=NOW - 3600)
    list(run.run())
    assert (run.tally.sales, paused) == (1, [1.0, 2.0])


@sqlite_alone
def test_an_event_that_cannot_be_read_is_named_and_stops_no_other(
    bridge: Callable[..., Result], ledger: Ledger, stripe: FakeStripe
) -> None:
    stripe.lists["/v1/events"] = [{**bought(1, 60), "id": "evt_\x00x"}, bought(2, 50)]
    result = bridge("backfill", "stripe", "--since", "1h")
    assert result.exit_code == 1
    assert "2 found: 1 new " in result.stdout
    assert "1 could not be recorded" in result.stderr
    assert count(ledger, "deliveries") == 1


# the endpoint


@sqlite_alone
def test_sync_makes_the_endpoint_once_and_prints_its_secret_once(
    bridge: Callable[..., Result], stripe: FakeStripe
) -> None:
    other = endpoint("we_other", "https://else.example.com/hook", ["charge.succeeded"])
    stripe.lists["/v1/webhook_endpoints"].append(dict(other))
    first = bridge("stripe-endpoint", "sync", "--url", URL)
    assert first.exit_code == 0, first.output
    assert f"+ url {URL}" in first.stdout
    assert "STRIPE_WEBHOOK_SECRET" in first.stdout
    assert first.stdout.count("whsec_told_only_once") == 1
    made = stripe.lists["/v1/webhook_endpoints"][1]
    assert (made["url"], made["api_version"]) == (URL, API_VERSION)
    assert "invoice.paid" in made["enabled_events"]
    assert made["description"]
    assert made["metadata"]
    second = bridge("stripe-endpoint", "sync", "--url", URL)
    assert second.exit_code == 0
    assert "nothing to change" in second.stdout
    assert "whsec_" not in second.stdout
    assert len(stripe.changes) == 1
    assert stripe.lists["/v1/webhook_endpoints"][0] == other


@sqlite_alone
def test_sync_changes_only_the_events_that_differ_and_never_another_url(
    bridge: Callable[..., Result], stripe: FakeStripe, make_settings: Callable[..., Settings]
) -> None:
    expected = list(wanted_events(make_settings().rules))
    bridge("stripe-endpoint", "sync", "--url", "https://staging.example.com/webhooks/stripe")
    stripe.lists["/v1/webhook_endpoints"].append(endpoint("we_ours", URL, [*expected[1:], "charge.failed"]))
    before = json.dumps(stripe.lists["/v1/webhook_endpoints"][0])
    result = bridge("stripe-endpoint", "sync", "--url", URL)
    assert f"+ event {expected[0]}" in result.stdout
    assert "- event charge.failed" in result.stdout
    assert "SECRET" not in result.stdout
    assert set(stripe.lists["/v1/webhook_endpoints"][1]["enabled_events"]) == set(expected)
    assert json.dumps(stripe.lists["/v1/webhook_endpoints"][0]) == before


@sqlite_alone
def test_dry_run_shows_the_change_and_makes_none(bridge: Callable[..., Result], stripe: FakeStripe) -> None:
    result = bridge("stripe-endpoint", "sync", "--url", URL, "--dry-run")
    assert "+ event invoice.paid" in result.stdout
    assert "nothing was changed" in result.stdout
    assert stripe.changes == []
    assert stripe.lists["/v1/webhook_endpoints"] == []


@sqlite_alone
def test_a_disabled_endpoint_and_another_version_are_said_with_the_remedy(
    bridge: Callable[..., Result], stripe: FakeStripe, make_settings: Callable[..., Settings]
) -> None:
    expected = list(wanted_events(make_settings().rules))
    stripe.lists["/v1/webhook_endpoints"].append(
        endpoint("we_1", URL, expected, status="disabled", api_version="2020-08-27")
    )
    shown = bridge("stripe-endpoint", "show", "--url", URL)
    assert "* we_1  disabled  2020-08-27" in shown.stdout
    assert "--enable" in shown.stdout
    assert "its API version is 2020-08-27" in shown.stdout
    bridge("stripe-endpoint", "sync", "--url", URL, "--enable")
    assert stripe.lists["/v1/webhook_endpoints"][0]["status"] == "enabled"


# reconcile


def reconciled(bridge: Callable[..., Result]) -> tuple[int, dict[str, Any]]:
    result = bridge("reconcile", "stripe", "--since", "7d", "--json")
    return result.exit_code, json.loads(result.stdout)


def test_reconcile_names_what_is_missing_and_why(
    bridge: Callable[..., Result], ledger: Ledger, stripe: FakeStripe
) -> None:
    stripe.lists["/v1/events"] = [bought("sent", 7200), bought("due", 600), bought("free", 500, livemode=True)]
    assert bridge("backfill", "stripe", "--since", "1h").exit_code == 0
    settle(ledger, "dead", status=422, error="answered 422: no such click")
    stripe.lists["/v1/checkout/sessions"] = [session("due"), session("never"), session("open", status="open")]
    stripe.lists["/v1/checkout/sessions"].append(session("unpaid", payment_status="unpaid"))
    stripe.lists["/v1/invoices"] = [invoice("never"), invoice("zero", amount_paid=0), invoice("old", 20 * DAY)]
    status, found = reconciled(bridge)
    assert status == 1
    states = {each["id"]: each["state"] for each in found["missing"]}
    assert states == {"cs_due": "dead", "cs_never": "never_received", "in_never": "never_received"}
    due = next(each for each in found["missing"] if each["id"] == "cs_due")
    assert due["reason"] == "answered 422: no such click"
    assert due["amount"] == "19.99 USD"
    text = bridge("reconcile", "stripe", "--since", "7d")
    assert text.exit_code == 1
    assert re.search(r"in_never +\S+ +49.00 USD +never received +Stripe's event about it never came", text.stdout)
    assert "3 purchases (1 invoice, 2 sessions without one). Delivered: 0. Missing: 3." in text.stdout


@sqlite_alone
def test_reconcile_promises_no_event_that_stripe_no_longer_keeps(
    bridge: Callable[..., Result], stripe: FakeStripe
) -> None:
    stripe.lists["/v1/invoices"] = [invoice("young", 29 * DAY), invoice("old", 31 * DAY)]
    result = bridge("reconcile", "stripe", "--since", "40d", "--json")
    reasons = {each["id"]: each["reason"] for each in json.loads(result.stdout)["missing"]}
    assert "bridge backfill stripe" in reasons["in_young"]
    assert "bridge backfill stripe" not in reasons["in_old"]
    assert "30 days" in reasons["in_old"]


def test_reconcile_tells_why_an_event_made_no_sale(bridge: Callable[..., Result], stripe: FakeStripe) -> None:
    nobody: dict[str, Any] = {"customer_details": None, "metadata": {}}
    stripe.lists["/v1/events"] = [bought("who", 600, **nobody)]
    assert "1 parked" in bridge("backfill", "stripe", "--since", "1h").stdout
    stripe.lists["/v1/checkout/sessions"] = [session("who", **nobody)]
    _, found = reconciled(bridge)
    assert [each["state"] for each in found["missing"]] == ["parked"]
    assert "nobody is identified" in found["missing"][0]["reason"]


def test_reconcile_ends_with_0_where_all_is_delivered(
    bridge: Callable[..., Result], ledger: Ledger, stripe: FakeStripe
) -> None:
    stripe.lists["/v1/events"] = [bought(1, 600, invoice="in_1")]
    bridge("backfill", "stripe", "--since", "1h")
    settle(ledger, "delivered")
    stripe.lists["/v1/checkout/sessions"] = [session(1, invoice="in_1")]
    stripe.lists["/v1/invoices"] = [invoice(1)]
    status, found = reconciled(bridge)
    assert (status, found["paid"], found["delivered"], found["missing"]) == (0, 1, 1, [])


def intent(number: object, age_seconds: int = 3600, **fields: Any) -> dict[str, Any]:
    """A payment intent as Stripe lists it since basil: it names neither its session nor its invoice."""
    return {
        "id": f"pi_{number}",
        "object": "payment_intent",
        "status": "succeeded",
        "amount": 4900,
        "amount_received": 4900,
        "capture_method": "automatic",
        "currency": "usd",
        "latest_charge": f"ch_{number}",
        "receipt_email": f"p{number}@example.com",
        "created": NOW - age_seconds,
        "livemode": False,
        **fields,
    }


def succeeded(number: object, age_seconds: int, **fields: Any) -> dict[str, Any]:
    event = {"id": f"evt_pi_{number}", "object": "event", "type": "payment_intent.succeeded", "livemode": False}
    return {**event, "created": NOW - age_seconds, "data": {"object": intent(number, age_seconds, **fields)}}


def test_reconcile_compares_manual_captures_and_says_which_payments_it_leaves_out(
    bridge: Callable[..., Result], ledger: Ledger, stripe: FakeStripe
) -> None:
    manual: dict[str, Any] = {"capture_method": "manual"}
    stripe.lists["/v1/events"] = [succeeded("known", 600, **manual)]
    assert "1 sales" in bridge("backfill", "stripe", "--since", "1h").stdout
    settle(ledger, "delivered")
    stripe.lists["/v1/payment_intents"] = [
        intent("known", 600, **manual),
        intent("lost", **manual, amount_received=1250),
        intent("open", **manual, status="requires_capture", amount_received=0),
        intent("plain"),
    ]
    status, found = reconciled(bridge)
    assert status == 1
    assert [(each["id"], each["kind"], each["amount"]) for each in found["missing"]] == [
        ("pi_lost", "intent", "12.50 USD")
    ]
    assert (found["paid"], found["payment_intents"], found["delivered"]) == (2, 2, 1)
    assert any("other than manual captures were not compared" in note for note in found["notes"])
    assert any(note.startswith("charges were not compared") for note in found["notes"])
    assert "2 payment intents" in bridge("reconcile", "stripe", "--since", "7d").stdout


def test_reconcile_compares_every_payment_where_they_are_opted_in(
    bridge: Callable[..., Result], stripe: FakeStripe
) -> None:
    stripe.lists["/v1/checkout/sessions"] = [session("a", payment_intent="pi_a")]
    stripe.lists["/v1/invoices"] = [invoice("b"), invoice("c")]
    stripe.lists["/v1/invoice_payments"] = [
        {"id": "inpay_b", "invoice": "in_b", "payment": {"type": "payment_intent", "payment_intent": "pi_b"}}
    ]
    stripe.lists["/v1/payment_intents"] = [
        intent("a"),
        intent("b"),
        intent("c", payment_details={"order_reference": "in_1QbrdgFxqFTUHtyH8LsuNRt"}),
        intent("alone"),
    ]
    stripe.lists["/v1/charges"] = [
        {
            "id": "ch_old",
            "status": "succeeded",
            "captured": True,
            "amount": 700,
            "currency": "usd",
            "created": NOW - 60,
        },
        {
            "id": "ch_a",
            "status": "succeeded",
            "captured": True,
            "amount": 700,
            "payment_intent": "pi_a",
            "created": NOW - 60,
        },
    ]
    every = "checkout,invoice,payment_intent,charge"
    result = bridge("reconcile", "stripe", "--since", "7d", "--json", STRIPE_SALE_EVENTS=every)
    found = json.loads(result.stdout)
    assert sorted(each["id"] for each in found["missing"]) == ["ch_old", "cs_a", "in_b", "in_c", "pi_alone"]
    assert not [note for note in found["notes"] if "not compared" in note]


def test_reconcile_counts_a_payment_of_a_counted_session_once(
    bridge: Callable[..., Result], ledger: Ledger, stripe: FakeStripe
) -> None:
    stripe.lists["/v1/events"] = [bought(1, 600)]
    opted_in = {"STRIPE_SALE_EVENTS": "checkout,invoice,payment_intent"}
    bridge("backfill", "stripe", "--since", "1h", **opted_in)
    settle(ledger, "delivered")
    stripe.lists["/v1/checkout/sessions"] = [session(1)]
    stripe.lists["/v1/payment_intents"] = [intent(1)]
    found = json.loads(bridge("reconcile", "stripe", "--since", "7d", "--json", **opted_in).stdout)
    assert (found["paid"], found["delivered"], found["missing"]) == (1, 1, [])


def test_reconcile_says_that_it_may_not_read_payment_intents(bridge: Callable[..., Result], stripe: FakeStripe) -> None:
    stripe.forbidden.add("/v1/payment_intents")
    result = bridge("reconcile", "stripe", "--since", "7d")
    assert result.exit_code == 0
    assert "payment intents were not compared" in result.stdout
    assert "PaymentIntents: Read" in result.stdout


def test_reconcile_tells_why_a_capture_made_no_sale(bridge: Callable[..., Result], stripe: FakeStripe) -> None:
    manual: dict[str, Any] = {"capture_method": "manual", "receipt_email": None}
    stripe.lists["/v1/events"] = [succeeded("who", 600, **manual)]
    bridge("backfill", "stripe", "--since", "1h")
    stripe.lists["/v1/payment_intents"] = [intent("who", **manual)]
    _, found = reconciled(bridge)
    assert [(each["state"], each["id"]) for each in found["missing"]] == [("parked", "pi_who")]


# errors


@sqlite_alone
@pytest.mark.parametrize(
    "command",
    [
        ("backfill", "stripe", "--since", "1h"),
        ("reconcile", "stripe", "--since", "1h"),
        ("stripe-endpoint", "sync", "--url", URL),
    ],
)
def test_a_refused_key_is_said_in_one_line_without_the_key(
    bridge: Callable[..., Result], command: tuple[str, ...]
) -> None:
    result = bridge(*command, STRIPE_API_KEY="sk_test_wrong_key")
    assert result.exit_code == 1
    assert "Stripe refuses STRIPE_API_KEY (401)" in result.stderr
    assert "sk_test_wrong" not in result.output
    assert "Traceback" not in result.output


@sqlite_alone
def test_without_a_key_the_remedy_is_said(bridge: Callable[..., Result]) -> None:
    result = bridge("backfill", "stripe", "--since", "1h", STRIPE_API_KEY="")
    assert result.exit_code == 1
    assert "set STRIPE_API_KEY" in result.stderr


# doctor


@sqlite_alone
def test_doctor_says_whether_stripe_is_set_up(bridge: Callable[..., Result], stripe: FakeStripe) -> None:
    base = URL.removesuffix("/webhooks/stripe")
    result = bridge("doctor", PUBLIC_URL=base)
    assert f"Stripe has no webhook endpoint for {URL}" in result.stdout
    bridge("stripe-endpoint", "sync", PUBLIC_URL=base)
    stripe.lists["/v1/events"] = [{**bought(1, DAY), "_undelivered": True}]
    result = bridge("doctor", PUBLIC_URL=base)
    assert "Stripe's webhook endpoint we_1 is enabled" in result.stdout
    assert "1 event of the last 3 days did not reach an endpoint of the account and is not here" in result.stdout
    bridge("backfill", "stripe", "--since", "2d")
    assert "no undelivered event of the last 3 days" in bridge("doctor", PUBLIC_URL=base).stdout


# looking people up


def test_a_worker_looks_up_who_a_held_sale_is_about_and_asks_once(
    make_settings: Callable[..., Settings], ledger: Ledger, stripe: FakeStripe
) -> None:
    policy = make_policy(make_settings(STRIPE_HOLD="600"))
    held = invoice(1, parent={"subscription_details": {"subscription": "sub_1", "metadata": {}}})
    held["billing_reason"] = "subscription_create"
    stripe.lists["/v1/events"] = [{**bought(1, 60), "type": "invoice.paid", "data": {"object": held}}]
    api = StripeApi(KEY, stripe.url, retries=0)
    list(Backfill(api, ledger, STRIPE, policy, since=NOW - 3600).run())
    assert one(ledger, "SELECT held FROM deliveries")[0] == 1
    stripe.objects["/v1/subscriptions/sub_1"] = {
        "id": "sub_1",
        "object": "subscription",
        "metadata": {"clickId": "clk_old"},
        "customer": {"id": "cus_1", "object": "customer", "metadata": {"user_id": "user_old"}},
    }
    stripe.requests.clear()
    lookups = Lookups(api, ledger, STRIPE, policy)
    assert (lookups.look(), lookups.look()) == (1, 0)
    assert [path for _, path, _ in stripe.requests] == ["/v1/subscriptions/sub_1"]
    assert settle(ledger, "delivered")
    payload = json.loads(one(ledger, "SELECT payload FROM deliveries")[0])
    assert "clk_old" in json.dumps(payload)
    assert "user_old" in json.dumps(payload)
