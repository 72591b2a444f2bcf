"""/api/v1: filters, paging and the verbs, on both databases."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.ledger.engine import Ledger
from app.model import STATUSES
from tests.support.makers import begin, checkout, one, settle, signed
from tests.web.conftest import API

FIELDS = {
    "id",
    "status",
    "kind",
    "dedupe_key",
    "destination",
    "payload",
    "attempts",
    "next_attempt_at",
    "created_at",
    "delivered_at",
    "last_error",
    "source",
    "event_id",
}


@pytest.fixture
def api(web: FlaskClient) -> Callable[..., TestResponse]:
    def ask(path: str, method: str = "GET", **options: Any) -> TestResponse:
        return web.open(f"/api/v1/{path}", method=method, headers=API, **options)

    return ask


def test_a_delivery_has_all_that_the_contract_names(
    api: Callable[..., TestResponse], post: Callable[[bytes], Any]
) -> None:
    post(checkout(1))
    (delivery,) = api("deliveries").get_json()["deliveries"]
    assert delivery.keys() >= FIELDS
    assert delivery["status"] == "pending"
    assert delivery["event_id"] == "evt_1"
    assert delivery["payload"]["amount"] == 19.99
    assert delivery["attempts"] == 0
    assert delivery["next_attempt_at"].endswith("Z")
    alone = api(f"deliveries/{delivery['id']}").get_json()
    assert alone.keys() >= FIELDS
    assert [e["event_id"] for e in alone["events"]] == ["evt_1"]


def test_an_event_is_found_by_its_id_here_and_by_the_source_s_own(
    api: Callable[..., TestResponse], post: Callable[[bytes], Any]
) -> None:
    body = checkout(1)
    post(body)
    (event,) = api("events").get_json()["events"]
    by_number, by_name = api(f"events/{event['id']}").json, api("events/stripe:evt_1").get_json()
    assert by_number == by_name
    assert by_name["body"].encode() == body
    assert [d["kind"] for d in by_name["deliveries"]] == ["sale"]


def test_what_is_not_there_is_404_in_json(api: Callable[..., TestResponse]) -> None:
    for path in [
        "events/stripe:evt_0",
        "events/0",
        f"events/{2**63}",
        "events/a%00b",
        "events/%F0%9F",
        "deliveries/7",
        f"deliveries/{2**63}",
    ]:
        answer = api(path)
        assert answer.status_code == 404, path
        assert "error" in answer.get_json(), path


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_a_filter_that_means_nothing_is_422_and_named(api: Callable[..., TestResponse]) -> None:
    for query in [
        "deliveries?status=lost",
        "deliveries?status=",
        "deliveries?status=Dead",
        "events?outcome=lost",
        "events?limit=0",
        "events?limit=-1",
        "events?limit=ten",
        "events?before=",
        "deliveries?before=1e3",
        "deliveries?before=%C2%B2",
        "deliveries?before=" + "9" * 5000,
    ]:
        answer = api(query)
        assert answer.status_code == 422, query
        assert query.split("?")[1].split("=")[0] in answer.get_json()["error"], query


def test_lists_are_filtered_and_paged_newest_first(
    api: Callable[..., TestResponse], post: Callable[[bytes], Any], web: FlaskClient
) -> None:
    for number in range(1, 8):
        post(checkout(number))
    web.post("/webhooks/stripe", **signed(b'{"id": "evt_x", "object": "event", "type": "x"}'))
    settle(ledger := web.application.extensions["ledger"], "permanent", claimed=begin(ledger)[:2], status=400)
    assert len(api("deliveries?status=dead").get_json()["deliveries"]) == 2
    assert len(api("events?outcome=sale").get_json()["events"]) == 7
    seen, before = [], None
    while True:
        page = api("deliveries?limit=3" + (f"&before={before}" if before else "")).get_json()
        seen += [d["id"] for d in page["deliveries"]]
        before = page["next_before"]
        if before is None:
            break
    assert seen == sorted(set(seen), reverse=True)
    assert len(seen) == 7


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_a_page_larger_than_the_largest_still_says_where_to_go_on(
    api: Callable[..., TestResponse], ledger: Ledger
) -> None:
    with ledger.write() as tx:
        rows = [(n, f"k{n}", "stripe", f"e{n}", "t", "ignored", "r", 1, 1, "{}", b"") for n in range(1, 601)]
        tx.run_many(
            "INSERT INTO events (id, event_key, source, event_id, event_type, outcome, reason, received_at,"
            " last_received_at, headers, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
    page = api("events?limit=1000").get_json()
    assert len(page["events"]) == 500
    assert page["next_before"] == 101
    rest = api(f"events?limit=1000&before={page['next_before']}").get_json()
    assert (len(rest["events"]), rest["next_before"]) == (100, None)


BAD_FILTERS: list[object] = [
    None,
    {},
    [],
    "dead",
    {"state": "dead"},
    {"status": "dead", "colour": "red"},
    {"source": "stripe"},
    {"status": "delivered"},
    {"status": "lost"},
    {"status": ["dead"]},
    {"status": None},
    {"status": "dead", "source": 7},
    {"status": "dead", "source": "\x00"},
    {"status": "dead", "source": "\ud83d"},
    {"status": "dead", "source": ""},
    {"status": "dead", "since": "yesterday"},
    {"status": "dead", "since": 7},
    {"status": "dead", "since": "99999999999d"},
]


def test_an_empty_or_unknown_replay_filter_is_422_and_replays_nothing(
    api: Callable[..., TestResponse], post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    post(checkout(1))
    settle(ledger, "permanent", status=400)
    for body in BAD_FILTERS:
        assert api("replay", "POST", json=body).status_code == 422, body
    assert api("replay", "POST", data=b"{not json").status_code == 422
    assert api("replay", "POST").status_code == 422
    assert one(ledger, "SELECT status FROM deliveries") == ("dead",)


def test_a_replay_filter_replays_what_matches_and_nothing_else(
    api: Callable[..., TestResponse], post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    for number in (1, 2, 3):
        post(checkout(number))
    settle(ledger, "permanent", status=400)
    post(checkout(4))
    settle(ledger, "delivered")
    assert api("replay", "POST", json={"status": "dead", "source": "typeform"}).json == {
        "left_alone": 0,
        "replayed": 0,
        "next": None,
    }
    assert api("replay", "POST", json={"status": "dead", "since": "2999-01-01"}).get_json()["replayed"] == 0
    assert api("replay", "POST", json={"status": "dead", "source": "stripe", "since": "1h"}).get_json()["replayed"] == 3
    assert len(begin(ledger)) == 3
    assert one(ledger, "SELECT COUNT(*) FROM audit WHERE actor = 'api' AND part_of > 0") == (3,)


def test_replaying_one_says_what_it_did_or_why_not(
    api: Callable[..., TestResponse], post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    post(checkout(1))
    (delivery,) = settle(ledger, "delivered")
    refused = api(f"deliveries/{delivery}/replay", "POST")
    assert (refused.status_code, refused.get_json()["done"]) == (409, False)
    assert "force" in refused.get_json()["message"]
    assert api(f"deliveries/{delivery}/replay?force=0", "POST").status_code == 409
    assert api(f"deliveries/{delivery}/replay?force=1", "POST").status_code == 200
    (claimed,) = begin(ledger)
    assert api(f"deliveries/{delivery}/replay?force=1", "POST").status_code == 409
    settle(ledger, "delivered", claimed=[claimed])
    assert one(ledger, "SELECT status, attempts FROM deliveries") == ("delivered", 2)
    for number in ("999999", str(2**63)):
        assert api(f"deliveries/{number}/replay", "POST").status_code == 404


def test_discarding_closes_what_is_open_or_dead_and_leaves_the_rest_alone(
    api: Callable[..., TestResponse], post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    post(checkout(1))
    (delivery,) = settle(ledger, "permanent", status=400)
    assert api(f"deliveries/{delivery}/discard", "POST").status_code == 200
    assert api(f"deliveries/{delivery}").get_json()["status"] == "discarded"
    assert api(f"deliveries/{delivery}/discard", "POST").status_code == 409
    assert api(f"deliveries/{delivery}/replay", "POST").status_code == 200
    settle(ledger, "delivered")
    assert api(f"deliveries/{delivery}/discard", "POST").status_code == 409
    assert api(f"deliveries/{2**63}/discard", "POST").status_code == 404


def test_stats_count_by_status_and_outcome(
    api: Callable[..., TestResponse], post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    post(checkout(1))
    post(checkout(1))
    post(checkout(2))
    settle(ledger, "transient", retry=True, status=503, claimed=begin(ledger)[:1])
    found = api("stats").get_json()
    assert found["deliveries"] == {
        **dict.fromkeys(STATUSES, 0),
        "pending": 1,
        "retrying": 1,
    }
    assert found["events"] == {"sale": 2}
    assert found["repeats"] == 1
    assert found["workers_alive"] == 0


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_the_description_names_every_route_of_the_api(api: Callable[..., TestResponse], app: Flask) -> None:
    described = api("openapi.json").get_json()["paths"]
    paths = {
        (re.sub("<.*?>|{.*?}", "{}", rule.rule.removeprefix("/api/v1")), method.lower())
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/api/")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert paths == {(re.sub("{.*?}", "{}", path), method) for path, item in described.items() for method in item}


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_the_wrong_method_is_405_in_json(api: Callable[..., TestResponse]) -> None:
    for method, path in (("GET", "replay"), ("POST", "events"), ("DELETE", "deliveries/1")):
        answer = api(path, method)
        assert answer.status_code == 405
        assert "error" in answer.get_json()
