"""The pages show what the ledger holds, whatever that is, and their buttons do what they say."""

import html
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.ledger.engine import Ledger
from app.web.filters import indented, pretty, said
from tests.support.makers import begin, change, checkout, count, one, settle, signed
from tests.web.conftest import Browser

sqlite_alone = pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)

HOSTILE = {
    "script": "<script>alert('x')</script>",
    "attribute": '"><img src=x onerror=alert(1)>',
    "template": "{{ config }} {% for %} ${7*7}",
    "right to left": "\u202egnp.exe\u202c \u2066x\u2069 \u200f",
    "emoji": "👩‍👩‍👧‍👦 😀",
    "combining": "Z̸̢̛a̷l̵g̴o̶",
    "long": "x" * 5000,
    "arabic": "مرحبا بالعالم",
    "lines": "one\r\ntwo\x0bthree\x85four",
    "html entity": "&lt;b&gt;&amp;amp;",
}


def test_marks_that_turn_writing_around_are_spelt_out_in_json_which_stays_the_same() -> None:
    value = {"name": "\u202egnp.exe\u202c \u2066x\u2069 \u200f", "مرحبا": ["👩‍👩‍👧‍👦", "\\u202e"]}
    shown = pretty(value)
    assert json.loads(shown) == json.loads(indented(json.dumps(value))) == value
    assert not re.search("[\u200f\u202a-\u202e\u2066-\u2069]", shown)
    assert "مرحبا" in shown
    assert said('{"error":"no \u202esuch click"}') == "no such click"


def pages(browser: Browser, ledger: Ledger) -> list[str]:
    (delivery,) = one(ledger, "SELECT MAX(id) FROM deliveries")
    (event,) = one(ledger, "SELECT MAX(id) FROM events")
    texts = []
    (person,) = one(ledger, "SELECT MAX(id) FROM persons")
    paths = (
        "/",
        "/deliveries",
        "/events",
        "/sandbox",
        f"/deliveries/{delivery}",
        f"/events/{event}",
        "/failed",
        "/persons",
    )
    for path in (*paths, f"/persons/{person}", "/search?q=p1", "/audit"):
        answer = browser.get(path)
        assert answer.status_code == 200, path
        assert answer.content_type == "text/html; charset=utf-8"
        texts.append(answer.text)
    return texts


@sqlite_alone
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_text_from_outside_is_shown_as_text(
    browser: Browser, post: Callable[[bytes], Any], ledger: Ledger, text: str
) -> None:
    person = {"email": "p1@example.com", "name": text}
    assert post(checkout(1, customer_details=person, metadata={"user_id": text, "note": text}))["outcome"] == "sale"
    settle(ledger, "transient", retry=True, status=500, error=f"answered {text}"[:900], answer=text)
    ignored = json.dumps({"id": "evt_2", "object": "event", "type": text.encode("ascii", "replace").decode()[:90]})
    browser.client.post("/webhooks/stripe", **signed(ignored.encode()))
    shown = pages(browser, ledger)
    for page in shown:
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert "<Config" not in page
    if text.isprintable():
        assert json.dumps(text, ensure_ascii=False)[1:-1] in html.unescape(shown[4])


