"""Sources of one's own: what a table of bridge.toml can say, and how it is reported that it is wrong."""

import json
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from app.errors import ConfigurationError, SignatureError
from app.intake.dry_run import explain
from app.model import Inbound, Rules
from app.sources.custom import build

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
SHOP = """
[sources.shop]
kind = "sale"
title = "Our shop"

[sources.shop.signature]
header = "X-Shop-Signature"
prefix = "sha256="
template = "{t}.{body}"
timestamp_header = "X-Shop-Timestamp"

[sources.shop.events]
path = "type"
allow = ["order.paid"]

[sources.shop.fields]
order_id = "order.number"
invoice_id = ["invoice", "order.invoice_no"]
amount = "=order.total || order.sum"
currency = "order.currency"
email = ["buyer_email", "=order.customer.emails[?primary].address | [0]"]
name = "=join(' ', [order.customer.given, order.customer.family][?@])"
occurred_at = "order.paid_at"
occurred_at_zone = "Europe/Berlin"
"""
ORDER: dict[str, Any] = {
    "type": "order.paid",
    "order": {
        "number": 1001,
        "invoice_no": "R-77",
        "total": "199.90",
        "currency": "eur",
        "paid_at": "2026-03-02 08:15:30",
        "customer": {
            "given": "Ida",
            "family": "Kern",
            "emails": [{"address": "old@kern.example"}, {"primary": True, "address": "ida@kern.example"}],
            "userId": "u_7",
        },
        "meta": {"clickId": "clk_shop_1"},
    },
}


def table_of(text: str) -> dict[str, Any]:
    table = tomllib.loads(text)["sources"]["shop"]
    assert isinstance(table, dict)
    return table


def line_of(text: str, body: Any, content_type: str = "application/json") -> dict[str, Any]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return explain(build("shop", table_of(text)), Inbound(raw, {"content-type": content_type}), Rules(), NOW)


def test_sale_is_mapped_by_aliases_paths_and_expressions() -> None:
    line = line_of(SHOP, ORDER)
    assert line["outcome"] == "sale", line["reason"]
    assert line["dedupe_keys"] == ["sale:shop:R-77", "sale:shop:1001"]
    assert line["payload"] == {
        "event": "sale",
        "timestamp": "2026-03-02T07:15:30.000Z",
        "clickId": "clk_shop_1",
        "customerExternalId": "u_7",
        "email": "ida@kern.example",
        "name": "Ida Kern",
        "currency": "EUR",
        "amount": 199.9,
        "invoiceId": "R-77",
        "orderId": "1001",
    }


def test_documented_example_works_as_it_stands() -> None:
    page = (Path(__file__).parents[2] / "docs" / "sources.md").read_text()
    text = page.split("<!-- example: bridge.toml -->")[1].split("```toml\n")[1].split("```")[0]
    body = page.split("<!-- example: body -->")[1].split("```json\n")[1].split("```")[0]
    for name, table in tomllib.loads(text)["sources"].items():
        line = explain(build(name, table), Inbound(body.encode(), {}), Rules(), NOW)
        assert line["outcome"] == "sale", line["reason"]
        assert line["payload"]["amount"] == 149.5
        assert line["payload"]["customerExternalId"]


@pytest.mark.parametrize(
    ("changed", "outcome", "said"),
    [
        ({"type": "order.created"}, "ignored", "order.created is not among"),
        ({"type": None}, "parked", "events.path"),
        ({"order": {**ORDER["order"], "currency": "euros"}}, "parked", "currency"),
        ({"order": {**ORDER["order"], "total": "a lot"}}, "parked", "amount"),
        ({"order": {**ORDER["order"], "total": None}}, "parked", "amount"),
        ({"order": {**ORDER["order"], "total": "199.999"}}, "parked", "decimals"),
        ({"order": {**ORDER["order"], "total": 0}}, "ignored", "no money"),
        ({"order": {**ORDER["order"], "total": -5}}, "ignored", "no money"),
        ({"order": {**ORDER["order"], "number": None, "invoice_no": None}}, "parked", "order_id"),
    ],
)
def test_sale_that_lacks_something_says_what(changed: dict[str, Any], outcome: str, said: str) -> None:
    line = line_of(SHOP, {**ORDER, **changed})
    assert (line["outcome"], line["payload"]) == (outcome, None)
    assert said in line["reason"]


