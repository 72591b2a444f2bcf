"""Shapes that providers' documentation and public code show, and that are easily read wrongly."""

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest

from app.intake.dry_run import explain
from app.model import Inbound, Rules
from app.sources.catalog import SOURCES

RECEIVED_AT = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
FORM = "application/x-www-form-urlencoded"


def line_of(source: str, body: Any, kind: str = "application/json") -> dict[str, Any]:
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return explain(SOURCES[source], Inbound(raw, {"content-type": kind}), Rules(), RECEIVED_AT)


def payload_of(source: str, body: Any, kind: str = "application/json") -> dict[str, Any]:
    line = line_of(source, body, kind)
    assert line["outcome"] == "lead", line["reason"]
    assert isinstance(line["payload"], dict)
    return line["payload"]


# --- the page that a form was on ---

PAGE = "https://shop.example/contact?clickId=clk_page&user_id=u_page&name=Blue+chair&email=shop@shop.example"
ON_A_PAGE: dict[str, Any] = {
    "webflow": lambda **f: {"triggerType": "form_submission", "payload": {"id": "1", "pageUrl": PAGE, "data": f}},
    "netlify": lambda **f: {"id": "1", "data": {**f, "referrer": PAGE}},
    "gravityforms": lambda **f: {"id": "1", "form_id": "1", "source_url": PAGE, **f},
    "wpforms": lambda **f: {"entry_id": "1", "page_url": PAGE, **f},
    "hubspot": lambda **f: {
        "vid": 1,
        "properties": {k: {"value": v} for k, v in f.items()},
        "form-submissions": [{"conversion-id": "c", "timestamp": 1767225600000, "page-url": PAGE}],
    },
    "formbricks": lambda **f: {
        "event": "responseFinished",
        "data": {"id": "1", "finished": True, "meta": {"url": PAGE}, "data": f},
    },
    "basin": lambda **f: {"id": 1, "source_url": PAGE, **f},
    "elementor": lambda **f: {
        "fields": {k: {"id": k, "type": "hidden", "value": v} for k, v in f.items()},
        "meta": {"page_url": {"value": PAGE}},
    },
}


@pytest.mark.parametrize("source", ON_A_PAGE)
def test_a_field_of_the_form_wins_over_the_parameters_of_its_page(source: str) -> None:
    body = ON_A_PAGE[source](email="ada@example.com", click_id="clk_form", user_id="u_form")
    payload = payload_of(source, body)
    assert (payload["clickId"], payload["customerExternalId"]) == ("clk_form", "u_form")


@pytest.mark.parametrize("source", ON_A_PAGE)
def test_the_parameters_of_a_page_name_ids_and_no_person(source: str) -> None:
    payload = payload_of(source, ON_A_PAGE[source](email="ada@example.com"))
    assert (payload["clickId"], payload["customerExternalId"]) == ("clk_page", "u_page")
    assert payload["email"] == "ada@example.com"
    assert "name" not in payload
    nobody = line_of(source, ON_A_PAGE[source](note="hello", click_id="x", user_id="null"))
    assert "email" not in (nobody["payload"] or {})


# --- Typeform ---


def typeform(titles: dict[str, str], answers: dict[str, str], *, inside: int = 0) -> dict[str, Any]:
    fields: list[Any] = [{"id": i, "type": "short_text", "title": title} for i, title in titles.items()]
    for _ in range(inside):
        fields = [{"id": "g", "type": "group", "title": "Group", "properties": {"fields": fields}}]
    given = [{"type": "text", "text": v, "field": {"id": i, "ref": f"ref-{i}"}} for i, v in answers.items()]
    response = {"token": "t1", "submitted_at": "2026-04-10T12:34:56Z", "definition": {"fields": fields}}
    return {"event_id": "e", "event_type": "form_response", "form_response": {**response, "answers": given}}


def test_an_earlier_answer_repeated_in_a_title_says_nothing_of_this_one() -> None:
    titles = {
        "a": "Why do you write to us, {{field:email}}?",
        "b": "Your e-mail",
        "c": "{{field:first_name}}, your last name?",
    }
    answers = {"a": "see boss@other.example", "b": "ada@example.com", "c": "Lovelace"}
    payload = payload_of("typeform", typeform(titles, {**answers, "a": "boss@other.example"}))
    assert (payload["email"], payload["name"]) == ("ada@example.com", "Lovelace")


def test_markup_in_a_title_is_no_word() -> None:
    payload = payload_of(
        "typeform", typeform({"a": "<b>Name</b>", "b": "E-mail"}, {"a": "Ada", "b": "ada@example.com"})
    )
    assert payload["name"] == "Ada"


