"""/api/v1: filters, the verbs beyond replay and discard, CSV, and who did it in the audit log."""

import csv
import io
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.ledger.engine import Ledger
from app.times import iso
from app.web.api import bulk
from app.web.api.routes import PARAMETER
from tests.support.makers import begin, change, checkout, count, one, settle
from tests.web.conftest import API

sqlite_alone = pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)


@pytest.fixture
def api(web: FlaskClient) -> Callable[..., TestResponse]:
    def ask(path: str, method: str = "GET", **options: Any) -> TestResponse:
        return web.open(f"/api/v1/{path}", method=method, headers=API, **options)

    return ask


@pytest.fixture
def six(post: Callable[[bytes], Any], ledger: Ledger) -> list[int]:
    """Six Sales: two dead (422 and 500), one retrying, two delivered, one pending. Ids in that order."""
    for number in range(1, 7):
        post(checkout(number))
    claimed = begin(ledger)
    settle(ledger, "permanent", status=422, error="no", claimed=claimed[:1])
    settle(ledger, "transient", status=500, error="ill", claimed=claimed[1:2])
    settle(ledger, "transient", status=503, error="ill", retry=True, claimed=claimed[2:3])
    settle(ledger, "delivered", claimed=claimed[3:5])
    change(ledger, "UPDATE deliveries SET claim = NULL, claimed_until = NULL")
    return [one.id for one in claimed]


def audit(ledger: Ledger) -> list[tuple[str, str, str]]:
    with ledger.read() as tx:
        return [tuple(r) for r in tx.run("SELECT actor, action, subject FROM audit ORDER BY id").all()]


def test_deliveries_are_filtered_as_on_the_pages_and_alike_as_csv(
    api: Callable[..., TestResponse], six: list[int]
) -> None:
    for query, expected in [
        ("", [0, 1, 2, 3, 4, 5]),
        ("status=dead", [0, 1]),
        ("status=dead&code=422", [0]),
        ("code=503", [2]),
        ("q=p4@example.com", [3]),
        ("q=PI_5", []),
        ("q=pi_5", [4]),
        ("q=user_6", [5]),
        ("status=dead&q=user_6", []),
        ("kind=lead", []),
        ("source=stripe&kind=sale&status=delivered", [3, 4]),
        ("source=typeform", []),
        ("destination=sandbox&status=pending", [5]),
        ("destination=main", []),
        ("since=1h&until=2999-01-01", [0, 1, 2, 3, 4, 5]),
        ("since=2999-01-01", []),
        ("until=2020-01-01T00:00:00Z", []),
    ]:
        answer = api(f"deliveries?{query}")
        assert answer.status_code == 200, query
        assert sorted(d["id"] for d in answer.get_json()["deliveries"]) == [six[n] for n in expected], query
        rows = list(csv.DictReader(io.StringIO(api(f"deliveries.csv?{query}").text)))
        assert sorted(int(row["id"]) for row in rows) == [six[n] for n in expected], query