def test_sale_for_nobody_is_parked() -> None:
    order = {**ORDER["order"], "customer": {}, "meta": {}}
    assert line_of(SHOP, {**ORDER, "order": order})["outcome"] == "parked"


@pytest.mark.parametrize(
    ("unit", "amount", "currency", "sent"),
    [
        ("minor", 19990, "eur", 199.9),
        ("minor", "19990", "eur", 199.9),
        ("minor", 500.0, "jpy", 500),
        ("major", 500, "jpy", 500),
        ("major", 0.1, "eur", 0.1),
        ("minor", 10.5, "eur", None),
        ("minor", True, "eur", None),
        ("major", [5, 6], "eur", 5),
        ("major", {"a": 1}, "eur", None),
        ("iso", 500, "isk", 500),
        ("iso", 5000, "ugx", 5000),
        ("iso", "19990", "eur", 199.9),
        ("iso", 12345, "kwd", 12.345),
        ("iso", 12345, "iqd", 12.345),
        ("iso", 50020, "mga", None),
        ("iso", 10.5, "eur", None),
    ],
)
def test_units_of_amounts(unit: str, amount: Any, currency: str, sent: float | None) -> None:
    fields = f'order_id = "id"\namount = "=sum"\namount_unit = "{unit}"\ncurrency = "cur"'
    text = f'[sources.shop]\nkind = "sale"\n[sources.shop.fields]\n{fields}'
    line = line_of(text, {"id": "o1", "sum": amount, "cur": currency, "email": "a@b.example"})
    assert (line["payload"] or {}).get("amount") == sent


@pytest.mark.parametrize(("tax", "sent"), [("1.90", 8.1), ("10.00", 10), ("20.00", 10), ("-1.00", 10), ("none", 10)])
def test_a_tax_that_is_not_a_part_of_the_amount_is_not_taken_off(tax: str, sent: float) -> None:
    table = {"kind": "sale", "currency": "EUR", "fields": {"order_id": "id", "amount": "total", "tax": "tax"}}
    body = json.dumps({"id": "o1", "total": "10.00", "tax": tax, "email": "a@b.example"}).encode()
    line = explain(build("shop", table), Inbound(body, {}), Rules(net_of_tax=True), NOW)
    assert (line["outcome"], line["payload"]["amount"]) == ("sale", sent)


def test_lead_without_any_fields_reads_what_every_form_is_read_for() -> None:
    line = line_of(
        '[sources.shop]\nsignature = "none"',
        b"Full+name=Ola+Nord&E-mail=ola%40nord.example&Phone=%2B4722334455&Click+ID=clk_own",
        "application/x-www-form-urlencoded",
    )
    assert line["outcome"] == "lead"
    assert line["dedupe_keys"][0].startswith("lead:shop:sha256-")
    expected = {"email": "ola@nord.example", "name": "Ola Nord", "phone": "+4722334455", "clickId": "clk_own"}
    assert expected.items() <= line["payload"].items()


def test_lead_fields_are_matched_without_case_on_id_key_and_label() -> None:
    text = """
[sources.shop]
event_name = "trial_started"
[sources.shop.fields]
submission_id = "meta.ID"
email = ["Reply Address"]
click_id = "campaign"
form = "title"
occurred_at = "sent"
occurred_at_unit = "ms"
"""
    body = {
        "title": "Trial",
        "meta": {"id": 77},
        "sent": "1772439330250",
        "answers": [
            {"id": "a", "label": "reply address", "value": "Re@ply.example"},
            {"id": "CAMPAIGN", "value": "clk_8"},
        ],
    }
    line = line_of(text, body)
    assert line["dedupe_keys"] == ["lead:shop:77"]
    assert line["payload"]["timestamp"] == "2026-03-02T08:15:30.250Z"
    assert (line["payload"]["email"], line["payload"]["clickId"]) == ("Re@ply.example", "clk_8")
    assert line["payload"]["metadata"] == {"source": "shop", "form": "Trial"}
    assert line_of(text, {**body, "meta": {}})["outcome"] == "parked"