@sqlite_alone
def test_a_megabyte_of_text_is_shown_as_text_on_every_page(
    browser: Browser, post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    text = "<b>" + "long " * 200_000
    assert (
        post(checkout(1, customer_details={"email": "p1@example.com", "name": "Ada"}, description=text))["outcome"]
        == "sale"
    )
    settle(ledger, "transient", retry=True, status=500, error="answered 500", answer=text[:60_000])
    shown = pages(browser, ledger)
    assert all("<b>long" not in page for page in shown)
    assert text[3:] in shown[4]  # of the delivery, beside the event it came from
    assert len(browser.get("/failed").data) < 100_000


def test_what_json_can_spell_and_utf8_cannot_is_shown_all_the_same(
    browser: Browser, web: FlaskClient, ledger: Ledger
) -> None:
    body = checkout(1).replace(b"Ada Lovelace", b"half \\ud83d an emoji \\u0000 and a null")
    assert web.post("/webhooks/stripe", **signed(body)).get_json()["outcome"] == "sale"
    assert all("half" in page for page in pages(browser, ledger)[4:6])


@sqlite_alone
def test_a_name_typed_at_login_is_text_without_control_characters(
    app: Flask, post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    post(checkout())
    client = app.test_client()
    client.post("/login", data={"password": "password of the tests", "name": "<b>\x00\u202eEve\n" + "x" * 100})
    with client.session_transaction() as session:
        assert session["name"] == "<b>Eve" + "x" * 34
    assert "&lt;b&gt;Eve" in client.get("/").text


def test_replay_from_the_page_is_recorded_with_who_asked(
    browser: Browser, post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    post(checkout())
    (delivery,) = settle(ledger, "permanent", status=422, error="the destination rejected this payload")
    page = browser.get(f"/deliveries/{delivery}").text
    assert "the destination rejected this payload" in page
    assert ">Replay<" in page
    answer = browser.submit(f"/deliveries/{delivery}/replay")
    assert answer.headers["Location"] == f"/deliveries/{delivery}"
    assert "It was dead and is due now." in browser.get(f"/deliveries/{delivery}").text
    assert one(ledger, "SELECT status, attempts FROM deliveries") == ("pending", 1)
    assert one(ledger, "SELECT actor, action, subject FROM audit") == ("Grace", "replay", f"delivery {delivery}")
    settle(ledger, "delivered")
    page = browser.get(f"/deliveries/{delivery}").text
    assert "manual" in page
    assert ">Replay<" not in page


def test_a_login_name_that_no_database_takes_does_not_break_the_audit_log(
    app: Flask, post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    post(checkout())
    browser = Browser(app.test_client(), "password of the tests")
    browser.client.post(
        "/login", data={"password": "password of the tests", "name": "\x00\ud83d".encode("utf-8", "surrogatepass")}
    )
    (delivery,) = one(ledger, "SELECT id FROM deliveries")
    assert browser.submit(f"/deliveries/{delivery}/discard").status_code == 302
    assert count(ledger, "audit") == 1


def test_discard_from_the_page_closes_a_delivery(
    browser: Browser, post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    post(checkout())
    (delivery,) = one(ledger, "SELECT id FROM deliveries")
    assert browser.submit(f"/deliveries/{delivery}/discard").status_code == 302
    assert one(ledger, "SELECT status, due_at FROM deliveries") == ("discarded", None)
    assert begin(ledger) == []


def test_what_is_being_sent_is_left_alone_and_said_so(
    browser: Browser, post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    post(checkout())
    (claimed,) = begin(ledger)
    for verb in ("replay", "discard"):
        browser.submit(f"/deliveries/{claimed.id}/{verb}")
        assert "being sent: skipped" in browser.get(f"/deliveries/{claimed.id}").text
    assert one(ledger, "SELECT claim FROM deliveries") == (claimed.claim,)


@sqlite_alone
@pytest.mark.parametrize("number", ["0", "12345", str(2**63), "9" * 40])
def test_what_is_not_there_is_404(browser: Browser, number: str) -> None:
    for path in (f"/deliveries/{number}", f"/events/{number}"):
        assert browser.get(path).status_code == 404
    for verb in ("replay", "discard"):
        assert browser.submit(f"/deliveries/{number}/{verb}").status_code == 404


@sqlite_alone
def test_filters_that_mean_nothing_are_refused(browser: Browser) -> None:
    for path in ("/deliveries?status=lost", "/events?outcome=lost", "/events?before=x", "/deliveries?before=-1"):
        assert browser.get(path).status_code == 422


def test_lists_are_paged_with_nothing_twice_and_nothing_left_out(
    browser: Browser, post: Callable[[bytes], Any]
) -> None:
    for number in range(1, 62):
        post(checkout(number))
    first = browser.get("/deliveries").text
    older = html.unescape(first.split('">Older</a>')[0].rsplit('href="', 1)[1])
    second = browser.get(older).text
    found = [[f"pi_{n}<" in page for page in (first, second)] for n in range(1, 62)]
    assert all(sum(where) == 1 for where in found)
    assert "Older" not in second
    assert 'href="/deliveries">Newest</a>' in second
    assert "Newest" not in first


LISTS = {
    "/deliveries": {
        "": 4, "status=dead": 2, "status=delivered": 2, "source=stripe": 4, "source=typeform": 0, "kind=lead": 0, "code=422": 2,
        "since=1h": 4, "until=1h": 0, "q=p1@": 1, "q=user_2": 1, "q=pi_3": 1, "q=cs_3": 1, "q=clk_4": 1, "q=evt_1": 1,
        "destination=sandbox": 4, "destination=other": 0, "q=p1@&status=delivered": 0, "since=today": 4,
    },
    "/events": {
        "": 5, "outcome=sale": 4, "outcome=parked": 1, "source=stripe": 5, "source=typeform": 0, "since=1h": 5, "until=1h": 0,
        "q=p1@": 1, "q=pi_3": 1, "q=evt_": 5, "q=evt_&outcome=parked": 1, "since=today&until=yesterday": 0,
    },
}  # fmt: skip


@pytest.mark.parametrize("path", LISTS)
def test_lists_are_filtered_and_so_is_their_csv(
    browser: Browser, post: Callable[[bytes], Any], ledger: Ledger, path: str
) -> None:
    for number in (1, 2):
        post(checkout(number))
    settle(ledger, "permanent", status=422, error="no")
    for number in (3, 4):
        post(checkout(number))
    settle(ledger, "delivered")
    post(checkout(5, customer_details={"email": None}, metadata={}))
    for query, expected in LISTS[path].items():
        assert browser.get(f"{path}?{query}").text.count('<td class="c-status">') == expected, query
        assert browser.get(f"{path}.csv?{query}").text.count("\n") == expected + 1, query
    assert browser.get(f"{path}?source=;").status_code == 422


@sqlite_alone
def test_where_there_are_several_destinations_lists_say_which(
    make_app: Callable[..., Flask], ledger: Ledger, tmp_path: Path
) -> None:
    table = '[destinations.{}]\nurl = "https://{}.example"\ntoken_env = "DESTINATION_TOKEN"\n'
    (tmp_path / "two.toml").write_text(table.format("one", "one") + table.format("other", "other"))
    app = make_app(BRIDGE_CONFIG=str(tmp_path / "two.toml"), DESTINATION_TOKEN="token", STRIPE_ALLOW_TEST_EVENTS="1")
    browser = Browser(app.test_client(), "password of the tests")
    browser.client.post("/webhooks/stripe", **signed(checkout(1)))
    assert browser.get("/deliveries").text.count('<td class="c-next">o') == 2
    assert browser.get("/deliveries?destination=other").text.count('<td class="c-status">') == 1
    settle(ledger, "permanent", status=422, error="no", destination="one")
    assert '<td class="c-next">one</td>' in browser.get("/failed?destination=one").text
    assert browser.get("/failed?destination=other").text.count('<td class="c-status">') == 0


@sqlite_alone
def test_the_first_page_says_in_one_sentence_whether_it_works(
    browser: Browser, post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    def verdict() -> str:
        return html.unescape(
            browser.get("/").text.split('<p class="verdict', 1)[1].split("</p>")[0].split("</span>")[1]
        ).strip()

    assert "No worker is alive" in verdict()
    with ledger.write() as tx:
        now = tx.now()
    statement = "INSERT INTO workers (host, pid, pid_started, started_at, heartbeat_at) VALUES ('h', 1, '', ?, ?)"
    change(ledger, statement, now, now + 60_000)
    assert "Nothing has come in yet" in verdict()
    post(checkout(1))
    assert "All caught up. Every accepted conversion is delivered or in flight." in verdict()
    settle(ledger, "transient", retry=True, status=500)
    assert "1 delivery failed and will be retried automatically." in verdict()
    post(checkout(2))
    settle(ledger, "permanent", status=422)
    assert "1 delivery failed permanently." in verdict()
    post(checkout(3))
    settle(ledger, "unauthorized", retry=True, status=401)
    assert "is paused" in verdict()


@sqlite_alone
def test_a_ledger_that_is_away_is_an_error_page_and_not_a_crash(
    browser: Browser, ledger: Ledger, ledger_url: str
) -> None:
    from tests.support.makers import away

    with away(ledger, ledger_url):
        answer = browser.get("/")
    assert answer.status_code == 503
    assert browser.get("/").status_code == 200