def test_events_are_filtered_as_on_the_pages_and_alike_as_csv(
    api: Callable[..., TestResponse], web: FlaskClient, post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    for number in (1, 2):
        post(checkout(number))
    post(checkout(1, event_id="evt_1b"))
    post(b'{"id": "evt_x", "object": "event", "type": "x"}')
    for query, expected in (
        ("", ["evt_1", "evt_2", "evt_1b", "evt_x"]),
        ("outcome=ignored", ["evt_x"]),
        ("source=stripe&outcome=sale", ["evt_1", "evt_2"]),
        ("source=tally", []),
        ("q=pi_1", ["evt_1", "evt_1b"]),
        ("q=p2@example.com", ["evt_2"]),
        ("q=evt_1", ["evt_1", "evt_1b"]),
        ("q=evt_1&outcome=duplicate", ["evt_1b"]),
        ("since=1h", ["evt_1", "evt_2", "evt_1b", "evt_x"]),
        ("since=2999-01-01", []),
        ("until=2999-01-01&outcome=duplicate", ["evt_1b"]),
        ("until=2001-01-01", []),
    ):
        found = api(f"events?{query}").get_json()["events"]
        assert sorted(e["event_id"] for e in found) == sorted(expected), query
        rows = list(csv.DictReader(io.StringIO(api(f"events.csv?{query}").text)))
        assert sorted(row["event_id"] for row in rows) == sorted(expected), query


@sqlite_alone
def test_pages_of_a_rare_filter_end_although_some_are_empty(
    api: Callable[..., TestResponse], ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.ledger.reading.events.SCAN", 100)
    rows = [(n, f"k{n}", "stripe" if n % 301 else "tally", f"e{n}", "t", "ignored" if n % 2 else "sale", "r", n, n, "{}", b"")
            for n in range(1, 1001)]  # fmt: skip
    with ledger.write() as tx:
        tx.run_many(
            "INSERT INTO events (id, event_key, source, event_id, event_type, outcome, reason, received_at,"
            " last_received_at, headers, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
    for query in ("source=tally", "source=tally&outcome=ignored", "outcome=sale&source=tally", f"since={iso(0)}"):
        seen, before, pages = [], None, 0
        while True:
            page = api(f"events?{query}&limit=7" + (f"&before={before}" if before else "")).get_json()
            seen += [e["id"] for e in page["events"]]
            before, pages = page["next_before"], pages + 1
            if before is None:
                break
        expected = [n for n in range(1000, 0, -1) if query.startswith("since") or n % 301 == 0]
        if "ignored" in query:
            expected = [n for n in expected if n % 2]
        if "sale" in query:
            expected = [n for n in expected if n % 2 == 0]
        assert seen == expected
        assert pages < 200


@sqlite_alone
def test_a_parameter_that_means_nothing_is_422(api: Callable[..., TestResponse]) -> None:
    for path in [
        "deliveries?colour=red",
        "deliveries?code=1",
        "deliveries?since=yesterday",
        "deliveries?since=99999999999d",
        "deliveries?source=A%20B",
        "deliveries?q=",
        "deliveries?q=" + "x" * 513,
        "events?until=2026-13-01",
        "events.csv?limit=5",
        "stats?x=1",
        "persons?q=",
    ]:
        answer = api(path)
        assert answer.status_code == 422, path
        assert list(answer.get_json()) == ["error"], path


@sqlite_alone
def test_ids_of_no_size_are_404(api: Callable[..., TestResponse]) -> None:
    for path in ("deliveries/" + "9" * 5000, "persons/" + "9" * 5000, f"persons/{2**63}", "events/" + "9" * 5000):
        assert api(path).status_code == 404, path[:30]
    assert api("persons/" + "9" * 5000 + "/forget", "POST").status_code == 404


def test_a_cell_that_a_spreadsheet_would_reckon_is_text(
    api: Callable[..., TestResponse], post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    post(checkout(1, metadata={"user_id": "user_1"}))
    change(ledger, "UPDATE deliveries SET last_error = ?", '=HYPERLINK("http://evil.example","x")')
    change(ledger, "UPDATE events SET event_id = '@SUM(1)', reason = '+1', event_type = ?", "-1\n2")
    (row,) = csv.DictReader(io.StringIO(api("deliveries.csv").text))
    assert row["last_error"].startswith("'=HYPERLINK")
    (row,) = csv.DictReader(io.StringIO(api("events.csv").text))
    assert (row["event_id"], row["reason"], row["event_type"]) == ("'@SUM(1)", "'+1", "'-1\n2")


@sqlite_alone
def test_csv_is_written_while_it_is_read_and_masks_nothing_for_the_token(
    api: Callable[..., TestResponse], post: Callable[[bytes], Any]
) -> None:
    post(checkout(1))
    answer = api("deliveries.csv")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="deliveries.csv"'
    assert answer.mimetype == "text/csv"
    assert answer.is_streamed
    assert "p1@example.com" in answer.text


def test_a_discard_is_taken_back(api: Callable[..., TestResponse], six: list[int], ledger: Ledger) -> None:
    assert api(f"deliveries/{six[0]}/undo", "POST").status_code == 409
    assert api(f"deliveries/{six[0]}/discard", "POST").status_code == 200
    answer = api(f"deliveries/{six[0]}/undo", "POST")
    assert (answer.status_code, answer.get_json()["message"]) == (200, "it is dead again")
    assert api(f"deliveries/{2**62}/undo", "POST").status_code == 404
    assert audit(ledger) == [
        ("api", "discard", f"delivery {six[0]}"),
        ("api", "undo discard", f"delivery {six[0]}"),
    ]


def test_a_dead_one_is_sent_as_edited(api: Callable[..., TestResponse], six: list[int], ledger: Ledger) -> None:
    payload = api(f"deliveries/{six[0]}").get_json()["payload"]
    edited = {**payload, "customerExternalId": "user_corrected"}
    path = f"deliveries/{six[0]}/edit"
    assert api(path, "POST", json={"payload": payload}).status_code == 422
    assert api(path, "POST", json={"payload": {**edited, "invoiceId": "in_other"}}).status_code == 422
    assert api(path, "POST", json={"payload": "{}"}).status_code == 422
    assert api(path, "POST", json={"payload": edited, "more": 1}).status_code == 422
    assert api(path, "POST", data=b'{"payload": {"amount": NaN}}').status_code == 422
    answer = api(path, "POST", json={"payload": edited})
    assert answer.status_code == 200
    now = api(f"deliveries/{six[0]}").get_json()
    assert (now["status"], now["payload"]) == ("pending", edited)
    assert now["dedupe_key"].endswith(":edit-1")
    assert api(path, "POST", json={"payload": payload}).status_code == 409
    assert audit(ledger) == [("api", "edit", f"delivery {six[0]}")]


def test_discarding_and_taking_back_all_that_match(
    api: Callable[..., TestResponse], six: list[int], ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.ledger.actions.bulk.BULK", 1)
    done = api("discard", "POST", json={"status": "dead", "source": "stripe"})
    assert done.status_code == 200
    assert (done.get_json()["discarded"], done.get_json()["left_alone"], done.get_json()["next"]) == (2, 0, None)
    assert one(ledger, "SELECT COUNT(*) FROM deliveries WHERE status = 'discarded'") == (2,)
    undone = api("undo", "POST", json={"mark": done.get_json()["mark"]})
    assert undone.json == {"undone": 2, "left_alone": 0, "next": None}
    assert one(ledger, "SELECT COUNT(*) FROM deliveries WHERE status = 'dead'") == (2,)
    assert {actor for actor, *_ in audit(ledger)} == {"api"}
    assert [(action, subject.split()[0]) for _, action, subject in audit(ledger)] == [
        *[("discard", "deliveries"), ("discard", "delivery"), ("discard", "delivery")],
        *[("undo discard", "deliveries"), ("undo discard", "delivery"), ("undo discard", "delivery")],
    ]


def test_bulk_work_that_takes_too_long_says_where_to_go_on(
    api: Callable[..., TestResponse], six: list[int], ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.ledger.actions.bulk.BULK", 1)
    monkeypatch.setattr(bulk, "PATIENCE_SECONDS", 0)
    marks, following, count_done = set(), None, 0
    mark: dict[str, str] = {}
    for _ in range(10):
        body = {"status": "dead"} | mark | ({"next": following} if following else {})
        answer = api("discard", "POST", json=body).get_json()
        mark, following = {"mark": answer["mark"]}, answer["next"]
        marks.add(answer["mark"])
        count_done += answer["discarded"]
        if following is None:
            break
    assert (count_done, len(marks)) == (2, 1)


def test_a_bulk_discard_without_a_filter_discards_nothing(
    api: Callable[..., TestResponse], six: list[int], ledger: Ledger
) -> None:
    for body in [None, {}, {"source": "stripe"}, {"status": "delivered"}, {"status": "dead", "x": 1}]:
        assert api("discard", "POST", json=body).status_code == 422, body
        assert count(ledger, "audit") == 0, body


@sqlite_alone
def test_a_body_that_is_no_json_is_415_or_422_and_one_too_large_413(web: FlaskClient, six: list[int]) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded", **API}
    assert web.post("/api/v1/replay", data=b'{"status": "dead"}', headers=form).status_code == 415
    assert web.post("/api/v1/replay", data=b"{" * 100_000, headers=API).status_code == 422
    huge = web.post("/api/v1/replay", data=b'{"status": "' + b"x" * 1_100_000 + b'"}', headers=API)
    assert (huge.status_code, list(huge.get_json())) == (413, ["error"])


def test_a_destination_is_paused_and_goes_on(api: Callable[..., TestResponse], ledger: Ledger) -> None:
    (found,) = api("destinations").get_json()["destinations"]
    assert (found["name"], found["paused_at"], found["waiting"]) == ("sandbox", None, 0)
    assert api("destinations/sandbox/pause", "POST", json={"reason": "they migrate"}).get_json()["done"]
    assert not api("destinations/sandbox/pause", "POST").get_json()["done"]
    (found,) = api("destinations").get_json()["destinations"]
    assert found["paused_reason"] == "api: they migrate"
    assert api("destinations/sandbox/resume", "POST").get_json()["done"]
    assert api("destinations/main/pause", "POST").status_code == 404
    assert audit(ledger) == [("api", "pause", "destination sandbox"), ("api", "resume", "destination sandbox")]


def test_a_person_is_read_and_forgotten(api: Callable[..., TestResponse], six: list[int], ledger: Ledger) -> None:
    (found,) = api("persons?q=p1@example.com").get_json()["persons"]
    person = api(f"persons/{found['id']}").get_json()
    assert {i["value"] for i in person["identifiers"]} >= {"user_1", "p1@example.com"}
    assert [step["what"] for step in person["journey"]] == ["first click", "sale"]
    assert person["why"]
    assert len(api("persons?limit=4").get_json()["persons"]) == 4
    done = api(f"persons/{found['id']}/forget", "POST").get_json()
    assert done == {"id": found["id"], "events": 1, "deliveries": 1, "discarded": 0}
    assert api("persons?q=p1@example.com").get_json()["persons"] == []
    assert api("persons/999999/forget", "POST").status_code == 404
    assert audit(ledger) == [("api", "forget", f"person {found['id']}")]


def test_somebody_to_whom_something_is_just_being_sent_is_not_forgotten(
    api: Callable[..., TestResponse], post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    post(checkout(1))
    begin(ledger)
    person = one(ledger, "SELECT id FROM persons")[0]
    answer = api(f"persons/{person}/forget", "POST")
    assert (answer.status_code, "try again" in answer.get_json()["error"]) == (409, True)


def test_sources_say_what_is_configured_and_refused_and_no_secret(
    api: Callable[..., TestResponse], app: Flask, web: FlaskClient, post: Callable[[bytes], Any]
) -> None:
    post(checkout(1))
    web.post("/webhooks/stripe", data=b"{}")
    app.extensions["refusals"].flush()
    found = {one["name"]: one for one in api("sources").get_json()["sources"]}
    assert found["stripe"]["outcomes"] == {"sale": 1}
    assert found["stripe"]["refused"] == {"missing": 1}
    assert found["stripe"]["last"]["at"].endswith("Z")
    assert (found["tally"]["is_configured"], found["tally"]["last"]) == (False, None)
    assert "whsec_" not in api("sources").text


def test_parked_events_are_mapped_anew(
    api: Callable[..., TestResponse], post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    post(checkout(1, metadata={}, customer_details={}))
    assert "1 parked" in api("events/remap", "POST").get_json()["message"]
    assert audit(ledger) == [("api", "remap", "parked events")]
    assert api("audit").get_json()["audit"][0]["actor"] == "api"


@sqlite_alone
def test_no_route_answers_without_the_token(app: Flask, web: FlaskClient) -> None:
    for rule in app.url_map.iter_rules():
        if rule.rule.startswith("/api/"):
            for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
                path = PARAMETER.sub(lambda part: "1" if part["kind"] else "sandbox", rule.rule)
                answer = web.open(path, method=method)
                assert (answer.status_code, list(answer.get_json())) == (401, ["error"]), (method, path)


@sqlite_alone
@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("deliveries?limit=0", None, "limit must be a whole number from 1 to 4611686018427387903"),
        ("deliveries?status=lost", None, "status must be one of pending, retrying, "),
        ("deliveries?colour=red", None, "unknown parameter colour: known are "),
        ("stats?x=1", None, "unknown parameter x: there are none here"),
        ("events?since=yesterday", None, "since must be a date (2026-04-10)"),
        ("deliveries?code=99", None, "code must be a whole number from 100 to 599"),
        ("replay", {"source": "stripe"}, "status is missing: one of dead, "),
        ("replay", {"status": "dead", "source": None}, "source is null: leave it out"),
        ("replay", {"status": "dead", "colour": "red"}, "unknown field colour: known are "),
        ("discard", {"status": "dead", "next": True}, "next must be a whole number"),
        ("discard", {"status": "dead", "next": "7"}, "next must be a whole number"),
        ("undo", {}, "mark is missing: send the mark that POST discard answered"),
        ("destinations/sandbox/pause", {"reason": 7}, "reason must be text of 1 to 512 characters"),
    ],
)
def test_a_refusal_names_the_field_and_what_it_takes(
    api: Callable[..., TestResponse], path: str, body: dict[str, Any] | None, message: str
) -> None:
    answer = api(path) if body is None else api(path, "POST", json=body)
    assert answer.status_code == 422
    assert answer.get_json()["error"].startswith(message)


def test_the_api_shows_how_the_bridge_is_doing_and_exports_a_person(
    api: Callable[..., TestResponse], six: list[int], ledger: Ledger
) -> None:
    status = api("status").get_json()
    assert (status["level"], status["last_day"]) == ("bad", {"events": 6, "delivered": 2, "dead": 2})
    assert [one["name"] for one in status["destinations"]] == ["sandbox"]
    (found,) = api("persons?q=p1@example.com").get_json()["persons"]
    data = api(f"persons/{found['id']}/export").get_json()
    assert [one["status"] for one in data["deliveries"]] == ["dead"]
    assert audit(ledger) == [("api", "export", f"person {found['id']}")]
    assert api(f"persons/{2**63}/export").status_code == 404