def test_expression_that_finds_a_container_or_fails_finds_nothing() -> None:
    for expression in ("=answers", "=length(@)", "=join(',', numbers)", "=sum(words)", "=max_by(words, &x)"):
        text = f'[sources.shop.fields]\nemail = "{expression}"\ncustomer_id = "id"'
        line = line_of(text, {"id": "u1", "answers": {"x": 1}, "numbers": [1, 2], "words": ["a"]})
        assert line["outcome"] == "lead"
        assert "email" not in line["payload"]


@pytest.mark.parametrize("nobody", [0, "0", "guest", "-1", "{{customer.id}}", "null", ""])
def test_guests_of_a_shop_are_not_one_customer(nobody: Any) -> None:
    text = SHOP + 'customer_id = "=order.customer.userId"\nclick_id = "=click"\n'
    order = {**ORDER["order"], "customer": {**ORDER["order"]["customer"], "userId": nobody}}
    payload = line_of(text, {**ORDER, "order": order, "click": nobody})["payload"]
    assert payload["customerExternalId"] == "ida@kern.example"
    assert "clickId" not in payload


def test_signature_of_ones_own_is_checked() -> None:
    shop = build("shop", table_of(SHOP))
    body = json.dumps(ORDER).encode()
    headers = {k.lower(): v for k, v in shop.sign(body, "secret-of-the-shop", NOW).items()}
    shop.verify(Inbound(body, headers), ["secret-of-the-shop"], NOW)
    for inbound, now in (
        (Inbound(body + b" ", headers), NOW),
        (Inbound(body, {}), NOW),
        (Inbound(body, headers), NOW + timedelta(minutes=6)),
        (Inbound(body, headers), NOW - timedelta(minutes=6)),
    ):
        with pytest.raises(SignatureError):
            shop.verify(inbound, ["secret-of-the-shop"], now)


def test_unsigned_source_says_so() -> None:
    assert not build("shop", {"signature": "none"}).signed
    assert not build("shop", {}).signed


SALE = {"kind": "sale", "fields": {"order_id": "id", "amount": "sum", "currency": "cur"}}