@pytest.mark.parametrize("inside", [0, 1, 2, 50])
def test_questions_inside_groups_are_known(inside: int) -> None:
    body = typeform({"a": "First name", "b": "E-mail"}, {"a": "Ada", "b": "ada@example.com"}, inside=inside)
    assert payload_of("typeform", body).get("name") == ("Ada" if inside < 3 else None)


# --- bookings ---


def test_calendlys_first_version_nests_questions_under_the_invitee() -> None:
    invitee = {"uuid": "A", "email": "ada@example.com", "created_at": "2018-03-14T00:00:00Z"}
    asked = [{"question": "clickId", "answer": "clk_1"}]
    body = {"event": "invitee.created", "payload": {"invitee": {**invitee, "questions_and_answers": asked}}}
    assert payload_of("calendly", body)["clickId"] == "clk_1"


MAIL = {"value": None, "response": "ada@example.com"}


@pytest.mark.parametrize(
    "form",
    [
        {"payload": {"formId": "f", "responses": {"Name": {"value": "Ada"}, "Email": {"value": "ada@example.com"}}}},
        {"payload": {"formId": "f", "responses": {"Name": {"response": "Ada"}, "Email": MAIL}}},
        {"payload": {"formId": "f", "formName": "Intake", "Name": "Ada", "Email": "ada@example.com"}},
        {"Name": "Ada", "Email": "ada@example.com"},
        {"Name": "Ada", "Email": "ada@example.com", "payload": {"formId": "f", "teamId": None}},
    ],
)
def test_routing_forms_of_every_version_of_calcom(form: dict[str, Any]) -> None:
    payload = payload_of("calcom", {"triggerEvent": "FORM_SUBMITTED", "createdAt": "2026-01-01T12:00:00.000Z", **form})
    assert (payload["email"], payload["name"]) == ("ada@example.com", "Ada")


# --- contacts and accounts ---


@pytest.mark.parametrize("wrap", [lambda p: p, lambda p: {"vid": 1, "properties": p}])
def test_hubspots_owner_is_not_the_lead(wrap: Any) -> None:
    assert (
        line_of("hubspot", wrap({"hubspot_owner_email": "sales@us.example", "firstname": "Ada"}))["outcome"] == "parked"
    )


@pytest.mark.parametrize(
    ("source", "body"),
    [
        ("clerk", lambda meta: {"type": "user.created", "data": {"id": "u1", "unsafe_metadata": meta}}),
        ("supabase", lambda meta: {"metadata": {"name": "before-user-created"}, "user": {"id": "u1", "user_metadata": meta}}),
    ],
)  # fmt: skip
def test_a_click_id_may_lie_deeper_in_the_metadata_and_a_companys_name_is_no_name(source: str, body: Any) -> None:
    payload = payload_of(source, body({"attribution": {"clickId": "clk_deep"}, "company": {"name": "Acme"}}))
    assert payload["clickId"] == "clk_deep"
    assert "name" not in payload


# --- bodies ---


def test_basin_form_with_its_answers_in_brackets_is_known_by_its_id() -> None:
    line = line_of("basin", urlencode({"id": "55", "data[email]": "ada@example.com"}), FORM)
    assert line["dedupe_keys"] == ["lead:basin:55"]


def test_json_that_is_called_a_form_is_json() -> None:
    assert payload_of("framer", '{"email": "ada@example.com"}', FORM)["email"] == "ada@example.com"
    assert line_of("framer", '{"email": ', FORM)["outcome"] == "rejected"


def test_every_update_of_a_supabase_user_is_an_event_of_its_own() -> None:
    """A row is updated before it is confirmed, too; the one that confirms it must not count as a repeat of that."""

    def event_id(**user: str) -> str:
        record = {"id": "u1", "email": "ada@example.com", **user}
        return str(
            line_of("supabase", {"type": "UPDATE", "schema": "auth", "table": "users", "record": record})["event_id"]
        )

    assert event_id(updated_at="1") != event_id(updated_at="2", email_confirmed_at="2026-01-01T00:00:00Z")
    assert event_id(updated_at="1") == event_id(updated_at="1")


@pytest.mark.parametrize("nobody", [0, "0", "-1", "guest", "Anonymous", "{user_id}", "[user_id]"])
def test_those_who_are_not_logged_in_are_not_one_customer(nobody: object) -> None:
    assert payload_of("wpforms", {"email": "a@b.example", "user_id": nobody})["customerExternalId"] == "a@b.example"
