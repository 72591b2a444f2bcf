"""One delivery: what was sent, what came of it, and editing what the destination will not take."""

import html
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from app.ledger.actions.edit import is_edited
from app.ledger.engine import Ledger
from app.ledger.forwarding.claims import Claimed
from app.ledger.forwarding.outcomes import Outcome
from tests.conftest import FakeDestination
from tests.support.makers import begin, change, checkout, one, settle, signed
from tests.web.conftest import Browser

sqlite_alone = pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)


@pytest.fixture
def dead(post: Callable[[bytes], Any], ledger: Ledger) -> int:
    """A delivery that the destination refused, with the answer that says why."""
    post(checkout(1))
    answer = '{"error":"this currency is not enabled"}'
    return settle(
        ledger, "permanent", status=422, error="answered 422: the destination rejected this payload", answer=answer
    )[0]


def payload(ledger: Ledger, delivery: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(one(ledger, "SELECT payload FROM deliveries WHERE id = ?", delivery)[0])
    return found


def edited(ledger: Ledger, delivery: int, **changes: Any) -> str:
    return json.dumps(payload(ledger, delivery) | changes)


def test_the_page_tells_the_whole_story(browser: Browser, dead: int) -> None:
    text = html.unescape(browser.get(f"/deliveries/{dead}").text)
    for part in (
        "this currency is not enabled",
        '"invoiceId": "pi_1"',
        "sale:stripe:pi_1",
        '"id": "cs_1"',
        "Ada Lovelace",
        "server: x",
    ):
        assert part in text
    assert re.search(r'href="/persons/\d+"', text)
    assert re.search(r'href="/events/\d+"', text)


@sqlite_alone
def test_it_is_shown_as_a_curl_command_that_a_shell_reads_and_that_holds_no_token(
    make_app: Callable[..., Flask], post: Callable[[bytes], Any], ledger: Ledger, browser: Browser
) -> None:
    body = checkout(1, customer_details={"email": "p1@example.com", "name": 'O\'Brien $(reboot) `x` \\ "q"'})
    post(body)
    (delivery,) = one(ledger, "SELECT id FROM deliveries")
    text = html.unescape(browser.get(f"/deliveries/{delivery}").text)
    command = re.findall(r"(curl -X POST .*?)</pre>", text, re.DOTALL)[0]
    words = shlex.split(command)
    assert words[:3] == ["curl", "-X", "POST"]
    assert words[3].endswith("/sandbox/track/sale")
    assert "Authorization: Bearer $DESTINATION_TOKEN" in words
    assert "Idempotency-Key: sale:stripe:pi_1" in words
    assert words[-1] == one(ledger, "SELECT payload FROM deliveries")[0]


def test_the_page_says_what_comes_next_and_when(browser: Browser, post: Callable[[bytes], Any], ledger: Ledger) -> None:
    post(checkout(1))
    (delivery,) = one(ledger, "SELECT id FROM deliveries")

    def message() -> str:
        text = browser.get(f"/deliveries/{delivery}").text.split('<p class="lead">')[1].split("</p>")[0]
        return html.unescape(re.sub("<[^>]+>", "", text))

    assert "Next: attempt 1, " in message()
    settle(ledger, "unknown", retry=True, status=500, error="answered 500")
    assert "Next: attempt 2, " in message()
    assert ". 8 more retries if it fails." in message()
    assert "The destination may have recorded it." in browser.get(f"/deliveries/{delivery}").text
    change(ledger, "UPDATE deliveries SET attempts = 9")
    assert ", the last one of the schedule." in message()
    change(ledger, "UPDATE deliveries SET schedule_start = 9")
    assert ". 9 more retries if it fails." in message()
    change(ledger, "UPDATE destinations SET failures = 50")
    assert "sandbox is not responding" in message()
    browser.submit("/destination/sandbox/pause", reason="maintenance")
    assert "Waiting: sandbox is paused. It is sent once you resume the destination." in message()


@sqlite_alone
def test_it_leads_to_the_deliveries_of_the_same_conversion_to_other_destinations(
    make_app: Callable[..., Flask], ledger: Ledger, tmp_path: Path
) -> None:
    table = '[destinations.{0}]\nurl = "https://{0}.example"\ntoken_env = "TOKEN_OF_{0}"\n'
    (tmp_path / "two.toml").write_text(table.format("one") + table.format("other"))
    app = make_app(
        BRIDGE_CONFIG=str(tmp_path / "two.toml"), TOKEN_OF_one="t", TOKEN_OF_other="t", STRIPE_ALLOW_TEST_EVENTS="1"
    )
    browser = Browser(app.test_client(), "password of the tests")
    browser.client.post("/webhooks/stripe", **signed(checkout(1)))
    settle(ledger, "permanent", status=422, error="no", destination="other")
    (here,) = one(ledger, "SELECT id FROM deliveries WHERE destination = 'one'")
    (there,) = one(ledger, "SELECT id FROM deliveries WHERE destination = 'other'")
    text = browser.get(f"/deliveries/{here}").text
    assert f'other: <a href="/deliveries/{there}">delivery {there}</a> <span class="badge dead">dead</span>' in text
    assert "$TOKEN_OF_one" in text


def test_an_edited_payload_goes_out_under_a_key_of_its_own(browser: Browser, dead: int, ledger: Ledger) -> None:
    assert "Edit and send" in browser.get(f"/deliveries/{dead}").text
    assert '"invoiceId": "pi_1"' in html.unescape(browser.get(f"/deliveries/{dead}/edit").text)
    browser.submit(f"/deliveries/{dead}/edit", payload=edited(ledger, dead, currency="EUR", amount=18.5))
    (claimed,) = begin(ledger)
    assert claimed.dedupe_key == "sale:stripe:pi_1:edit-1"
    assert claimed.by_hand
    sent = json.loads(claimed.payload)
    assert (sent["currency"], sent["amount"], sent["invoiceId"]) == ("EUR", 18.5, "pi_1")
    actor, action, detail = one(ledger, "SELECT actor, action, detail FROM audit")
    assert (actor, action, detail) == ("Grace", "edit", "edit 1: amount, currency")
    settle(ledger, "permanent", claimed=[claimed], status=422, error="again")
    browser.submit(f"/deliveries/{dead}/edit", payload=edited(ledger, dead, currency="USD"))
    (claimed,) = begin(ledger)
    assert claimed.dedupe_key == "sale:stripe:pi_1:edit-2"
    assert claimed.attempts == 2


@sqlite_alone
@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"invoiceId": "pi_2"}, "cannot be changed: invoiceId"),
        ({"event": "lead"}, "cannot be changed: event"),
        ({"customerExternalId": ""}, "customerExternalId must not be empty"),
        ({"customerExternalId": None}, "customerExternalId must be text in quotes"),
        ({}, "nothing was changed"),
    ],
)
def test_what_an_edit_must_not_touch(
    browser: Browser, dead: int, ledger: Ledger, changes: dict[str, Any], why: str
) -> None:
    answer = browser.submit(f"/deliveries/{dead}/edit", payload=edited(ledger, dead, **changes))
    assert answer.status_code == 422
    assert why in html.unescape(answer.text).replace("Nothing", "nothing")
    assert one(ledger, "SELECT status FROM deliveries") == ("dead",)