@pytest.mark.parametrize(
    ("table", "names"),
    [
        ({"knd": "sale"}, "sources.shop.knd"),
        ({"kind": "order"}, "sources.shop.kind"),
        ({"kind": "sale"}, "sources.shop.fields.amount"),
        ({"kind": "sale", "fields": {"amount": "a"}}, "sources.shop.fields.currency"),
        ({"kind": "sale", "currency": "EUR", "fields": {"amount": "a"}}, "sources.shop.fields.order_id"),
        ({**SALE, "currency": "euro"}, "sources.shop.currency"),
        ({"fields": {"amount": "a"}}, "sources.shop.fields.amount"),
        ({"fields": {"email": "=a[?b=="}}, "sources.shop.fields.email"),
        ({"fields": {"email": "=nosuch(a"}}, "sources.shop.fields.email"),
        ({"fields": {"email": "=" + "a." * 300 + "b"}}, "sources.shop.fields.email"),
        ({"fields": {"email": "=" + "[" * 499}}, "sources.shop.fields.email"),
        ({"fields": {"email": "="}}, "sources.shop.fields.email"),
        ({"fields": {"email": []}}, "sources.shop.fields.email"),
        ({"fields": {"email": ["a", 5]}}, "sources.shop.fields.email"),
        ({"fields": {"email": ""}}, "sources.shop.fields.email"),
        ({"fields": "email"}, "sources.shop.fields"),
        ({"fields": {"occurred_at": "t", "occurred_at_unit": "h"}}, "sources.shop.fields.occurred_at_unit"),
        ({"fields": {"occurred_at": "t", "occurred_at_zone": "Mars/Base"}}, "sources.shop.fields.occurred_at_zone"),
        (
            {"fields": {"occurred_at": "t", "occurred_at_zone": "../../etc/passwd"}},
            "sources.shop.fields.occurred_at_zone",
        ),
        ({"events": {"path": "type"}}, "sources.shop.events.allow"),
        ({"events": {"allow": ["a"]}}, "sources.shop.events.path"),
        ({"events": {"path": "=(", "allow": ["a"]}}, "sources.shop.events.path"),
        ({"signature": "hmac"}, "sources.shop.signature"),
        ({"signature": {}}, "sources.shop.signature.header"),
        ({"signature": {"header": "X", "encoding": "b64"}}, "sources.shop.signature.encoding"),
        ({"signature": {"header": "X", "digest": "md5"}}, "sources.shop.signature.digest"),
        ({"signature": {"header": "X", "template": "nothing"}}, "sources.shop.signature.template"),
        ({"signature": {"header": "X", "template": "{body.__class__}"}}, "sources.shop.signature.template"),
        ({"signature": {"header": "X", "template": "{t}.{body}"}}, "sources.shop.signature.template"),
        ({"signature": {"header": "X", "template": "{id}.{body}"}}, "sources.shop.signature.template"),
        ({"signature": {"header": "X", "timestamp_header": "T"}}, "sources.shop.signature.template"),
        ({"signature": {"header": "X", "pairs": ["t"]}}, "sources.shop.signature.pairs"),
        ({"signature": {"header": "X", "tolerance_seconds": "5"}}, "sources.shop.signature.tolerance_seconds"),
        ({"fields": {"email": "=nosuch(a)"}}, "sources.shop.fields.email"),
        ({"fields": {"email": "=a || [b, length(a, b)] | [0]"}}, "sources.shop.fields.email"),
        ({"fields": {"email": "=join(a)"}}, "sources.shop.fields.email"),
        ({"fields": {"email": "=" + "!" * 490 + "a"}}, "sources.shop.fields.email"),
        ({"fields": {"amount_unit": "minor"}}, "sources.shop.fields.amount_unit"),
        ({"fields": {"occurred_at_zone": "UTC"}}, "sources.shop.fields.occurred_at_zone"),
        ({"currency": "EUR"}, "sources.shop.currency"),
        ({"signature": {"header": "X: Y"}}, "sources.shop.signature.header"),
        ({"signature": {"header": "X", "prefix": "a=", "versions": True}}, "sources.shop.signature.versions"),
        ({"signature": {"header": "X", "secret": "no"}}, "sources.shop.signature.secret"),
    ],
)
def test_error_names_the_key(table: dict[str, Any], names: str) -> None:
    with pytest.raises(ConfigurationError) as report:
        build("shop", table)
    assert str(report.value).startswith(f"{names}: ")


@pytest.mark.parametrize("name", ["Shop", "a/b", "", "shop 2", "shöp", "1shop", "_shop", "a" * 41])
def test_name_must_fit_a_url_and_a_variable(name: str) -> None:
    with pytest.raises(ConfigurationError):
        build(name, {})


# --- what default names could mean, test events, JSON inside a field ---

BOUGHT = {"number": "A1", "total": "5.00", "email": "ada@example.com"}


def own(**options: Any) -> Any:
    fields = {"order_id": "number", "amount": "total", **options.pop("fields", {})}
    return build("shop", {"kind": "sale", "currency": "EUR", "fields": fields, **options})


def map_own(source: Any, body: Any, rules: Rules | None = None) -> dict[str, Any]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    kind = "application/x-www-form-urlencoded" if isinstance(body, bytes) else "application/json"
    return explain(source, Inbound(raw, {"content-type": kind}), rules or Rules(), NOW)


