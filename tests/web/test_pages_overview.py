"""The other pages: the overview, the destination's pauses, test events, the audit log, downloads, sessions, live parts."""

import csv
import html
import io
import json
import re
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.ledger import tables
from app.ledger.engine import Ledger
from app.ledger.forwarding.breaker import pause, resume
from app.ledger.reading.summary import overview, stats
from app.ledger.traffic.spans import SPANS
from app.web.filters import said, share, span
from app.web.masking import mask
from tests.conftest import STRIPE_SECRET, FakeDestination
from tests.support.makers import begin, change, checkout, count, one, settle, signed
from tests.support.ports import Port
from tests.web.conftest import Browser

PAGES = (
    "/",
    "/failed",
    "/deliveries",
    "/events",
    "/persons",
    "/sources",
    "/destination",
    "/audit",
    "/search",
    "/sandbox",
)


@pytest.fixture
def viewer(make_app: Callable[..., Flask]) -> Browser:
    app = make_app(DASHBOARD_VIEWER_PASSWORD="viewers may look")
    return Browser(app.test_client(), "viewers may look")


def test_every_page_is_there_when_nothing_is(browser: Browser) -> None:
    for path in PAGES:
        answer = browser.get(path)
        assert answer.status_code == 200, path
        assert "style=" not in answer.text, path  # the policy forbids it
        assert not re.search(r"<script(?! src=\"/static/)|\bon[a-z]+=", answer.text), path


def test_every_page_is_there_when_something_is(browser: Browser, post: Callable[[bytes], Any], ledger: Ledger) -> None:
    post(checkout(1))
    settle(ledger, "delivered")
    post(checkout(2))
    settle(ledger, "permanent", status=422, error="no")
    for path in (*PAGES, *(f"/?span={name}" for name in SPANS), "/?span=nonsense"):
        assert browser.get(path).status_code == 200, path


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_what_waits_for_a_destination_that_is_no_longer_configured_is_told(
    make_app: Callable[..., Flask], ledger: Ledger
) -> None:
    def page(path: str, **variables: str) -> str:
        text = Browser(make_app(**variables).test_client(), "password of the tests").get(path).text
        return re.sub(r"\s+", " ", re.sub("<[^>]+>", "", text))

    real = {"DESTINATION_URL": "https://real.example", "DESTINATION_TOKEN": "token", "DESTINATION_RATE": "7"}
    make_app().test_client().post("/webhooks/stripe", **signed(checkout(1)))
    (delivery,) = settle(ledger, "transient", retry=True, status=500, error="later")
    change(ledger, "UPDATE destinations SET paused_at = 1, paused_reason = 'x'")
    assert "no longer configured" not in page("/")
    report = page("/", **real)
    assert "1 delivery waits for sandbox, which is no longer configured" in report
    assert "is paused" not in report
    assert "sandbox is no longer configured" in page(f"/deliveries/{delivery}", **real)


