"""The pages of persons: somebody is found, their journey is reported whole, and they are forgotten where they ask for it."""

import html
import json
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.ledger.engine import Ledger
from tests.support.makers import checkout, count, one, settle, signed
from tests.web.conftest import API, Browser

VIEWER = "viewers may look"


def stripe_event(number: int, event_type: str, **fields: object) -> bytes:
    event = {"id": f"evt_x{number}", "object": "event", "created": 1_780_000_000 + number, "livemode": False}
    return json.dumps({**event, "type": event_type, "data": {"object": fields}}).encode()


def refund(number: int = 1) -> bytes:
    return stripe_event(
        5, "refund.created", id="re_1", object="refund", amount=900, currency="usd", status="succeeded",
        payment_intent=f"pi_{number}", created=1_780_000_050,
    )  # fmt: skip


def typeform(email: str = "p1@example.com", click: str = "clk_form") -> bytes:
    answers = [{"type": "email", "email": email, "field": {"id": "f1", "type": "email", "ref": "email"}}]
    response = {"form_id": "form1", "token": "tok_1", "submitted_at": "2026-05-01T10:00:00Z", "answers": answers}
    form = {"id": "form1", "title": "Demo", "fields": [{"id": "f1", "title": "E-mail", "type": "email"}]}
    hidden = {"hidden": {"clickId": click}, "definition": form}
    return json.dumps({"event_id": "ev_1", "event_type": "form_response", "form_response": response | hidden}).encode()


def post_typeform(web: FlaskClient, body: bytes) -> None:
    from datetime import UTC, datetime

    from app.sources.catalog import SOURCES
    from tests.conftest import TYPEFORM_SECRET

    headers = SOURCES["typeform"].sign(body, TYPEFORM_SECRET, datetime.now(UTC))
    answer = web.post("/webhooks/typeform", data=body, headers={"Content-Type": "application/json", **headers})
    assert answer.status_code == 200, answer.text
    assert answer.get_json()["outcome"] == "lead"


def only_person(ledger: Ledger) -> int:
    return int(one(ledger, "SELECT id FROM persons WHERE merged_into IS NULL ORDER BY id DESC")[0])


def test_a_journey_is_told_in_order_from_the_first_click_to_the_refund(
    browser: Browser, web: FlaskClient, post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    post_typeform(web, typeform())
    settle(ledger, "delivered")
    post(checkout(1))
    post(refund())
    person = only_person(ledger)
    answer = browser.get(f"/persons/{person}")
    assert answer.status_code == 200
    page = html.unescape(answer.text)
    journey = page.split('<table class="list journey">')[1].split("</table>")[0]
    places = [journey.index(f">{what}</td>") for what in ("first click", "lead", "sale", "refund")]
    assert places == sorted(places)
    assert "clk_form" in journey
    assert "19.99 USD" in journey
    assert "9.00 USD" in journey
    for (delivery,) in (one(ledger, "SELECT MIN(id) FROM deliveries"), one(ledger, "SELECT MAX(id) FROM deliveries")):
        assert f'href="/deliveries/{delivery}"' in journey
        assert f'href="/persons/{person}"' in browser.get(f"/deliveries/{delivery}").text
    (event,) = one(ledger, "SELECT event_id FROM conversions WHERE kind = 'sale'")
    assert f'href="/events/{event}"' in journey
    assert f'href="/persons/{person}"' in browser.get(f"/events/{event}").text


def test_the_page_shows_further_click_ids_and_since_when(
    browser: Browser, web: FlaskClient, post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    post(
        checkout(
            1, metadata={"user_id": "user_1", "gclid": "Cj0KCQ1", "landing_page": "https://x.example/?fbclid=IwAR1"}
        )
    )
    post(checkout(2, metadata={"user_id": "user_1", "gclid": "Cj0KCQ2"}, created=1_780_000_100))
    person = only_person(ledger)
    page = html.unescape(browser.get(f"/persons/{person}").text)
    for text in ("<dt>gclid</dt>", "Cj0KCQ1", "Cj0KCQ2", "<dt>fbclid</dt>", "IwAR1"):
        assert text in page
    clicks = web.get(f"/api/v1/persons/{person}", headers=API).get_json()["clicks"]
    assert {name: (one["first"], one["last"]) for name, one in clicks.items()} == {
        "gclid": ("Cj0KCQ1", "Cj0KCQ2"),
        "fbclid": ("IwAR1", "IwAR1"),
    }
    assert f'href="/persons/{person}"' in browser.get("/persons?q=Cj0KCQ2").text


def test_what_was_first_sent_stands_and_the_page_says_why(
    browser: Browser, web: FlaskClient, post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    post_typeform(web, typeform())
    settle(ledger, "delivered")
    post(checkout(1))
    page = html.unescape(browser.get(f"/persons/{only_person(ledger)}").text)
    assert "This is their email address. It was sent first, so it stays, although user_1" in page
    assert "Conflict:" in page
    assert "customer user_1 arrived after this person was sent as p1@example.com, which stays" in page


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, "This is an explicit customer ID. Nothing was sent yet."),
        ({"metadata": {}, "customer": "cus_1"}, "This is their Stripe customer. Nothing was sent yet."),
        ({"metadata": {}}, "This is their email address. Nothing was sent yet."),
        ({"metadata": {}, "customer_details": {"phone": "+4915112345678"}}, "This is their phone number. Nothing"),
    ],
    ids=["explicit", "Stripe customer", "e-mail", "phone"],
)
def test_the_page_says_which_id_is_sent_and_why(
    browser: Browser, post: Callable[[bytes], Any], ledger: Ledger, change: dict[str, Any], why: str
) -> None:
    post(checkout(1, **change))
    assert why in html.unescape(browser.get(f"/persons/{only_person(ledger)}").text)