@pytest.mark.parametrize("wrapper", ["order", "Order", "checkout"])
def test_user_id_of_a_wrapped_order_is_not_the_buyer(wrapper: str) -> None:
    line = map_own(own(), {**BOUGHT, wrapper: {"user_id": 799407056}})
    assert line["payload"]["customerExternalId"] == "ada@example.com"
    line = map_own(own(), {**BOUGHT, wrapper: {"customer": {"user_id": "u_1"}}})
    assert line["payload"]["customerExternalId"] == "u_1"


@pytest.mark.parametrize("name", ["user_id", "userId", "User ID", "USER-ID"])
def test_user_id_at_the_top_of_an_order_is_not_the_buyer(name: str) -> None:
    line = map_own(own(), {**BOUGHT, name: 799407056, "customer": {"user_id": None}})
    assert line["payload"]["customerExternalId"] == "ada@example.com"
    line = map_own(own(), {**BOUGHT, name: 799407056, "metadata": {"user_id": "u_1"}})
    assert line["payload"]["customerExternalId"] == "u_1"
    line = map_own(own(), {**BOUGHT, name: 799407056, "note_attributes": [{"name": "user_id", "value": "u_1"}]})
    assert line["payload"]["customerExternalId"] == "u_1"
    line = map_own(own(fields={"customer_id": name}), {**BOUGHT, name: 799407056})
    assert line["payload"]["customerExternalId"] == "799407056"
    form = build("form", {"kind": "lead"})
    assert map_own(form, {"email": "ada@example.com", name: "u_1"})["payload"]["customerExternalId"] == "u_1"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("test", True), ("test", 1), ("test", "true"), ("test", "1"), ("mode", "test"), ("mode", "sandbox"), ("=test", True),
        ("=livemode == `false`", False), ("=mode != 'live'", "test"), (["test", "mode"], "TEST"), ("=event.environment", "SANDBOX"),
    ],
)  # fmt: skip
def test_a_test_event_of_an_own_source_is_ignored_unless_it_is_allowed(option: Any, value: Any) -> None:
    body = {**BOUGHT, "test": value, "mode": value, "livemode": value, "event": {"environment": value}}
    for source in (own(test=option), own(fields={"test": option})):
        line = map_own(source, body)
        assert (line["outcome"], line["payload"]) == ("ignored", None)
        assert "SHOP_ALLOW_TEST_EVENTS" in line["reason"]
        assert map_own(source, body, Rules(test_events={"shop": True}))["outcome"] == "sale"
        assert map_own(source, body, Rules(accept_test_events=True))["outcome"] == "sale"
        assert (
            map_own(source, body, Rules(accept_test_events=True, test_events={"shop": False}))["outcome"] == "ignored"
        )
        assert map_own(source, body, Rules(test_events={"stripe": True}))["outcome"] == "ignored"


@pytest.mark.parametrize("value", [False, None, 0, "false", "0", "", "live", "prod", "production", "no", {}, []])
def test_an_event_that_is_not_marked_as_a_test_counts(value: Any) -> None:
    assert map_own(own(test=["test", "mode"]), {**BOUGHT, "test": value, "mode": value})["outcome"] == "sale"
    assert map_own(own(test="test"), BOUGHT)["outcome"] == "sale"


def test_a_test_lead_is_ignored_as_well() -> None:
    form = build("form", {"kind": "lead", "test": "is_test"})
    assert map_own(form, {"email": "ada@example.com", "is_test": True})["outcome"] == "ignored"
    assert map_own(form, {"email": "ada@example.com", "is_test": False})["outcome"] == "lead"


def test_test_said_twice_is_a_mistake() -> None:
    with pytest.raises(ConfigurationError, match=r"sources\.shop\.fields\.test"):
        own(test="test", fields={"test": "mode"})


