"""Templates: requests that bridge.toml describes with expressions over the facts of a conversion."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import to_json

from app.clicks import Seen
from app.config.settings import Settings
from app.destinations.formats.base import Format, HttpRequest, Options, Sent
from app.destinations.formats.registry import format_of
from app.destinations.http import Answer
from app.destinations.target import destinations_of
from app.errors import ConfigurationError
from app.model import Facts, Lead, Refund, Sale
from app.money import Money
from tests.support.formats import SALE as PLAIN

NOW = datetime(2026, 4, 10, 13, tzinfo=UTC)
SALE = replace(PLAIN, email=" Ada@Example.com ", phone="+49 170 1234567", clicks={})
BARE = replace(SALE, click_id=None, email=None, name=None, phone=None, sale=Sale("in_1", Money(500, "JPY")))
LEAD = replace(SALE, kind="lead", sale=None, lead=Lead("tok_1", metadata={"form": "Demo"}), key="lead:typeform:tok_1")


def template(**tables: Any) -> Format:
    return format_of("template", Options(template=tables, secrets=("token", "pass")))


def value(expression: str, facts: Facts = SALE) -> Any:
    """What an expression puts into a body; ... where the field is left out."""
    made = template(**{facts.kind: {"path": "/x", "body": {"field": expression, "other": 1}}})
    return made.body(facts).fields.get("field", ...)


@pytest.mark.parametrize(
    ("expression", "full", "bare"),
    [
        ("'Purchase'", "Purchase", "Purchase"),
        ("customer_id", "user_1", "user_1"),
        ("key", "sale:stripe:in_1", "sale:stripe:in_1"),
        ("at", "2026-04-10T12:45:10.250Z", "2026-04-10T12:45:10.250Z"),
        ("click.id", "clk_1", ...),
        ("sha256(lower(trim(email)))", "b5fc85e55755f9e0d030a10ab4429b6b2944855f9a0d60077fe832becbc41d72", ...),
        (
            "sha256('a', 'base64')",
            "ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs=",
            "ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs=",
        ),
        ("digits(phone)", "491701234567", ...),
        ("unix(at)", 1775825110, 1775825110),
        ("unix(at, 'ms')", 1775825110250, 1775825110250),
        ("unix(at, 'us')", 1775825110250000, 1775825110250000),
        ("whole(sale.amount)", 19900, 500),
        ("whole(sale.amount, `2`)", 19900, 50000),
        ("decimal(sale.amount)", "199.00", "500"),
        ("sale.amount", 199, 500),
        ("sale.products[].id", ["prod_1", "prod_2"], ...),
        ("sale.products[0].id", "prod_1", ...),
        ("join(' ', [name, phone])", "Ada Lovelace +49 170 1234567", ...),
        ("starts_with(phone, '+') && digits(phone) || omit()", "491701234567", ...),
        ("omit(sale.currency, 'USD')", ..., "JPY"),
        ("name || email || customer_id", "Ada Lovelace", "user_1"),
        ("cut(name, `3`)", "Ada", ...),
        ("cut(name, `-1`)", ..., ...),
        ("within(name, `3`)", ..., ...),
        ("url('a b/ü')", "a%20b%2F%C3%BC", "a%20b%2F%C3%BC"),
        ("gmail('A.Da@GoogleMail.com')", "ada@googlemail.com", "ada@googlemail.com"),
        ("escape('<&>')", "&lt;&amp;&gt;", "&lt;&amp;&gt;"),
        ('{"a": name, "$b": {c: email}}', {"a": "Ada Lovelace", "$b": {"c": " Ada@Example.com "}}, ...),
        ("{a: name, b: {c: email}}", {"a": "Ada Lovelace", "b": {"c": " Ada@Example.com "}}, ...),
        ("!(click.id) && 'organic' || omit()", ..., "organic"),
        ("kind == 'sale'", True, True),
    ],
)
def test_what_an_expression_is_of_a_full_and_of_a_bare_sale(expression: str, full: Any, bare: Any) -> None:
    assert (value(expression), value(expression, BARE)) == (full, bare)


def test_the_fbc_of_meta_is_made_of_fbclid_unless_it_is_known() -> None:
    seen = replace(SALE, clicks={"fbclid": Seen("IwAR1x", 1775800000123)})
    assert value("click", seen) == {"id": "clk_1", "fbclid": "IwAR1x", "fbc": "fb.1.1775800000123.IwAR1x"}
    cookie = replace(seen, clicks={**seen.clicks, "fbc": Seen("fb.1.5.x", 1)})
    assert value("click.fbc", cookie) == "fb.1.5.x"


def test_a_uuid_is_the_same_for_the_same_key_and_never_changes() -> None:
    assert value("uuid5(key)") == "6509f56b-d1ce-56a1-885e-0f587cee37f3"
    assert value("uuid5(key)", LEAD) != value("uuid5(key)")


def test_a_sale_without_a_body_of_its_own_is_sent_with_all_facts() -> None:
    made = template(sale={"path": "/sale"}, lead={"path": "/lead"})
    assert made.body(SALE).fields == {
        "kind": "sale",
        "key": "sale:stripe:in_1",
        "at": "2026-04-10T12:45:10.250Z",
        "source": "stripe",
        "customer_id": "user_1",
        "email": " Ada@Example.com ",
        "phone": "+49 170 1234567",
        "name": "Ada Lovelace",
        "click": {"id": "clk_1"},
        "sale": {
            "invoice_id": "in_1",
            "order_id": "cs_1",
            "amount": 199,
            "currency": "USD",
            "event": "order_paid",
            "products": [{"id": "prod_1"}, {"id": "prod_2"}],
        },
    }
    assert made.body(LEAD).fields["lead"] == {"id": "tok_1", "form": "Demo", "event": "form_submitted"}


def asked(made: Format, facts: Facts = SALE, token: str = "token-1") -> HttpRequest:
    return made.request(facts.kind, to_json(made.body(facts).fields).decode(), facts.key, token, NOW)


def test_path_and_headers_may_be_made_of_facts_and_stay_as_they_were() -> None:
    kind = {
        "method": "put",
        "path": "join('', ['/users/', url(customer_id), '/sales?id=', sale.invoice_id])",
        "headers": {"X-Source": "source", "X-Name": "name", "X-Phone": "phone", "authorization": "'Key 1'"},
        "body": {"amount": "sale.amount", "list": ["name", "email", "'x'"], "empty": {"phone": "phone"}},
    }
    made = template(sale=kind)
    facts = replace(BARE, customer_id="ü/1", name="Ärger\r\nX: y")
    request = asked(made, facts)
    assert (request.method, request.path) == ("PUT", "/users/%C3%BC%2F1/sales?id=in_1")
    assert request.headers == {
        "Accept": "application/json",
        "Idempotency-Key": "sale:stripe:in_1",
        "Content-Type": "application/json",
        "X-Source": "stripe",
        "X-Name": "%C3%84rger%0D%0AX: y",
        "authorization": "Key 1",
    }
    assert json.loads(request.body) == {"amount": 500, "list": ["Ärger\r\nX: y", "x"]}


def test_a_body_without_facts_beside_it_goes_out_to_the_byte() -> None:
    made = template(sale={"path": "/sale", "body": {"id": "sale.invoice_id"}})
    text = '{"id":  "in_1"}'
    assert made.request("sale", text, "k", "", NOW).body == text.encode()
    assert "Authorization" not in made.request("sale", text, "k", "", NOW).headers
    assert made.request("sale", text, "k", "t", NOW).headers["Authorization"] == "Bearer t"


def test_a_form_and_a_request_without_a_body() -> None:
    body = {"charge": "whole(sale.amount)", "name": "name", "free": False}
    request = asked(template(sale={"path": "/x", "encoding": "form", "body": body}))
    assert request.body == b"charge=19900&name=Ada+Lovelace&free=false"
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    bodiless = asked(template(sale={"method": "GET", "path": "join('', ['/pixel?id=', sale.invoice_id])"}))
    assert (bodiless.body, bodiless.path, "Content-Type" in bodiless.headers) == (b"", "/pixel?id=in_1", False)


def test_a_secret_is_put_in_at_the_attempt_and_never_kept() -> None:
    kind = {
        "path": "join('', ['/in?key=', secret('pass')])",
        "headers": {"X-Token": "token()", "Authorization": "join('', ['Basic ', base64(secret('pass'))])"},
        "body": {"auth": {"key": "secret('pass')"}, "id": "sale.invoice_id"},
    }
    made = template(sale=kind).with_secrets({"pass": "hunter2"})
    kept = to_json(made.body(SALE).fields).decode()
    assert "hunter2" not in kept
    request = made.request("sale", kept, SALE.key, "token-1", NOW)
    assert request.path == "/in?key=hunter2"
    assert (request.headers["X-Token"], request.headers["Authorization"]) == ("token-1", "Basic aHVudGVyMg==")
    assert json.loads(request.body) == {"auth": {"key": "hunter2"}, "id": "in_1"}
    masked = made.with_secrets({"pass": "***"}, is_masked=True).request("sale", kept, SALE.key, "***", NOW)
    assert "hunter2" not in repr(masked)
    assert masked.headers["Authorization"] == "Basic ***"


def test_an_expression_that_fails_for_one_conversion_costs_its_field_alone() -> None:
    made = template(sale={"path": "/x", "body": {"bad": "matches(name, name)", "id": "sale.invoice_id"}})
    body = made.body(replace(SALE, name="("))
    assert body.fields == {"id": "in_1"}
    assert "bad was left out: " in body.omitted[0]


def test_needs_that_are_not_met_are_not_sent() -> None:
    made = template(needs=["email"], sale={"path": "/x", "needs": "sale.order_id", "body": {"id": "sale.invoice_id"}})
    assert made.not_sent("sale", to_json(made.body(SALE).fields).decode()) is None
    held = made.not_sent("sale", to_json(made.body(BARE).fields).decode())
    assert held is not None
    assert (held.result, held.error) == (
        "unattributed",
        "not sent: this destination needs email, sale.order_id, which is not known",
    )
    path = template(sale={"path": "join('', ['/', url(email)])", "body": {"id": "sale.invoice_id"}})
    assert asked(path, BARE).path == "/"
    broken = template(sale={"path": "email", "body": {"id": "sale.invoice_id"}})
    held = broken.not_sent("sale", to_json(broken.body(BARE).fields).decode())
    assert held is not None
    assert held.result == "permanent"
    lead = made.not_sent("lead", "{}")
    assert lead is not None
    assert lead.result == "permanent"


ANSWERS = {
    "accepts": "received >= `1`",
    "unattributed": "error.code == 'no_click'",
    "pauses": "error.code == `190` || status() == `418`",
    "retries": "error.code == `4`",
}


@pytest.mark.parametrize(
    ("status", "body", "result"),
    [
        (200, '{"received": 1}', "delivered"),
        (200, '{"received": 0}', "permanent"),
        (200, '{"received": "1"}', "permanent"),
        (200, "ok", "permanent"),
        (204, "", "permanent"),
        (200, '{"error": {"code": "no_click"}}', "unattributed"),
        (404, '{"error": {"code": "no_click"}}', "unattributed"),
        (400, '{"error": {"code": 190}}', "unauthorized"),
        (418, "", "unauthorized"),
        (400, '{"error": {"code": 4}}', "transient"),
        (400, '{"error": {"code": 5}}', "permanent"),
        (503, '{"received": 1}', "unknown"),
    ],
)
def test_what_an_answer_means(status: int, body: str, result: str) -> None:
    made = template(sale={"path": "/x"}, **ANSWERS)
    assert made.verdict(Answer(status, {}, body.encode()), Sent("sale", "{}")).result == result


def test_nothing_that_is_left_of_a_sale_is_known_and_not_missing() -> None:
    kind = {"path": "/x", "needs": "refund.left", "headers": {"X-Left": "refund.left"}, "body": {"left": "refund.left"}}
    made = template(refund=kind)
    whole = Refund("re_1", Money(19900, "USD"), left=Money(0, "USD"), sale_amount=Money(19900, "USD"))
    fields = made.body(replace(SALE, kind="refund", refund=whole)).fields
    assert fields == {"left": 0, "$request": {"headers": {"X-Left": "0"}}}
    assert made.not_sent("refund", json.dumps(fields)) is None


def test_an_answer_that_accepted_none_is_a_refusal() -> None:
    made = template(sale={"path": "/x"}, accepts="received")
    assert made.verdict(Answer(200, {}, b'{"received": 0}'), Sent("sale", "{}")).result == "permanent"


def test_an_edit_keeps_what_a_conversion_is_counted_by_and_the_fields_of_the_template() -> None:
    body = {"data": [{"event_id": "key", "value": "sale.amount", "email": "sha256(email)"}], "id": "sale.invoice_id"}
    made = template(sale={"path": "join('', ['/', source])", "body": body})
    before = made.body(SALE).fields
    right = json.loads(json.dumps(before))
    right["data"][0]["value"] = 5
    assert made.edit_problem("sale", before, right) is None
    wrongs: list[tuple[Callable[[Any], None], str]] = [
        (lambda one: one["data"][0].update(event_id="other"), "data.0.event_id"),
        (lambda one: one.update(id="in_2"), "id"),
        (lambda one: one.pop("$request"), "$request"),
        (lambda one: one.update(colour="red"), "colour is not a field"),
        (lambda one: one["data"][0].update(value=None), "data[0].value must not be null"),
        (lambda one: one.update(data={}), "data"),
    ]
    for change, said in wrongs:
        after = json.loads(json.dumps(before))
        change(after)
        assert said in str(made.edit_problem("sale", before, after))


HEAD = '[destinations.crm]\nurl = "https://crm.example"\nformat = "template"\ntoken_env = "CRM_TOKEN"\n'


@pytest.mark.parametrize(
    ("text", "said", "place"),
    [
        (
            "[destinations.crm.sale]\npath = '/x'\nbody.email = \"lowr(email)\"",
            "no function lowr(); did you mean lower()?",
            (7, 15),
        ),
        ("[destinations.crm.sale]\npath = '/x'\nbody = {a = 'sha256(emial)'}", "did you mean email?", (7, 21)),
        (
            "[destinations.crm.sale]\nheaders = {A = 'application/json'}",
            "text stands in single quotes: 'application/json'",
            (6, 28),
        ),
        ("[destinations.crm.sale]\npath = '/x'\n[destinations.crm.sale.body]\nname = 'Purchase'", "'Purchase'", (8, 9)),
        ("[destinations.crm.sale]\npath = 'track/sale'", "begins with a slash: /track/sale", (6, 9)),
        ("[destinations.crm.sale]\npath = '/users/{id}'", "write an expression: join(", (6, 9)),
        ("[destinations.crm.sale]\npath='/x'\nbody = {a = 'lead.id'}", "there is no fact lead here", (7, 14)),
        ("[destinations.crm.sale]\npath='/x'\nbody = {a = 'sale.products.id'}", "write [].id", (7, 28)),
        (
            "[destinations.crm.sale]\npath='/x'\nbody = {a = 'lower(sale.amount)'}",
            "lower() takes text, not a number",
            (7, 14),
        ),
        ("[destinations.crm.sale]\npath='/x'\nbody = {a = 'lower(name, name)'}", "takes 1 argument, not 2", (7, 14)),
        ("[destinations.crm.sale]\npath='/x'\nbody = {a = \"lower(name\"}", "a parenthesis is missing", (7, 24)),
        ("[destinations.crm.sale]\npath='/x'\nbody = {a = '''x('y)'''}", "a single quote is missing", (7, 18)),
        ("[destinations.crm.sale]\npath='/x'\nbody = {a = ''}", "is empty", (7, 14)),
        ("[destinations.crm.sale]\npath='/x'\nbody = {a = 2026-01-01}", "must be an expression in quotes", (7, 13)),
        ("[destinations.crm.sale]\npath='/x'\nbody = 5", "must be a table", (7, 8)),
        ("[destinations.crm.sale]\npath='/x'\ncolour = 'red'", "is not known; known are method, path", (7, 11)),
        ("[destinations.crm.sale]\nmethod = 'FETCH'", "must be one of POST", (6, 11)),
        ("[destinations.crm.sale]\nheaders = {'X Y' = 'name'}", "is not the name of a header", (6, 21)),
        ("[destinations.crm.sale]\nbody = {a = \"secret('key')\"}", "of those that are configured: token", (6, 14)),
        (
            "[destinations.crm.sale]\nheaders = {a = \"join('', [name, token()])\"}",
            "uses a secret together with facts",
            (6, 17),
        ),
        ("[destinations.crm.sale]\nbody = {a = \"unix(at, 'hours')\"}", "takes 's' or 'ms' or 'us'", (6, 14)),
        ("needs = '!click.gclid'\nsale = {path = '/x'}", "in parentheses, !(click.gclid)", (5, 10)),
        ("needs = ['click.gclidd']\nsale = {path = '/x'}", "did you mean gclid?", (5, 17)),
        ("accepts = 'received >='\nsale = {path = '/x'}", "is not a jmespath expression", (5, 23)),
        ("accepts = 'code == 0'\nsale = {path = '/x'}", "a number stands in backticks: `0`", (5, 20)),
        ("accepts = 'success == true'\nsale = {path = '/x'}", "true stands in backticks: `true`", (5, 23)),
        ("accepts = 'status == \"ok\"'\nsale = {path = '/x'}", "stands in single quotes: 'ok'", (5, 22)),
        ("max_age = 'a week'\nsale = {path = '/x'}", 'such as "7 days"', (5, 12)),
        ("secrets = {pass = '$X'}\nsale = {path = '/x'}", "must be the name of an environment variable", (5, 20)),
        ("colour = 'red'\nsale = {path = '/x'}", "is not known; known are", (5, 11)),
        ("rate = 5", "has no request: write a table", (1, 1)),
    ],
)
def test_a_mistake_is_named_with_its_place_and_what_to_write_instead(
    make_settings: Callable[..., Settings], tmp_path: Path, text: str, said: str, place: tuple[int, int]
) -> None:
    path = tmp_path / "bridge.toml"
    path.write_text(f"{HEAD}{text}\n")
    with pytest.raises(ConfigurationError) as caught:
        destinations_of(make_settings(BRIDGE_CONFIG=str(path), CRM_TOKEN="token-of-the-crm"))
    message = str(caught.value)
    assert message.startswith(f"{path}: destinations.crm")
    assert said in message
    assert f"(at line {place[0]}, column {place[1]})" in message


def test_all_mistakes_are_named_at_once(make_settings: Callable[..., Settings], tmp_path: Path) -> None:
    path = tmp_path / "bridge.toml"
    path.write_text(f"{HEAD}[destinations.crm.sale]\npath = '/x'\nbody = {{a = 'nam', b = 'emai'}}\n")
    with pytest.raises(ConfigurationError, match=r"did you mean name\?.*; .*did you mean email\?"):
        destinations_of(make_settings(BRIDGE_CONFIG=str(path), CRM_TOKEN="token-of-the-crm"))