def test_a_purchase_that_waits_for_its_money_is_shown_as_pending(
    browser: Browser, post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    assert post(checkout(1, payment_status="unpaid"))["outcome"] == "pending"
    page = browser.get(f"/persons/{only_person(ledger)}").text
    assert "pending purchase" in page
    assert "no customer ID is sent" in page


def test_a_person_is_found_by_any_of_their_names(
    browser: Browser, post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    details = {"email": "p1@example.com", "phone": "+4915112345678"}
    post(checkout(1, customer="cus_1", customer_details=details))
    post(checkout(2))
    (person,) = one(ledger, "SELECT person_id FROM identifiers WHERE value = 'user_1'")
    for name in ["P1@Example.com ", "user_1", "cus_1", "+49 151 12345678", "person:{}"]:
        answer = browser.client.get("/persons", query_string={"q": name.format(person)})
        assert answer.headers["Location"] == f"/persons/{person}", name


def test_a_name_that_nobody_has_finds_nobody(browser: Browser, post: Callable[[bytes], Any]) -> None:
    post(checkout(1))
    for name in [
        "nobody",
        "person:",
        "person:²",
        "person:" + "9" * 40,
        "person:999999",
        "a\x00b",
        "%",
        "'--",
        "x" * 5000,
    ]:
        answer = browser.client.get("/persons", query_string={"q": name})
        assert answer.status_code == 200, name
        assert "No person or event matches" in answer.text, name


def test_the_list_shows_the_newest_first_and_the_rest_by_page(browser: Browser, post: Callable[[bytes], Any]) -> None:
    for number in range(1, 53):
        post(checkout(number))
    first = browser.get("/persons").text
    assert first.index("user_52<") < first.index("user_51<")
    assert "user_2<" not in first
    older = html.unescape(first.split('">Older</a>')[0].rsplit('href="', 1)[1])
    assert "user_2<" in browser.get(older).text


@pytest.mark.parametrize(
    "text", ["<script>alert('x')</script>", '"><img src=x onerror=alert(1)>', "</td><b>config</b>"]
)
def test_hostile_names_are_shown_as_text(
    browser: Browser, post: Callable[[bytes], Any], ledger: Ledger, text: str
) -> None:
    details = {"email": "p1@example.com", "name": text}
    post(checkout(1, customer_details=details, metadata={"user_id": f"a{text}", "clickId": f"b{text}"}))
    person = only_person(ledger)
    search = browser.client.get("/persons", query_string={"q": text + "?"})
    for answer in (browser.get("/persons"), browser.get(f"/persons/{person}"), search):
        assert answer.status_code == 200
        assert "<script>alert" not in answer.text
        assert "<img src=x" not in answer.text
        assert text in html.unescape(answer.text)
    assert "<script>alert" not in browser.get(f"/persons/{person}/forget").text


def test_an_operator_forgets_a_person_after_a_question(
    browser: Browser, post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    post(checkout(1))
    person = only_person(ledger)
    assert f"/persons/{person}/forget" in browser.get(f"/persons/{person}").text
    question = browser.get(f"/persons/{person}/forget").text
    assert "You cannot undo this" in question
    assert count(ledger, "identifiers") > 0
    answer = browser.submit(f"/persons/{person}/forget")
    assert answer.headers["Location"] == f"/persons/{person}"
    assert count(ledger, "identifiers") == 0
    assert one(ledger, "SELECT actor, action, subject FROM audit") == ("Grace", "forget", f"person {person}")
    page = browser.get(f"/persons/{person}").text
    assert "Forgotten" in page
    for trace in ("p1@example.com", "Ada Lovelace", "user_1", "clk_1"):
        assert trace not in page
    assert browser.get("/persons").status_code == 200


def test_nobody_is_forgotten_while_something_of_theirs_is_being_sent(
    browser: Browser, post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    from tests.support.makers import begin

    post(checkout(1))
    begin(ledger)
    person = only_person(ledger)
    browser.submit(f"/persons/{person}/forget")
    assert "One of their deliveries is being sent" in browser.get(f"/persons/{person}").text
    assert count(ledger, "identifiers") > 0


def test_a_viewer_reads_journeys_and_forgets_nobody(make_app: Callable[..., Flask], ledger: Ledger) -> None:
    app = make_app(DASHBOARD_VIEWER_PASSWORD=VIEWER)
    viewer = Browser(app.test_client(), VIEWER)
    app.test_client().post("/webhooks/stripe", **signed(checkout()))
    person = only_person(ledger)
    page = viewer.get(f"/persons/{person}")
    assert page.status_code == 200
    assert "/forget" not in page.text
    assert viewer.get(f"/persons/{person}/forget").status_code == 403
    assert viewer.submit(f"/persons/{person}/forget").status_code == 403
    assert count(ledger, "identifiers") > 0


def test_who_is_not_logged_in_is_sent_to_the_login_and_forgets_nobody(
    web: FlaskClient, post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    post(checkout(1))
    person = only_person(ledger)
    for path in ("/persons", "/persons?q=p1@example.com", f"/persons/{person}", f"/persons/{person}/forget"):
        assert web.get(path).headers["Location"].startswith("/login?next="), path
    assert web.post(f"/persons/{person}/forget").status_code == 401
    assert count(ledger, "identifiers") > 0


def test_forgetting_needs_the_token_of_the_session(
    browser: Browser, post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    post(checkout(1))
    person = only_person(ledger)
    assert browser.client.post(f"/persons/{person}/forget", data={"csrf": "another"}).status_code == 400
    assert count(ledger, "identifiers") > 0


def test_a_person_that_is_not_there_is_404(browser: Browser) -> None:
    for number in ["0", "12345", str(2**63), "9" * 40]:
        assert browser.get(f"/persons/{number}").status_code == 404, number
        assert browser.get(f"/persons/{number}/forget").status_code == 404, number
        assert browser.submit(f"/persons/{number}/forget").status_code == 404, number


def test_a_person_who_was_merged_leads_to_the_one_they_became(
    browser: Browser, post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    from tests.support.makers import change

    post(checkout(1))
    post(checkout(2))
    (low,), (high,) = one(ledger, "SELECT MIN(id) FROM persons"), one(ledger, "SELECT MAX(id) FROM persons")
    change(ledger, "UPDATE persons SET merged_into = ? WHERE id = ?", high, low)
    assert browser.get(f"/persons/{low}").headers["Location"] == f"/persons/{high}"


def test_an_operator_exports_a_person_and_a_viewer_does_not(make_app: Callable[..., Flask], ledger: Ledger) -> None:
    app = make_app(DASHBOARD_VIEWER_PASSWORD=VIEWER)
    app.test_client().post("/webhooks/stripe", **signed(checkout(1)))
    person = only_person(ledger)
    viewer = Browser(app.test_client(), VIEWER)
    assert viewer.submit(f"/persons/{person}/export").status_code == 403
    assert "Export as JSON" not in viewer.get(f"/persons/{person}").text
    operator = Browser(app.test_client(), "password of the tests")
    assert "Export as JSON" in operator.get(f"/persons/{person}").text
    answer = operator.submit(f"/persons/{person}/export")
    assert answer.headers["Content-Disposition"] == f'attachment; filename="person-{person}.json"'
    assert json.loads(answer.text)["person"]["email"] == "p1@example.com"
    assert one(ledger, "SELECT actor, action FROM audit") == ("Grace", "export")
    assert operator.submit("/persons/999999/export").status_code == 404