def test_json_inside_a_form_field_is_read() -> None:
    answers = {"email": ["ada@example.com"], "first_name": ["Ada"], "last_name": ["Example"], "clickid": ["clk_1"]}
    body = urlencode({"page_name": "Offer", "data.json": json.dumps(answers)}).encode()
    payload = map_own(build("form", {"kind": "lead"}), body)["payload"]
    assert (payload["email"], payload["name"], payload["clickId"]) == ("ada@example.com", "Ada Example", "clk_1")
    fields = {"email": '="data.json".email', "click_id": "data.json.clickid", "name": "first_name"}
    payload = map_own(build("form", {"kind": "lead", "fields": fields}), body)["payload"]
    assert (payload["email"], payload["name"], payload["clickId"]) == ("ada@example.com", "Ada", "clk_1")


@pytest.mark.parametrize(
    "text", ["{not JSON", "[", "{}", "[]", "{" * 5000, '{"a":' * 3000, "[" + "1," * 200_000 + "1]"]
)
def test_text_that_only_looks_like_json_stays_text(text: str) -> None:
    body = urlencode({"email": "ada@example.com", "message": text}).encode()
    assert map_own(build("form", {"kind": "lead"}), body)["outcome"] == "lead"


def test_woocommerce_s_ping_is_known_where_its_signature_would_be() -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    ping = Inbound(b"webhook_id=12", form)
    signed_by = {"woo": "X-WC-Webhook-Signature", "lower": "x-wc-webhook-signature", "other": "X-Shop-Signature"}
    sources = {name: build(name, {"signature": {"header": header}}) for name, header in signed_by.items()}
    assert sources["woo"].setup_request(ping)
    assert sources["lower"].setup_request(ping)
    assert sources["other"].setup_request(ping) is None
    assert build("token", {}).setup_request(ping)
    for body in (
        b"webhook_id=",
        b"webhook_id=12&x=1",
        b"webhook_id=x",
        b"webhook_id=12\n",
        b"",
        b"webhook_id=" + b"1" * 99,
    ):
        assert sources["woo"].setup_request(Inbound(body, form)) is None
    assert sources["woo"].setup_request(Inbound(b"webhook_id=12", {})) is None
    assert sources["woo"].setup_request(Inbound(b"webhook_id=12", {**form, "x-wc-webhook-signature": "x"})) is None


# --- several kinds of events, refunds, ids of the person, headers ---

BILLING = """
[sources.billing]
kind = "sale"
[sources.billing.signature]
static = "bearer"
[sources.billing.events]
header = "X-Topic"
sales = ["payment.collected"]
leads = ["trial.started"]
refunds = ["payment.refunded"]
teach = ["customer.created"]
[sources.billing.fields]
submission_id = "subscription"
order_id = "payment.id"
aliases = ["payment.order", "=payment.receipts[].id"]
amount = "payment.cents"
amount_unit = "cents"
currency = "payment.currency"
refund_id = "refund.id"
refund_amount = "refund.cents"
person_ids = ["customer.id", "subscription"]
email = "customer.email"
"""


def billing(topic: str, **body: Any) -> Any:
    source = build("billing", tomllib.loads(BILLING)["sources"]["billing"])
    raw = {"customer": {"id": "c_1"}, "subscription": "s_1", **body}
    return source.map(
        Inbound(json.dumps(raw).encode(), {"x-topic": topic, "content-type": "application/json"}), Rules()
    )


PAID = {"id": "p_1", "order": "o_1", "receipts": [{"id": "r_1"}, {"id": "r_2"}], "cents": 4900, "currency": "EUR"}