@sqlite_alone
@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "x" * 300_000,
        '{"a":' * 5000,
        '{"event":"sale","invoiceId":"pi_1","customerExternalId":"u","n":NaN}',
    ],
)
def test_what_is_no_payload_is_refused_and_kept_for_another_try(
    browser: Browser, dead: int, ledger: Ledger, text: str
) -> None:
    answer = browser.submit(f"/deliveries/{dead}/edit", payload=text)
    assert answer.status_code == 422
    assert html.escape(text[:100], quote=False).replace('"', "&#34;") in answer.text
    assert one(ledger, "SELECT status, dedupe_key FROM deliveries") == ("dead", "sale:stripe:pi_1")


def test_an_edit_is_checked_and_shown_before_it_is_sent(browser: Browser, dead: int, ledger: Ledger) -> None:
    path = f"/deliveries/{dead}/edit"
    assert "Send edited payload" not in browser.get(path).text
    wrong = browser.submit(path, payload=edited(ledger, dead, amount="abc"), do="review")
    assert wrong.status_code == 422
    assert "Not sent: amount" in wrong.text
    assert "Send edited payload" not in wrong.text
    shown = browser.submit(path, payload=edited(ledger, dead, currency="EUR", name="</td><script>"), do="review")
    assert shown.status_code == 200
    rows = re.findall(
        r'<th scope="row" class="mono">(\w+)</th><td class="mono wrap">(.*?)</td><td class="mono wrap">(.*?)</td>',
        shown.text,
    )
    assert [tuple(map(html.unescape, row)) for row in rows] == [
        ("name", '"Ada Lovelace"', '"</td><script>"'),
        ("currency", '"USD"', '"EUR"'),
    ]
    assert "Send edited payload" in shown.text
    assert one(ledger, "SELECT status FROM deliveries WHERE id = ?", dead) == ("dead",)
    assert one(ledger, "SELECT COUNT(*) FROM audit") == (0,)


