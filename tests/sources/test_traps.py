"""One test for each trap of form bodies: what looks like a conversion, a person or an id, and is not."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest

from app.errors import MalformedEvent
from app.intake.dry_run import explain
from app.model import Inbound, Rules
from app.sources.bodies import form_pairs, nested, read_body
from app.sources.catalog import SOURCES
from app.sources.forms.labels import meaning_of
from app.sources.forms.person_fields import name_of, phone_of
from app.sources.submission import Field, Submission, who_of

RECEIVED_AT = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def line_of(
    source: str, body: Any, headers: Mapping[str, str] | None = None, rules: Rules | None = None
) -> dict[str, Any]:
    if isinstance(body, bytes):
        inbound = Inbound(body, {"content-type": "application/x-www-form-urlencoded", **(headers or {})})
    else:
        inbound = Inbound(json.dumps(body).encode(), {"content-type": "application/json", **(headers or {})})
    return explain(SOURCES[source], inbound, rules or Rules(), RECEIVED_AT)


def payload_of(source: str, body: Any, **headers: str) -> dict[str, Any]:
    line = line_of(source, body, headers)
    assert line["outcome"] == "lead", line["reason"]
    assert isinstance(line["payload"], dict)
    return line["payload"]


def typeform(hidden: Any = None, answers: Any = (), **envelope: Any) -> dict[str, Any]:
    mail = {"type": "email", "email": "ada@example.com", "field": {"id": "e", "ref": "e"}}
    response = {"token": "tok1", "submitted_at": "2026-04-10T12:34:56Z", "hidden": hidden, "answers": [mail, *answers]}
    return {"event_id": "ev1", "event_type": "form_response", "form_response": {**response, **envelope}}


def framer(**answers: Any) -> dict[str, Any]:
    return payload_of("framer", {"email": "ada@example.com", **answers})


# --- 6, 7, 8: events that are not conversions, people who are not the lead ---


def calcom(trigger: str, **payload: Any) -> dict[str, Any]:
    booking = {
        "uid": "u1",
        "responses": {"email": {"value": "ada@example.com"}},
        "organizer": {"email": "host@us.example"},
    }
    return {"triggerEvent": trigger, "createdAt": "2026-03-02T08:15:30.250Z", "payload": {**booking, **payload}}


@pytest.mark.parametrize(
    "trigger", ["BOOKING_RESCHEDULED", "BOOKING_CANCELLED", "BOOKING_REQUESTED", "MEETING_ENDED", "PING", "X"]
)
def test_only_a_booking_that_was_made_is_a_lead(trigger: str) -> None:
    line = line_of("calcom", calcom(trigger))
    assert (line["outcome"], line["payload"]) == ("ignored", None)


def test_created_booking_that_replaces_another_counts_once() -> None:
    assert line_of("calcom", calcom("BOOKING_CREATED", uid="u2", rescheduleUid="u1"))["outcome"] == "ignored"


def test_host_and_guests_are_not_the_lead() -> None:
    booking = calcom("BOOKING_CREATED", responses={"guests": {"value": ["guest@x.example"]}})
    assert line_of("calcom", booking)["outcome"] == "parked"


def test_recurring_bookings_share_a_key() -> None:
    first = line_of("calcom", calcom("BOOKING_CREATED", uid="r1", recurringEventId="rec"))
    second = line_of("calcom", calcom("BOOKING_CREATED", uid="r2", recurringEventId="rec"))
    assert set(first["dedupe_keys"]) & set(second["dedupe_keys"]) == {"lead:calcom:recurring:rec"}


def test_each_seat_of_one_booking_is_a_lead() -> None:
    keys = {
        line_of("calcom", calcom("BOOKING_CREATED", attendeeSeatId=seat))["dedupe_keys"][0] for seat in ("s1", "s2")
    }
    assert len(keys) == 2


def test_meeting_start_is_not_the_time_of_the_conversion() -> None:
    line = line_of("calcom", calcom("BOOKING_CREATED", startTime="2030-01-01T00:00:00Z"))
    assert line["payload"]["timestamp"] == "2026-03-02T08:15:30.250Z"


# --- 9: times ---

MAIL = {"type": "email", "title": "E-mail", "value": "a@b.example"}


def webflow(submitted_at: str) -> dict[str, Any]:
    payload = {"id": "1", "submittedAt": submitted_at, "data": {"Email": "a@b.example"}}
    return {"triggerType": "form_submission", "payload": payload}


@pytest.mark.parametrize(
    ("source", "body", "timestamp"),
    [
        ("gravityforms", {"id": "1", "2": "a@b.example", "date_created": "2026-03-02 08:15:30"}, "2026-03-02T08:15:30.000Z"),
        ("gravityforms", {"id": "1", "2": "a@b.example", "date_created": "0000-00-00 00:00:00"}, "2026-05-01T12:00:00.000Z"),
        ("paperform", {"submission_id": "1", "created_at": "2026-03-02 08:15:30", "data": [MAIL]}, "2026-03-02T08:15:30.000Z"),
        ("webflow", webflow("2026-03-02T08:15:30"), "2026-05-01T12:00:00.000Z"),
        ("typeform", typeform(submitted_at="2026-04-10T12:34:56.987999Z"), "2026-04-10T12:34:56.987Z"),
        ("typeform", typeform(submitted_at="0001-01-01T00:00:00Z"), "2026-05-01T12:00:00.000Z"),
        ("typeform", typeform(submitted_at="2026-04-10T14:34:56+02:00"), "2026-04-10T12:34:56.000Z"),
    ],
)  # fmt: skip
def test_time_without_a_fixed_zone_is_the_time_of_receipt(source: str, body: Any, timestamp: str) -> None:
    assert payload_of(source, body)["timestamp"] == timestamp


# --- 11: click ids that are not there ---


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        " ",
        "null",
        "None",
        "undefined",
        "xxxxx",
        "hidden_value",
        {},
        [],
        [""],
        True,
        "a b",
        "{{clickId}}",
        "[click_id]",
        "%clickid%",
        "x" * 300,
    ],
)
def test_click_id_that_was_not_set_is_absent(value: Any) -> None:  # fmt: skip
    assert "clickId" not in payload_of("typeform", typeform(hidden={"clickid": value}))


@pytest.mark.parametrize("hidden", [None, {}, [], "x", {"utm_source": "a"}])
def test_no_click_id_stops_no_lead(hidden: Any) -> None:
    assert "clickId" not in payload_of("typeform", typeform(hidden=hidden))


@pytest.mark.parametrize(
    "name", ["clickId", "CLICKID", "click_id", "Click_ID", "Click ID", "dub_id", "cms_rf", "cms_click_id"]
)
def test_click_id_goes_by_its_names_in_any_case(name: str) -> None:
    assert payload_of("typeform", typeform(hidden={name: "clk_1"}))["clickId"] == "clk_1"
    assert framer(**{name: "clk_1"})["clickId"] == "clk_1"


def test_name_of_ones_own_for_the_click_id_is_configuration() -> None:
    body = typeform(hidden={"utm_content": "clk_utm"})
    assert "clickId" not in payload_of("typeform", body)
    assert line_of("typeform", body, rules=Rules(click_id_names=("utm_content",)))["payload"]["clickId"] == "clk_utm"


# --- 12: odd values ---


@pytest.mark.parametrize(
    ("value", "phone"),
    [
        (420777555123, "420777555123"),
        (4155550132.0, "4155550132"),
        ("(555) 010-0199", "(555) 010-0199"),
        ("+46 70 123 45 67", "+46 70 123 45 67"),
        ("555-0100 x12", "555-0100 x12"),
        ({"full": "(503) 555-0147"}, "(503) 555-0147"),
        ({"area": "206", "phone": "555-0155"}, "206 555-0155"),
        ({"country": "44", "area": "20", "phone": "7946 0958"}, "+44 20 7946 0958"),
        (["+442079460958"], "+442079460958"),
        ("\u202a+44 20 7946 0958\u202c", "+44 20 7946 0958"), ("FR+33612345678", "+33612345678"),
        ("call me", None), ("12", None), (True, None), (None, None), ("", None), ({}, None), (1.5, None),
        ("2026-01-01T00:00", None), ("1" * 60, None),
    ],
)  # fmt: skip
def test_phone_numbers_in_their_shapes(value: Any, phone: str | None) -> None:
    assert phone_of(value) == phone


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("  Ada \n Lovelace ", "Ada Lovelace"),
        ({"first": "Ada", "last": "Lovelace"}, "Ada Lovelace"),
        ({"First": "Ada", "Last": None, "FirstAndLast": "Ada"}, "Ada"),
        ({"firstName": "Ada", "lastName": "Lovelace"}, "Ada Lovelace"),
        (["Ada Lovelace"], "Ada Lovelace"),
        ("Юлия Нестеренко", "Юлия Нестеренко"),
        ("ada@example.com", None), ("12345", None), (7, None), ("", None), (None, None), ("null", None), ("x" * 300, None),
        ({"first": {"first": "a"}}, "a"), ("{{name}}", None), ("\u202eAda\u202c Love\x07lace\u200f", "Ada Lovelace"),
        ("نرگس\u200cخاتون", "نرگس\u200cخاتون"),
    ],
)  # fmt: skip
def test_names_in_their_shapes(value: Any, name: str | None) -> None:
    assert name_of(value) == name


# --- 13: names that are not the person's ---


@pytest.mark.parametrize(
    "label",
    [
        "Company name", "Business Name", "Child's name", "Student's Name", "studentsName", "companyName", "form_name", "username",
        "User name", "Pet name", "Name of your company", "Name of the event", "Project", "file name", "Emergency contact name",
        "Referrer's name", "Maiden name", "Domain name", "Your friend's name", "Nickname", "hostname", "Team name",
        "Property name", "Nom de l'entreprise", "Nombre de la empresa", "会社名", "Name on card", "Last visit", "First choice",
    ],
)  # fmt: skip
def test_labels_that_only_contain_name(label: str) -> None:
    assert meaning_of(label, "").part is None
    assert meaning_of("", label).part is None


@pytest.mark.parametrize(
    ("label", "part"),
    [
        ("Name", "full"), ("Full name", "full"), ("What's your name?", "full"), ("What’s your full name?", "full"),
        ("your-name", "full"), ("yourName", "full"), ("No Label name", "full"), ("Contact name", "full"), ("Name 2", "full"),
        ("First Name", "first"), ("firstName", "first"), ("first_name", "first"), ("FNAME", "first"), ("Vorname", "first"),
        ("Prénom", "first"), ("Name (First)", "first"), ("Last name *", "last"), ("Surname", "last"), ("Nachname", "last"),
        ("Your last name, please", "last"), ("Apellidos", "last"), ("お名前", "full"), ("Votre nom", "full"), ("Имя", "first"),
        ("Full legal name", "full"), ("Imię i nazwisko", "full"), ("Name, Vorname", "full"), ("Jméno a příjmení", "full"),
        ("Voor- en achternaam", "full"), ("Ad Soyad", "full"), ("الاسم الكامل", "full"), ("Họ và tên", "full"),
        ("Förnamn", "first"), ("Efternamn", "last"), ("Nom de famille", "last"), ("Último nome", "last"),
        ("Nome e sobrenome", "full"), ("För- och efternamn", "full"), ("Fornavn og etternavn", "full"),
        ("Etunimi ja sukunimi", "full"), ("Full name (first and last)", "full"), ("Candidate’s full name", "full"),
    ],
)  # fmt: skip
def test_labels_that_say_name(label: str, part: str) -> None:
    assert meaning_of(label, "").part == part


def test_id_of_a_field_says_its_part_where_it_has_neither_label_nor_key() -> None:
    answers = [
        {"type": "text", "text": "Ida", "field": {"id": "first_name"}},
        {"type": "text", "text": "Kern", "field": {"id": "last_name"}},
        {"type": "email", "email": "ida@kern.example", "field": {"id": "email"}},
    ]
    body = {"event_type": "form_response", "form_response": {"token": "t", "answers": answers}}
    assert line_of("typeform", body)["payload"]["name"] == "Ida Kern"


def test_label_overrules_a_key_that_says_name() -> None:
    fields = (Field(key="name", label="Company", value="Acme"), Field(key="x", label="Your name", value="Ada"))
    assert who_of(Submission(event="e", submission_id="1", body=b"", fields=fields), Rules()).name == "Ada"


def test_variables_and_form_names_are_no_names() -> None:
    body = typeform(variables=[{"key": "name", "type": "text", "text": "Not Ada"}])
    assert "name" not in payload_of("typeform", body)
    assert "name" not in framer(form={"name": "Contact"}, company={"name": "Acme"})


@pytest.mark.parametrize(
    ("answers", "name"),
    [
        ({"First name": "Ada", "Last name": "Lovelace"}, "Ada Lovelace"),
        ({"Vorname": "Ada", "Name": "Lovelace"}, "Ada Lovelace"),
        ({"Name": "Ada", "Surname": "Lovelace"}, "Ada Lovelace"),
        ({"Name": "Ada Lovelace", "First name": "Ada", "Last name": "Lovelace"}, "Ada Lovelace"),
        ({"first name": "Ada"}, "Ada"),
        ({"Name": {"first": "Ada", "last": "Lovelace"}}, "Ada Lovelace"),
    ],
)
def test_parts_of_a_name_are_joined(answers: dict[str, Any], name: str) -> None:
    assert framer(**answers)["name"] == name


def test_address_in_a_field_of_somebody_else_is_not_taken() -> None:
    assert line_of("framer", {"Friend's email": "friend@x.example", "name": "Ada"})["outcome"] == "parked"
    assert (
        framer(**{"Friend's email": "friend@x.example", "Student email": "kid@x.example"})["email"] == "ada@example.com"
    )


def test_phone_is_taken_only_where_the_label_says_so() -> None:
    assert "phone" not in framer(Budget="2000000", Order="0049301234567", Fax="+49 30 1234567")


@pytest.mark.parametrize(
    "label",
    [
        "Mobile number",
        "WhatsApp",
        "Contact number",
        "Cellulare",
        "お電話番号",
        "휴대전화",
        "رقم الهاتف",
        "Puhelin",
        "Tel.",
    ],
)
def test_labels_that_say_phone(label: str) -> None:
    assert framer(**{label: "+49 30 1234567"})["phone"] == "+49301234567"


@pytest.mark.parametrize(
    "label", ["E-post", "メールアドレス", "电子邮箱", "이메일", "Sähköposti", "Correo electrónico", "Courriel"]
)
def test_labels_that_say_email_win_over_an_address_known_by_its_look(label: str) -> None:
    assert (
        payload_of("framer", {"Message": "sales@other.example", label: "ada@example.com"})["email"] == "ada@example.com"
    )


# --- 14, 15: once only ---


def test_redelivery_with_other_bytes_has_the_same_key() -> None:
    first = line_of("typeform", typeform(hidden={"a": "1", "b": "2"}))
    second = line_of("typeform", typeform(hidden={"b": "2", "a": "1"}, landed_at="x"))
    assert first["dedupe_keys"] == second["dedupe_keys"] == ["lead:typeform:tok1"]


def test_key_of_a_source_without_ids_is_the_hash_of_its_bytes() -> None:
    body = urlencode({"Email": "a@b.example", "form_id": "f"}).encode()
    assert line_of("elementor", body)["dedupe_keys"] == line_of("elementor", body)["dedupe_keys"]
    assert line_of("elementor", body)["dedupe_keys"] != line_of("elementor", body + b"&x=1")["dedupe_keys"]


def test_address_loses_the_invisible_characters_it_was_pasted_with() -> None:
    assert payload_of("framer", {"email": "\u200bAda@\u200bexample.com\ufeff"})["email"] == "Ada@example.com"
    assert line_of("framer", {"email": "Ada Lovelace\tada@example.com"})["outcome"] == "parked"


def test_framer_submission_is_known_by_its_header() -> None:
    header = {"framer-webhook-submission-id": "sub-9"}
    assert line_of("framer", {"email": "a@b.example"}, header)["dedupe_keys"] == ["lead:framer:sub-9"]


def test_same_entry_number_in_two_forms_is_two_leads() -> None:
    keys = {
        line_of("gravityforms", {"id": "1", "form_id": form, "2": "a@b.example"})["dedupe_keys"][0] for form in "34"
    }
    assert len(keys) == 2


@pytest.mark.parametrize(
    ("source", "body"),
    [
        ("typeform", {"event_type": "form_response", "form_response": {"answers": []}}),
        ("typeform", {"form_response": {"token": "t"}}),
        ("typeform", {}),
        ("tally", {"eventType": "FORM_RESPONSE", "data": {}}),
        ("calendly", {"event": "invitee.created", "payload": {"email": "a@b.example"}}),
        ("calcom", {"email": "a@b.example"}),
        ("jotform", {"submissionID": "1", "rawRequest": "{not json"}),
        ("webflow", {"triggerType": "form_submission", "payload": {"id": "1"}}),
        ("clerk", {"type": "user.created", "data": {}}),
        ("supabase", {"user": {"id": "u"}}),
        ("formbricks", {"event": "responseFinished", "data": {"finished": True}}),
        ("netlify", {"id": "1"}),
        ("hubspot", {}),
        ("fillout", {"submission": {"questions": [{"name": "Email", "type": "Email", "value": "a@b.example"}]}}),
        ("wufoo", b"Field1=a%40b.example"),
    ],
)
def test_shape_that_is_not_known_is_parked_and_says_what_is_missing(source: str, body: Any) -> None:
    line = line_of(source, body)
    assert (line["outcome"], line["payload"]) == ("parked", None)
    assert len(line["reason"]) > 15


# --- 17: bodies ---


@pytest.mark.parametrize("body", [b"", b"[1", b"\xff{}", b'{"a": NaN}', b"[" * 100_000, b"12", b'"x"'])
def test_unreadable_json_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedEvent):
        SOURCES["typeform"].map(Inbound(body, {"content-type": "application/json"}), Rules())


def test_form_with_more_fields_than_any_form_is_malformed() -> None:
    with pytest.raises(MalformedEvent):
        form_pairs(b"a=1&" * 2000)


def test_bracket_keys_become_objects_and_nothing_is_lost_where_they_clash() -> None:
    assert nested(
        [("a[b][c]", "1"), ("a[b][d]", "2"), ("x[]", "1"), ("x[]", "2"), ("y", "1"), ("y[z]", "2"), ("[q]", "3")]
    ) == {
        "a": {"b": {"c": "1", "d": "2"}},
        "x": ["1", "2"],
        "y": "1",
        "y[z]": "2",
        "[q]": "3",
    }


@pytest.mark.parametrize("newline", [b"\r\n", b"\n"])
def test_multipart_is_read_and_files_are_left_out(newline: bytes) -> None:
    body = newline.join(
        [
            b"--xx", b'Content-Disposition: form-data; name="email"', b"", b"ada@example.com",
            b"--xx", b'Content-Disposition: form-data; name="cv"; filename="cv.pdf"', b"", b"%PDF",
            b"--xx--", b"",
        ]
    )  # fmt: skip
    inbound = Inbound(body, {"content-type": "multipart/form-data; boundary=xx"})
    assert read_body(inbound) == {"email": "ada@example.com"}
    for broken in (body[:40], body.replace(b"--xx--", b""), b"nothing"):
        with pytest.raises(MalformedEvent):
            read_body(Inbound(broken, inbound.headers))