def test_one_source_sends_sales_leads_refunds_and_what_is_only_kept() -> None:
    sale = billing("payment.collected", payment=PAID)
    assert (sale.outcome, sale.sale.money.minor, sale.sale.event_name) == ("sale", 4900, "order_paid")
    assert sale.keys == ("p_1", "s_1", "o_1", "r_1", "r_2")
    assert sale.who.aliases == ("billing:c_1", "billing:s_1")
    lead = billing("trial.started")
    assert (lead.outcome, lead.keys, lead.lead.event_name) == ("lead", ("s_1",), "form_submitted")
    known = billing(
        "customer.created", customer={"id": "c_1", "email": "ada@example.com"}, metadata={"clickId": "clk_1"}
    )
    assert (known.outcome, known.carries_identity, known.who.email, known.who.click_id) == (
        "ignored",
        True,
        "ada@example.com",
        "clk_1",
    )
    refund = billing("payment.refunded", payment=PAID, refund={"id": "re_1", "cents": -1000})
    assert (refund.outcome, refund.mark.reference, refund.mark.money.minor) == ("ignored", "re_1", 1000)
    assert billing("something.else").outcome == "ignored"
    assert billing("").outcome == "parked"


def test_a_secret_may_stand_in_a_header() -> None:
    source = build("billing", tomllib.loads(BILLING)["sources"]["billing"])
    source.verify(Inbound(b"{}", {"authorization": "Bearer a-secret"}), ["other", "a-secret"], NOW)
    for header in ("a-secret", "Bearer other-secret", "Bearer ", "Basic a-secret", "Bearer \u00e9"):
        with pytest.raises(SignatureError):
            source.verify(Inbound(b"{}", {"authorization": header}), ["a-secret"], NOW)
    with pytest.raises(SignatureError):
        source.verify(Inbound(b"{}", {}), ["a-secret"], NOW)
    whole = build("own", {"signature": {"header": "X-Token", "static": "whole"}})
    whole.verify(Inbound(b"{}", {"x-token": "a-secret"}), ["a-secret"], NOW)


def test_a_field_may_be_in_a_header() -> None:
    source = build("own", {"fields": {"submission_id": ["header:X-Submission-Id", "id"]}})
    body = json.dumps({"email": "ada@example.com", "id": "2"}).encode()
    assert source.map(Inbound(body, {"x-submission-id": "1"}), Rules()).keys == ("1",)
    assert source.map(Inbound(body, {}), Rules()).keys == ("2",)


def test_the_separator_of_pairs_is_configuration() -> None:
    options = {"header": "X-Sig", "pairs": ["ts", "h1"], "separator": ";", "template": "{t}:{body}"}
    source = build("own", {"signature": options})
    signed = source.sign(b"{}", "a-secret", NOW)
    assert ";h1=" in signed["X-Sig"]
    source.verify(Inbound(b"{}", {"x-sig": signed["X-Sig"]}), ["a-secret"], NOW)


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ({"path": "type", "allow": ["a"], "leads": ["a"]}, r"events\.leads: a is in two lists"),
        ({"path": "type", "teach": ["a"]}, r"events\.allow: must be a list"),
        ({"allow": ["a"]}, r"events\.path: must say where"),
        ({"path": "type", "header": "X-Topic", "allow": ["a"]}, r"events\.path: must say where"),
        ({"header": "X Topic", "allow": ["a"]}, r"events\.header: must be a header's name alone"),
        ({"path": "type", "sales": "a"}, r"events\.sales: must be a list"),
        ({"path": "type", "sales": ["a"]}, r"fields\.amount: a sale needs it"),
    ],
)
def test_lists_of_events_are_checked(events: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        build("own", {"events": events})


def test_a_lead_without_its_id_may_be_known_by_its_bytes() -> None:
    body = json.dumps({"email": "ada@example.com", "page": "https://x.example/?clickId=clk_page"}).encode()
    fields = {"submission_id": "id", "page": "page"}
    parking, by_bytes = (build("own", {"fields": fields, **options}) for options in ({}, {"without_id": "bytes"}))
    assert parking.map(Inbound(body, {}), Rules()).outcome == "parked"
    mapped = by_bytes.map(Inbound(body, {}), Rules())
    assert (mapped.outcome, mapped.who.click_id, mapped.keys[0][:7]) == ("lead", "clk_page", "sha256-")