def test_the_overview_counts_what_came_and_what_went(
    browser: Browser, post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    for number in range(1, 4):
        post(checkout(number))
    settle(ledger, "delivered")
    post(checkout(4))
    settle(ledger, "permanent", status=422, error="no")
    with ledger.read() as tx:
        timing = overview.timing(tx)
        assert timing["rate"] == 0.75
        assert 0 <= timing["p50"] <= timing["p95"] < 60
        assert overview.counts(tx)["deliveries"]["delivered"] == 3
        assert overview.oldest_waiting(tx) == (None, None)


def test_a_paused_destination_sends_nothing_until_it_is_resumed(
    browser: Browser, post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    browser.submit("/destination/sandbox/pause", reason="  they\nmove <b>house</b> ")
    post(checkout(1))
    assert begin(ledger) == []
    text = browser.get("/destination").text
    assert "Grace: they move &lt;b&gt;house&lt;/b&gt;" in text
    assert "Forwarding to sandbox was paused manually" in browser.get("/").text
    browser.submit("/destination/sandbox/pause", reason="again")
    assert "Forwarding to sandbox is already paused" in browser.get("/destination").text
    browser.submit("/destination/sandbox/resume")
    assert len(begin(ledger)) == 1
    browser.submit("/destination/sandbox/resume")
    assert "Forwarding to sandbox is not paused" in browser.get("/destination").text
    assert one(ledger, "SELECT COUNT(*) FROM audit WHERE action IN ('pause', 'resume')") == (2,)


def test_a_pause_by_hand_outlives_a_new_token_and_a_resume_ends_any_pause(
    post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    post(checkout(1))
    settle(ledger, "unauthorized", retry=True, status=401)
    with ledger.write() as tx:
        assert not pause(tx, "sandbox", "mine", actor="Grace")
        assert resume(tx, "sandbox", actor="Grace")
        assert pause(tx, "sandbox", "", actor="Grace")
    begin(ledger)  # registers the destination again, as a worker with another token would
    assert one(ledger, "SELECT paused_reason FROM destinations") == ("Grace paused it",)


def test_a_destination_that_is_not_there_is_404(browser: Browser) -> None:
    for verb in ("pause", "resume", "test"):
        assert browser.submit(f"/destination/nobody/{verb}").status_code == 404


def test_a_test_call_says_whether_anything_answers(
    make_app: Callable[..., Flask], destination: FakeDestination
) -> None:
    app = make_app(DESTINATION_URL=destination.url, DESTINATION_TOKEN="t" * 20, DESTINATION_ALLOW_PRIVATE="1")
    browser = Browser(app.test_client(), "password of the tests")
    browser.submit("/destination/main/test")
    assert "Main answers: 501" in browser.get("/destination").text
    destination.close()
    with Port(urlsplit(destination.url).port or 0):
        browser.submit("/destination/main/test")
    assert "does not answer" in browser.get("/destination").text
    assert destination.requests == []


@pytest.mark.parametrize(("source", "outcome"), [("stripe", "sale"), ("typeform", "lead")])
def test_a_test_event_is_signed_and_goes_the_way_of_all_events(
    browser: Browser, ledger: Ledger, source: str, outcome: str
) -> None:
    assert f"/sources/{source}/test" in browser.get("/sources").text
    answer = browser.submit(f"/sources/{source}/test")
    assert outcome in browser.get(answer.headers["Location"]).text
    assert one(ledger, "SELECT source, outcome FROM events") == (source, outcome)
    assert one(ledger, "SELECT actor, action, subject FROM audit") == ("Grace", "test event", f"source {source}")
    assert len(begin(ledger)) == 1


def test_there_is_no_test_event_for_what_is_not_configured_or_has_no_example(browser: Browser, ledger: Ledger) -> None:
    for name in ("tally", "nobody", "..", "%2e%2e%2fsecrets"):
        assert browser.submit(f"/sources/{name}/test").status_code == 404
    assert count(ledger, "events") == 0


def test_no_page_shows_a_secret(browser: Browser, post: Callable[[bytes], Any]) -> None:
    post(checkout(1))
    for path in PAGES:
        text = browser.get(path).text
        for secret in (STRIPE_SECRET, "password of the tests", "api token of the tests", "secret key of the tests"):
            assert secret not in text, path


def test_the_audit_log_shows_who_did_what(browser: Browser, post: Callable[[bytes], Any], ledger: Ledger) -> None:
    post(checkout(1))
    (delivery,) = settle(ledger, "permanent", status=422, error="no")
    browser.submit(f"/deliveries/{delivery}/replay")
    text = browser.get("/audit").text
    assert "Grace" in text
    assert f'href="/deliveries/{delivery}"' in text
    assert "was dead" in text


def test_csv_is_whole_and_carries_no_formula(
    browser: Browser, post: Callable[[bytes], Any], ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.ledger.reading.rows.PAGE", 3)
    for number in range(1, 9):
        post(checkout(number))
    change(ledger, "UPDATE deliveries SET last_error = '=HYPERLINK(1)', last_status = 400 WHERE mod(id, 2) = 0")
    answer = browser.get("/deliveries.csv")
    assert answer.content_type == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert len(rows) == 8
    assert {row["last_error"] for row in rows} <= {"", "'=HYPERLINK(1)"}
    assert len(list(csv.DictReader(io.StringIO(browser.get("/events.csv?outcome=sale").text)))) == 8
    assert browser.get("/events.csv?outcome=lead").text.count("\n") == 1
    assert browser.get("/deliveries.csv?status=lost").status_code == 422


def test_a_read_only_login_sees_addresses_masked_everywhere(viewer: Browser, ledger: Ledger) -> None:
    viewer.client.post("/webhooks/stripe", **signed(checkout(1)))
    settle(ledger, "permanent", status=422, error="p1@example.com is blocked", answer='{"who":"p1@example.com"}')
    (delivery, person, event) = one(ledger, "SELECT id, person_id, event_id FROM deliveries")
    paths = (
        *PAGES,
        f"/deliveries/{delivery}",
        f"/persons/{person}",
        f"/events/{event}",
        "/deliveries.csv",
        "/search?q=pi_1",
    )
    for path in paths:
        text = html.unescape(viewer.get(path).text)
        assert "p1@example.com" not in text, path
    assert "p•••@example.com" in viewer.get(f"/deliveries/{delivery}").text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ada@example.com", "a•••@example.com"),
        ("email=ada%40example.com&x", "email=a•••%40example.com&x"),
        ('"ada\\u0040example.com"', '"a•••\\u0040example.com"'),
        ("<ada.l+x@sub.example.co.uk>", "<a•••@sub.example.co.uk>"),
        ("no address, 5 @ 3", "no address, 5 @ 3"),
        ("?q=ada%2Btag%40example.com&before=1", "?q=a•••%40example.com&before=1"),
        ("o&#39;brien@example.com", "o•••@example.com"),
        ("q%20ada@example.com", "q•••@example.com"),
        ("email=J%C3%B6rg%40example.com", "email=J•••%40example.com"),
        ('"jane\\u002bdoe@example.com"', '"j•••@example.com"'),
        ("%C3%B6l%40example.com", "•••%40example.com"),
        ("ada@example.com, bob@example.com", "a•••@example.com, b•••@example.com"),
        ("/search?kind=lead&amp;q=ada@example.com", "/search?kind=lead&amp;q=a•••@example.com"),
        ("“ada@example.com”", "“a•••@example.com”"),
        ("ada%2540example.com", "a•••%2540example.com"),
        ("ada%252540example.com", "a•••%252540example.com"),
        ("ada\\\\u0040example.com", "a•••\\\\u0040example.com"),
        ("ada\\x40example.com", "a•••\\x40example.com"),
        ("ada\\u{40}example.com", "a•••\\u{40}example.com"),
        ("ada%u0040example.com", "a•••%u0040example.com"),
        ("ada&#x40;example.com", "a•••&#x40;example.com"),
        ("ada&commat;example.com", "a•••&commat;example.com"),
        ("ada&amp;#64;example.com", "a•••&amp;#64;example.com"),
        ("ada=40example.com", "a•••=40example.com"),
        ("ada＠example.com", "a•••＠example.com"),
        ("{ada|x}@example.com", "•••@example.com"),
        ("a/b=c?d^`e@example.com", "a•••@example.com"),
        ("SRS0=HHH=TT=orig.example=ada@example.com", "S•••@example.com"),
        ("ada@[192.0.2.1]", "a•••@[192.0.2.1]"),
        ("ada@[IPv6:2001:db8::1]", "a•••@[IPv6:2001:db8::1]"),
        ("ada@münchen.example", "a•••@münchen.example"),
        ('"ada love"@example.com', '"a•••"@example.com'),
        ('{"email":"\\"ada love\\"@example.com"}', '{"email":"\\"a•••\\"@example.com"}'),
        ("&#34;ada love&#34;@example.com", "&#34;a•••&#34;@example.com"),
        ("%22ada%20love%22%40example.com", "%22a•••%22%40example.com"),
        ('"a@b"@example.com', '"a•••@b•••"@example.com'),
        ("ada(work)@example.com", "a•••@example.com"),
        ("&lt;ada@example.com&gt;", "&lt;a•••@example.com&gt;"),
        ('{"text":"hello\\nada@example.com"}', '{"text":"hello\\na•••@example.com"}'),
        ('"Anna-J\\u00fcrgen@example.com"', '"A•••@example.com"'),
        ("ada@b@example.com", "a•••@b•••@example.com"),
    ],
)
def test_masking(text: str, shown: str) -> None:
    assert mask(text) == shown


def test_masking_a_megabyte_of_one_word_takes_no_time() -> None:
    for word in (
        "x",
        "%C3",
        "%25",
        "a@",
        "@",
        '"@',
        '\\"@',
        "\\u00e9",
        "\\",
        "&amp;",
        "&#39;",
        ";a",
        "((",
        "))",
        "b%40",
    ):
        text = word * (1_000_000 // len(word)) + "@"
        began = time.thread_time()  # not the time of whatever else runs here
        mask(text)
        assert time.thread_time() - began < 5


def test_the_address_that_a_viewer_searched_for_stays_so_that_the_next_page_finds_it_too(
    viewer: Browser, ledger: Ledger
) -> None:
    viewer.client.post("/webhooks/stripe", **signed(checkout(1, customer_details={"email": "ada+x@example.com"})))
    viewer.client.post("/webhooks/stripe", **signed(checkout(2, customer_details={"email": "ada+y@example.com"})))
    text = viewer.get("/failed?q=Ada%2Bx@example.com").text
    assert 'value="Ada+x@example.com"' in text
    assert "q=Ada%2Bx@example.com" in viewer.get("/failed?q=Ada%2Bx@example.com&kind=lead").text
    assert "ada+y" not in viewer.get("/persons?q=ada%2Bx@example.com").text
    assert mask("ada@example.com bob@example.com", "bob@example.com") == "a•••@example.com bob@example.com"


def test_a_viewer_finds_by_a_whole_address_and_learns_none_letter_by_letter(
    viewer: Browser, browser: Browser, ledger: Ledger
) -> None:
    viewer.client.post("/webhooks/stripe", **signed(checkout(1)))
    settle(ledger, "permanent", status=422, error="no")
    row = re.compile(r"<td[^>]*>stripe</td>|,stripe,")
    for path in ("/search", "/deliveries", "/events", "/failed", "/deliveries.csv", "/events.csv"):
        assert row.search(viewer.get(f"{path}?q=p1@example.com").text), path
        assert row.search(browser.get(f"{path}?q=p1@exa").text), path
        assert not row.search(viewer.get(f"{path}?q=p1@exa").text), path
        assert row.search(viewer.get(f"{path}?q=user_").text), path


def test_logging_out_everywhere_ends_every_session(app: Flask, ledger: Ledger) -> None:
    one_browser, other = (Browser(app.test_client(), "password of the tests") for _ in range(2))
    assert one_browser.submit("/logout-everywhere").headers["Location"] == "/login"
    for browser in (one_browser, other):
        assert browser.get("/").headers["Location"].startswith("/login")
    again = Browser(app.test_client(), "password of the tests")
    assert again.get("/").status_code == 200
    assert one(ledger, "SELECT actor, action FROM audit") == ("Grace", "log out everywhere")


def test_a_read_only_login_logs_out_nobody_but_itself(viewer: Browser) -> None:
    assert viewer.submit("/logout-everywhere").status_code == 403
    assert viewer.get("/").status_code == 200


def test_a_page_that_polls_is_told_when_nothing_changed(
    browser: Browser, post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    post(checkout(1))
    for path in ("/", "/failed", "/deliveries"):
        for _ in range(3):  # between two requests, though not time after time, a bar of the chart may end
            first = browser.client.get(path, headers={"X-Live": "1"})
            assert "<header" not in first.text
            etag = first.headers["ETag"]
            again = browser.client.get(path, headers={"X-Live": "1", "If-None-Match": etag})
            if again.status_code == 304:
                break
        assert (again.status_code, again.data) == (304, b""), path
    settle(ledger, "permanent", status=422, error="no")
    changed = browser.client.get("/failed", headers={"X-Live": "1", "If-None-Match": etag})
    assert changed.status_code == 200
    assert "ETag" not in browser.get("/").headers


def test_a_share_is_never_rounded_up_to_all() -> None:
    assert [share(part) for part in (1, 0.9999, 0.5, 0)] == ["100%", "99.9%", "50%", "0%"]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ('{"error":{"code":"x","message":"no such click"}}', "no such click"),
        ('{"error":"no such click"}', "no such click"),
        ('{"errors":[{"detail":"no such click"}]}', "no such click"),
        ('{"success":false,"message":"no\\n such   click"}', "no such click"),
        ('{"code":12}', ""),
        ("no such click", "no such click"),
        ("<html><title>502</title></html>", ""),
        ("[" * 100_000, "[" * 200 + "…"),
        (None, ""),
        ("x" * 300, "x" * 200 + "…"),
    ],
)
def test_what_an_answer_says_to_people(answer: str | None, says: str) -> None:
    assert said(answer) == says


def test_the_sentence_names_parked_events_and_where_they_are(
    browser: Browser, post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    with ledger.write() as tx:
        now = tx.now()
        columns = ("host", "pid", "pid_started", "started_at", "heartbeat_at")
        tx.insert(tables.workers, columns, [("here", 1, "1", now, now + 60_000)])
    assert post(checkout(1, metadata={}, customer_details={}))["outcome"] == "parked"
    page = browser.get("/").text
    assert "1 event is parked: conversions that lack required data." in page
    assert '<a href="/parked">Parked events</a>' in page
    (event,) = one(ledger, "SELECT id FROM events")
    assert "Preview reprocessing" in browser.get(f"/events/{event}").text


def test_counts_of_the_api_and_of_metrics_are_exact(
    web: FlaskClient, browser: Browser, post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    for number in range(1, 5):
        post(checkout(number))
    settle(ledger, "delivered")
    post(checkout(1))
    post(checkout(9, metadata={}, customer_details={}))
    post(checkout(10))
    settle(ledger, "permanent", status=422, error="no")
    with ledger.read() as tx:
        found = stats.stats(tx)
    assert found["deliveries"] == {
        "pending": 0,
        "retrying": 0,
        "delivered": 4,
        "unattributed": 0,
        "dead": 1,
        "discarded": 0,
        "shadow": 0,
    }
    assert (found["events"], found["repeats"]) == ({"sale": 5, "parked": 1}, 1)


def test_spans_are_shown_in_the_unit_that_fits() -> None:
    assert [span(s) for s in (None, 0.004, 1.5, 90, 600, 90_000, 400_000)] == [
        "–",
        "4 ms",
        "1.5 s",
        "90 s",
        "10 min",
        "25 h",
        "5 days",
    ]


def test_an_address_in_a_body_is_masked_however_it_is_written(viewer: Browser, ledger: Ledger) -> None:
    for number, spelling in enumerate(
        [
            "ada.lovelace@example.com",
            "ada.lovelace%40example.com",
            "ada.lovelace%2540example.com",
            "ada.lovelace\\u0040example.com",
            "ada.lovelace\\x40example.com",
            "ada.lovelace&#64;example.com",
            "{ada.lovelace}@example.com",
            "ada.lovelace@[192.0.2.1]",
            '"ada lovelace"@example.com',
            "Ada Lovelace <ada.lovelace@example.com>",
        ]
    ):
        event = {
            "id": f"evt_{number}",
            "object": "event",
            "type": "radar.x",
            "livemode": True,
            "data": {"object": {"a": spelling}},
        }
        for body in (event, {**event, "id": f"evt_{number}y", "text": json.dumps({"a": spelling})}):
            assert viewer.client.post("/webhooks/stripe", **signed(json.dumps(body).encode())).status_code == 200
            (identity,) = one(ledger, "SELECT MAX(id) FROM events")
            text = viewer.get(f"/events/{identity}").text
            assert "•••" in text, spelling
            assert "lovelace" not in html.unescape(text).replace("Ada Lovelace", "").lower(), spelling


def test_a_purchase_that_was_sent_twice_is_shown_with_the_event_that_tells_it(browser: Browser, ledger: Ledger) -> None:
    def post(kind: str, **thing: Any) -> None:
        event = {"id": f"evt_{kind}", "object": "event", "created": 1_780_000_000, "livemode": False, "type": kind}
        body = json.dumps({**event, "data": {"object": thing}}).encode()
        assert browser.client.post("/webhooks/stripe", **signed(body)).status_code == 200

    worker = "INSERT INTO workers (host, pid, pid_started, started_at, heartbeat_at) VALUES ('here', 1, 'x', ?, ?)"
    change(ledger, worker, *[int(time.time() * 1000)] * 2)
    browser.client.post("/webhooks/stripe", **signed(checkout(1)))
    paid = {"amount_paid": 1999, "currency": "usd", "billing_reason": "manual", "customer_email": "p1@example.com"}
    post("invoice.paid", id="in_1", object="invoice", **paid)
    for _ in range(2):  # one delivery of a person at a time
        settle(ledger, "delivered")
    assert "sent twice" not in browser.get("/").text
    payment = {"type": "payment_intent", "payment_intent": "pi_1"}
    post("invoice_payment.paid", id="inpay_1", object="invoice_payment", invoice="in_1", payment=payment)
    page = browser.get("/").text
    assert "1 purchase was sent twice" in page
    event_id, conflict = one(ledger, "SELECT event_id, reason FROM conflicts")
    assert f'href="/events/{event_id}"' in page
    assert html.escape(conflict) in browser.get(f"/events/{event_id}").text