def test_what_the_destination_may_have_is_not_edited(
    browser: Browser, post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    post(checkout(1))
    settle(ledger, "unknown", retry=True, status=500, error="answered 500")
    change(ledger, "UPDATE deliveries SET due_at = 1")
    (delivery,) = settle(ledger, "permanent", status=422, error="no")
    assert "Edit and send" not in browser.get(f"/deliveries/{delivery}").text
    assert browser.get(f"/deliveries/{delivery}/edit").status_code == 302
    browser.submit(f"/deliveries/{delivery}/edit", payload=edited(ledger, delivery, currency="EUR"))
    assert "may have it" in browser.get(f"/deliveries/{delivery}").text
    assert one(ledger, "SELECT status, dedupe_key FROM deliveries") == ("dead", "sale:stripe:pi_1")


@pytest.mark.parametrize("result", ["delivered", None])
def test_only_a_dead_delivery_is_edited(
    browser: Browser, post: Callable[[bytes], Any], ledger: Ledger, result: str | None
) -> None:
    post(checkout(1))
    (delivery,) = one(ledger, "SELECT id FROM deliveries")
    if result:
        settle(ledger, result)
    before = payload(ledger, delivery)
    browser.submit(f"/deliveries/{delivery}/edit", payload=edited(ledger, delivery, currency="EUR"))
    assert payload(ledger, delivery) == before


def test_409_to_an_edit_is_dead_and_to_anything_else_delivered(destination: FakeDestination) -> None:
    from app.destinations.formats.registry import format_of
    from app.destinations.target import Destination
    from workers.senders import EventLoop, SenderPool

    destination.answer = lambda _request: (409, {}, b"{}")
    target = Destination("main", destination.url, "token", format_of("events"), allow_private=True)
    loop = EventLoop()
    pool = SenderPool(target, (5.0,), 1, loop)
    results = {}
    for number, key in enumerate(("sale:stripe:pi_1", "sale:stripe:pi_1:edit-1", "sale:stripe:pi_1:edit-12"), 1):
        pool.submit([Claimed(number, "1.1", "sale", "{}", key, 0, 0, 0, False)], 1e12)
        outcomes: list[Outcome] = []
        while not outcomes:
            outcomes, _ = pool.collect()
        results[key] = (outcomes[0].result, outcomes[0].due_at)
    pool.close()
    loop.close()
    assert results["sale:stripe:pi_1"] == ("delivered", None)
    assert results["sale:stripe:pi_1:edit-1"] == results["sale:stripe:pi_1:edit-12"] == ("permanent", None)
    assert not is_edited("sale:stripe:edit-1")


def test_undoing_a_discard_makes_it_what_it_was(browser: Browser, dead: int, ledger: Ledger) -> None:
    browser.submit(f"/deliveries/{dead}/discard")
    assert "Undo discard" in browser.get(f"/deliveries/{dead}").text
    browser.submit(f"/deliveries/{dead}/undo")
    assert one(ledger, "SELECT status, due_at FROM deliveries") == ("dead", None)
    browser.submit(f"/deliveries/{dead}/undo")
    assert "It is dead: skipped." in browser.get(f"/deliveries/{dead}").text


@sqlite_alone
def test_a_read_only_login_is_offered_nothing_and_gets_nothing_by_asking(
    make_app: Callable[..., Flask], dead: int, ledger: Ledger
) -> None:
    viewer = Browser(make_app(DASHBOARD_VIEWER_PASSWORD="viewers may look").test_client(), "viewers may look")
    assert "Edit and send" not in viewer.get(f"/deliveries/{dead}").text
    assert viewer.get(f"/deliveries/{dead}/edit").status_code == 403
    for verb in ("edit", "undo"):
        assert viewer.submit(f"/deliveries/{dead}/{verb}", payload="{}").status_code == 403


def test_a_sale_that_waits_for_its_persons_lead_says_so_until_the_lead_is_delivered(
    browser: Browser, post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    post(checkout(1))
    (sale, person) = one(ledger, "SELECT id, person_id FROM deliveries")
    change(ledger, "UPDATE deliveries SET kind = 'lead', dedupe_key = 'lead:x' WHERE id = ?", sale)
    post(checkout(2, metadata={"user_id": "user_1"}))
    (later, same) = one(ledger, "SELECT id, person_id FROM deliveries ORDER BY id DESC")
    assert same == person
    page = browser.get(f"/deliveries/{later}").text
    assert "Waiting for this person’s Lead" in page
    assert f'href="/deliveries/{sale}">delivery {sale}</a>' in page
    message = browser.client.get(
        f"/api/v1/deliveries/{later}", headers={"Authorization": "Bearer api token of the tests"}
    )
    assert message.get_json()["waits_for"] == sale
    assert "Waiting for this person’s Lead" not in browser.get(f"/deliveries/{sale}").text
    assert settle(ledger, "delivered", claimed=[c for c in begin(ledger) if c.id == sale]) == [sale]
    assert "Waiting for this person’s Lead" not in browser.get(f"/deliveries/{later}").text
