"""A placeholder is not an id, whichever source sends it and in whichever field; and a field keeps its name whatever a tool puts
around it."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.intake.dry_run import explain
from app.model import Inbound, Rules
from app.sources.catalog import SOURCES
from app.sources.custom import build
from app.sources.field_names import plain_name
from app.sources.forms.person_fields import name_of, phone_of
from app.sources.parse import email_of, identifier_of
from app.sources.placeholders import _stands_for_nothing, is_placeholder

RECEIVED_AT = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
FORM = "application/x-www-form-urlencoded"
MAIL = "ada@example.com"

PLACEHOLDERS = [
    "0", "0000", "00000000-0000-0000-0000-000000000000", "0.0", "-1", "null", "NULL", "none", "(none)", "undefined",
    "NaN", "nan", "n/a", "N/A", "-", "--", "false", "true", "False", "guest", "Guest", "anonymous", "ANONYMOUS",
    "unknown", "not_set", "not-set", "notset", "[objectObject]", "xxxxx", "XXXXX", "xxxx-xxxx-xxxx", "{{click_id}}",
    "{{click_id", "click_id}}", "{click_id}", "{click_id", "click_id}", "{{ click_id }}", "*|CLICKID|*",
    "|*CLICKID*|", "[click_id]", "[[click_id]]", "__CLICKID__", "#clickid#", ":clickId", "${clickId}", "$clickId",
    "$(clickId)", "%clickid%", "%%clickid%%", "<clickId>", "&lt;clickId&gt;", "&amp;lt;clickId&amp;gt;",
    "&#123;&#123;click_id&#125;&#125;", "%7B%7Bclick_id%7D%7D", "<%=click_id%>", "<?=$id?>", "@clickId",
    "user_undefined", "user_null", "clk-NaN", "clickId", "click_id", "YOUR_CLICK_ID", "user_id", "<nil>", '"null"',
    "'undefined'", "\u2014", "hidden_value", "$RCAnonymousID:8a1f", "%s", "Infinity",
    "clk_{clickId}", "clk_%7Bclick%7D", "@{clickid}", "#{clickid}", "#clickid", "%clickid", "\u00a7clickid\u00a7",
    "INSERT_CLICK_ID", "clk_", "user:", "auth0|undefined", "auth0|null", "null,null", "undefined,undefined", "null;",
    "#N/A", "#REF!", "not_found", "no-user", "Array", "\uff10", "\uff2e\uff35\uff2c\uff2c", "Gast", "invit\u00e9",
]  # fmt: skip
IDS = [
    "1", "42", "-100123456", "user_0", "u-0", "clk_8f3aXYZ", "0a", "a0000", "X1", "XX-100", "guest_8f3a",
    "truecaller", "nullable", "anonymous-badger-7", "n", "noah", "nonesuch", "guesthouse", "unknown-pleasures-9",
    "auth0|64af", "abc/def+gh==", "+491701234567", "YWJj=", "a.b@c.example", "user:42", "tenant/7", "100%",
    "9f1c1c0e-0000-4000-8000-000000000000", "#1001", "nil-7", "_aZ-9_", "-aZ9-", "XxXaY", "customer-id-7", "Zm9v_",
    "0x1f", "clk,1", "null-island", "clk_true", "gastro", "arrayan", "1{2}",
]  # fmt: skip


# --- each reader: a click id and a customer id go in as the provider carries them, and come out as they are sent ---


def body_of(source: str, body: Any, kind: str = "application/json", rules: Rules | None = None) -> dict[str, Any]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    known = SOURCES.get(source) or build(source, OWN[source])
    line = explain(known, Inbound(raw, {"content-type": kind}), rules or Rules(), RECEIVED_AT)
    assert line["outcome"] in ("lead", "sale"), line["reason"]
    assert isinstance(line["payload"], dict)
    return line["payload"]


OWN: dict[str, dict[str, Any]] = {
    "own_form": {"kind": "lead"},
    "own_form_configured": {
        "kind": "lead",
        "fields": {"click_id": "tracking.ref", "customer_id": "=account.number", "email": "email"},
    },
    "own_shop": {
        "kind": "sale",
        "currency": "EUR",
        "fields": {"order_id": "number", "amount": "total", "click_id": "ref", "customer_id": "buyer"},
    },
    "own_shop_plain": {"kind": "sale", "currency": "EUR", "fields": {"order_id": "number", "amount": "total"}},
}


def stripe(**changed: Any) -> dict[str, Any]:
    session = {
        "id": "cs_1", "object": "checkout.session", "mode": "payment", "payment_status": "paid", "amount_total": 4900,
        "currency": "usd", "customer": None, "customer_details": {"email": MAIL}, "payment_intent": "pi_1", "metadata": {},
        **changed,
    }  # fmt: skip
    return {"id": "evt_1", "object": "event", "type": "checkout.session.completed", "data": {"object": session}}


def asked(key: str, value: Any) -> dict[str, Any]:
    return {"key": key, "type": "text", "text": {"value": value}}


def on_page(click: Any, customer: Any) -> str:
    return f"https://x.example/?{urlencode({'clickId': click, 'user_id': customer})}"


def jotform(click: Any, customer: Any) -> tuple[bytes, str]:
    answers = {"q3_email": MAIL, "q5_clickId": click, "q6_userId": customer}
    parts = {"submissionID": "612", "formID": "1", "rawRequest": json.dumps(answers)}
    body = "".join(f'--b\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in parts.items())
    return f"{body}--b--\r\n".encode(), "multipart/form-data; boundary=b"


def typeform(hidden: dict[str, Any]) -> dict[str, Any]:
    mail = {"type": "email", "email": MAIL, "field": {"id": "e", "ref": "e"}}
    return {
        "event_id": "ev1",
        "event_type": "form_response",
        "form_response": {"token": "tok1", "hidden": hidden, "answers": [mail]},
    }


def clerk(metadata: dict[str, Any], place: str) -> dict[str, Any]:
    return {
        "type": "user.created",
        "data": {"id": "user_acc", "email_addresses": [{"id": "e", "email_address": MAIL}], place: metadata},
    }


Reader = Callable[[Any, Any], dict[str, Any]]

READERS: dict[str, Reader] = {
    "stripe metadata": lambda c, u: body_of("stripe", stripe(metadata={"clickId": c, "user_id": u})),
    "stripe custom fields": lambda c, u: body_of(
        "stripe", stripe(custom_fields=[asked("clickid", c), asked("userid", u)])
    ),
    "typeform hidden fields": lambda c, u: body_of("typeform", typeform({"clickid": c, "user_id": u})),
    "webflow page": lambda c, u: body_of(
        "webflow",
        {
            "triggerType": "form_submission",
            "payload": {"id": "1", "data": {"email": MAIL}, "pageUrl": on_page(c, u)},
        },
    ),
    "elementor form": lambda c, u: body_of("elementor", urlencode({"email": MAIL, "clickid": c, "user_id": u}).encode(), FORM),
    "jotform multipart": lambda c, u: body_of("jotform", *jotform(c, u)),
    "hubspot properties": lambda c, u: body_of(
        "hubspot", {"vid": 7, "properties": {"email": {"value": MAIL}, "clickid": {"value": c}, "user_id": {"value": u}}}
    ),
    "cal.com metadata": lambda c, u: body_of(
        "calcom",
        {
            "triggerEvent": "BOOKING_CREATED",
            "payload": {"uid": "b1", "responses": {"email": {"value": MAIL}}, "metadata": {"clickId": c, "userId": u}},
        },
    ),
    "own form": lambda c, u: body_of("own_form", {"email": MAIL, "clickId": c, "userId": u}),
    "own form, configured": lambda c, u: body_of(
        "own_form_configured", {"email": MAIL, "tracking": {"ref": c}, "account": {"number": u}}
    ),
    "own shop, configured": lambda c, u: body_of(
        "own_shop", {"number": "A1", "total": "5.00", "email": MAIL, "ref": c, "buyer": u}
    ),
    "own shop, metadata": lambda c, u: body_of(
        "own_shop_plain", {"number": "A1", "total": "5.00", "email": MAIL, "metadata": {"clickId": c, "user_id": u}}
    ),
}  # fmt: skip


@pytest.mark.parametrize("reader", READERS)
def test_every_reader_finds_ids(reader: str) -> None:
    for value in ("clk_8f3a", "42", "guest_8f3a"):
        payload = READERS[reader](value, value)
        assert (payload["clickId"], payload["customerExternalId"]) == (value, value)


@pytest.mark.parametrize("reader", READERS)
def test_no_reader_takes_a_placeholder_for_an_id(reader: str) -> None:
    for value in PLACEHOLDERS:
        payload = READERS[reader](value, value)
        assert (payload.get("clickId"), payload["customerExternalId"]) == (None, MAIL), value


@pytest.mark.parametrize("value", PLACEHOLDERS)
def test_placeholders(value: str) -> None:
    assert identifier_of(value) is None
    assert identifier_of(f" {value} ") is None


@pytest.mark.parametrize("value", [0, 0.0, -1, True, False, float("nan"), None, [], {}])
def test_values_that_are_no_text_and_no_id(value: object) -> None:
    assert identifier_of(value) is None


@pytest.mark.parametrize("value", IDS)
def test_what_only_resembles_a_placeholder_is_an_id(value: str) -> None:
    assert identifier_of(value) == value


def test_a_placeholder_gives_way_to_an_id_under_another_name() -> None:
    payload = READERS["stripe metadata"]("x", "y")
    assert payload["customerExternalId"] == "y"
    session = stripe(metadata={"clickId": "{{click_id}}", "dub_id": "clk_2", "user_id": "0", "userId": "7"})
    payload = body_of("stripe", session)
    assert (payload["clickId"], payload["customerExternalId"]) == ("clk_2", "7")


@pytest.mark.parametrize("prefix", ["", "clk_", "clickid_", "dub_id_"])
def test_client_reference_id_is_neither_click_nor_customer_where_it_is_a_placeholder(prefix: str) -> None:
    for value in [*PLACEHOLDERS, ""]:
        payload = body_of("stripe", stripe(client_reference_id=prefix + value))
        assert (payload.get("clickId"), payload["customerExternalId"]) == (None, MAIL), value


def test_a_submission_or_order_id_that_is_a_placeholder_does_not_make_one_submission_of_all() -> None:
    bodies = [json.dumps({"entry_id": "{entry_id}", "email": MAIL, "n": n}).encode() for n in (1, 2)]
    first, second = (explain(SOURCES["wpforms"], Inbound(body, {}), Rules(), RECEIVED_AT) for body in bodies)
    assert first["dedupe_keys"] != second["dedupe_keys"]
    for order in ("0", "undefined", "{{order.id}}"):
        line = explain(
            build("own_shop_plain", OWN["own_shop_plain"]),
            Inbound(json.dumps({"number": order, "total": "5", "email": MAIL}).encode(), {}),
            Rules(),
            RECEIVED_AT,
        )
        assert line["outcome"] == "parked"


@pytest.mark.parametrize(
    "value", ["x" * 100_000, "{" * 50_000, "x-" * 50_000, "&amp;" * 20_000, "%25" * 30_000, "#" * 80_000, "a_" * 40_000]
)
def test_long_values_take_no_time(value: str) -> None:
    assert identifier_of(value) is None
    is_placeholder(value[:255])
    assert plain_name(value) == ""


@pytest.mark.parametrize(
    "value",
    ["{{name}}", "{name}", "*|FNAME|*", "[first_name]", "%name%", "&lt;name&gt;", "@name@", "n/a", "undefined"],
)
def test_a_name_that_was_not_filled_in_is_none(value: str) -> None:
    assert name_of(value) is None


@pytest.mark.parametrize(
    "value", ["Guest", "Christopher Guest", "No", "Yes Minister", "Bob (Robert) Doe", "(Bob)", "Nan", "True"]
)
def test_names_that_resemble_placeholders_are_names(value: str) -> None:
    assert name_of(value) == value


def test_an_address_or_number_that_was_not_filled_in_is_none() -> None:
    assert email_of("{{email}}@example.com") is None
    assert email_of("guest@example.com") == "guest@example.com"
    for number in ("000 000 0000", "+1 000 000 0000", "0000000000", "1111111111"):
        assert phone_of(number) is None
    assert phone_of("+1 415 555 0100") == "+1 415 555 0100"


# --- names ---


@pytest.mark.parametrize("name", ["dubClickId", "DUBCLICKID", "dub_click_id"])
def test_dub_s_name_of_the_click_is_read(name: str) -> None:
    assert body_of("stripe", stripe(metadata={name: "clk_dub"}))["clickId"] == "clk_dub"
    assert body_of("clerk", clerk({name: "clk_dub"}, "public_metadata"))["clickId"] == "clk_dub"
    assert body_of("typeform", typeform({name: "clk_dub"}))["clickId"] == "clk_dub"


@pytest.mark.parametrize("name", ["dubCustomerId", "dubCustomerExternalId", "DubCustomerID"])
def test_dub_s_names_of_the_customer_are_read(name: str) -> None:
    assert body_of("stripe", stripe(metadata={name: "u_dub"}))["customerExternalId"] == "u_dub"
    assert body_of("clerk", clerk({name: "u_dub"}, "public_metadata"))["customerExternalId"] == "u_dub"


DECORATED = [
    "No Label clickid", "no label clickId", "Sin etiqueta clickid", "q5_q5_clickid3", "q5_clickid", "clickId*",
    "clickId *", "* Click ID", "Click ID:", "Click ID :", "CLICK-ID", "click id (required)", "Click ID (Required)*",
    "3. Click ID", "3) Click ID:", "Q3: Click ID", "<b>Click ID</b>", "Click&nbsp;ID", "Click\u00a0ID\u2009*",
    "\ufeffclickid", '"clickId"', "click\nid", "Click ID\uff1a", "ClickID", " clickid ",
]  # fmt: skip
OTHERS = [
    "partner_click_id", "old click id", "clickid2", "last_clickid", "clickids", "click", "id",
    "Click ID of your friend", "not clickid", "reclickid", "q5_partner_clickid", "No Label partner clickid",
    "click.id.old",
]  # fmt: skip


@pytest.mark.parametrize("name", DECORATED)
def test_a_decorated_name_of_a_field_is_its_name(name: str) -> None:
    assert body_of("elementor", urlencode({"email": MAIL, name: "clk_1"}).encode(), FORM)["clickId"] == "clk_1"
    assert body_of("own_form", {"email": MAIL, name: "clk_1"})["clickId"] == "clk_1"
    assert body_of("own_form", {"email": MAIL, "answers": [{"label": name, "value": "clk_1"}]})["clickId"] == "clk_1"
    assert body_of("stripe", stripe(metadata={name: "clk_1"}))["clickId"] == "clk_1"


@pytest.mark.parametrize("name", OTHERS)
def test_another_name_is_not_taken_for_a_decorated_one(name: str) -> None:
    assert "clickId" not in body_of("own_form", {"email": MAIL, name: "clk_1"})
    assert "clickId" not in body_of("stripe", stripe(metadata={name: "clk_1"}))


def test_the_name_as_it_was_configured_goes_before_a_decorated_one() -> None:
    body = {"email": MAIL, "No Label clickid": "clk_decorated", "clickid": "clk_plain"}
    assert body_of("own_form", body)["clickId"] == "clk_plain"
    rules = Rules(click_id_names=("ref", "click_id"))
    assert body_of("own_form", {"email": MAIL, "click_id": "b", "Ref:": "a"}, rules=rules)["clickId"] == "b"


def test_an_alias_of_a_source_of_ones_own_finds_a_decorated_name() -> None:
    table = {"kind": "lead", "fields": {"email": "Your address", "name": "applicant", "click_id": "ref"}}
    body = {"No Label ref": "clk_1", "Your address (required):": MAIL, "q2_q2_applicant0": "Ada Lovelace"}
    line = explain(build("own", table), Inbound(json.dumps(body).encode(), {}), Rules(), RECEIVED_AT)
    assert (line["payload"]["clickId"], line["payload"]["email"], line["payload"]["name"]) == (
        "clk_1",
        MAIL,
        "Ada Lovelace",
    )


def test_elementor_s_fields_without_a_label() -> None:
    form = {
        "No Label name": "Ada Example",
        "No Label email": MAIL,
        "No Label clickid": "clk_1",
        "No Label user_id": "u_1",
        "form_id": "9d",
    }
    payload = body_of("elementor", urlencode(form).encode(), FORM)
    assert (payload["name"], payload["email"], payload["clickId"], payload["customerExternalId"]) == (
        "Ada Example",
        MAIL,
        "clk_1",
        "u_1",
    )


def test_jotform_s_doubled_question_numbers() -> None:
    answers = {
        "q2_q2_fullname0": {"first": "Ada", "last": "Example"}, "q3_q3_email1": MAIL, "q4_q4_phone2": {"full": "(415) 555-0132"},
        "q5_q5_clickid3": "clk_1", "q6_q6_userId4": "u_1",
    }  # fmt: skip
    form = urlencode({"submissionID": "612", "rawRequest": json.dumps(answers)}).encode()
    payload = body_of("jotform", form, FORM)
    assert (payload["name"], payload["email"], payload["clickId"], payload["customerExternalId"]) == (
        "Ada Example",
        MAIL,
        "clk_1",
        "u_1",
    )


def test_ids_in_a_url_are_read_once_they_are_decoded() -> None:
    page = f"https://x.example/?{quote('clickId')}={quote('clk_1')}"
    body = {"triggerType": "form_submission", "payload": {"id": "1", "data": {"email": MAIL}, "pageUrl": page}}
    assert body_of("webflow", body)["clickId"] == "clk_1"


# --- what a client_reference_id is ---


def test_client_reference_id_names_no_customer_where_it_is_to_be_ignored() -> None:
    ignore = Rules(reference_names_customer=False)
    assert body_of("stripe", stripe(client_reference_id="order_1"))["customerExternalId"] == "order_1"
    assert body_of("stripe", stripe(client_reference_id="order_1"), rules=ignore)["customerExternalId"] == MAIL
    payload = body_of("stripe", stripe(client_reference_id="clk_9", metadata={"user_id": "u_1"}), rules=ignore)
    assert (payload["clickId"], payload["customerExternalId"]) == ("clk_9", "u_1")


@given(st.from_regex(r"[A-Za-z0]{0,12}[1-9][A-Za-z0-9]{0,12}", fullmatch=True))
def test_what_the_quick_look_takes_for_an_id_is_one_by_every_rule(text: str) -> None:
    assert not is_placeholder(text)
    assert not _stands_for_nothing(text)
