"""Failed deliveries: found by what somebody has in hand, grouped by why, and fixed many at once."""

import html
import json
import re
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from flask import Flask

from app.ledger.engine import Ledger
from app.ledger.forwarding.outcomes import LONGEST_ERROR
from app.ledger.reading import deliveries, filters, search
from tests.support.makers import begin, change, checkout, count, one, settle
from tests.web.conftest import Browser


def fail(
    ledger: Ledger,
    post: Callable[[bytes], Any],
    numbers: Iterable[object],
    status: int = 422,
    error: str = "answered 422: the destination rejected this payload",
) -> list[int]:
    for number in numbers:
        post(checkout(number))
    return settle(ledger, "permanent", status=status, error=error)


def shown(text: str) -> list[int]:
    """Deliveries that a page of failed deliveries lists."""
    return [int(found) for found in re.findall(r'name="id" value="(\d+)"', text)]


def test_a_failed_delivery_is_found_by_whatever_is_known_of_it(
    browser: Browser, post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    failed = fail(ledger, post, (6, 7, 8))
    for text in [
        "p7@example.com",
        "P7@Example.com ",
        "p7@exa",
        "user_7",
        "pi_7",
        "cs_7",
        "evt_7",
        "clk_7",
        "sale:stripe:pi_7",
        "stripe:evt_7",
    ]:
        found = shown(browser.get(f"/failed?q={text}").text)
        assert len(found) == 1, text
        assert found[0] in failed, text
        assert f"/deliveries/{found[0]}" in browser.get(f"/search?q={text}").text, text
        assert one(ledger, "SELECT dedupe_key FROM deliveries WHERE id = ?", found[0])[0] == "sale:stripe:pi_7", text


def test_what_nothing_is_known_by_finds_nothing(browser: Browser, post: Callable[[bytes], Any], ledger: Ledger) -> None:
    fail(ledger, post, (1,))
    for text in [
        "nobody@example.com",
        "%",
        "_",
        "p_@example.com",
        "' OR 1=1 --",
        "\u0000x",
        "999999",
        "9" * 40,
        "\U0010ffff",
    ]:
        for page in ("/failed", "/search"):
            answer = browser.client.get(page, query_string={"q": text})
            assert answer.status_code == 200, text
            assert not re.search("/(deliveries|persons)/[0-9]", answer.text), text


def test_failures_are_grouped_by_status_and_message(
    browser: Browser, post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    fail(ledger, post, (1, 2, 3))
    fail(ledger, post, (4,), status=400, error="answered 400: the destination rejected this payload")
    post(checkout(5))
    settle(ledger, "transient", retry=True, status=503, error="answered 503")
    with ledger.read() as tx:
        groups = deliveries.groups(tx, filters.Filter(), ["stripe"])
    assert [(g["status"], g["code"], g["count"]) for g in groups] == [
        ("retrying", 503, 1),
        ("dead", 400, 1),
        ("dead", 422, 3),
    ]
    page = browser.get("/failed").text
    link = html.unescape(re.findall(r'href="(/failed\?[^"]*422[^"]*)"', page)[0])
    assert len(shown(browser.get(link).text)) == 3


def test_a_group_says_what_the_destination_answered_last(
    browser: Browser, post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    for number, message in ((1, "an older answer"), (2, "TRY is <b>not</b> enabled")):
        post(checkout(number))
        answer = json.dumps({"error": {"code": "x", "message": message}})
        (dead,) = settle(ledger, "permanent", status=422, error="answered 422: no", answer=answer)
    groups = browser.get("/failed").text.split("</table>")[0]
    assert "“TRY is &lt;b&gt;not&lt;/b&gt; enabled”" in groups
    assert "an older answer" not in groups
    assert "Answered 422: no. The destination said: <b" in browser.get(f"/deliveries/{dead}").text


def test_an_error_of_any_length_is_recorded_and_grouped(
    browser: Browser, post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    long = "😀" * 5000
    post(checkout(1))
    (dead,) = settle(ledger, "permanent", status=422, error=long)
    assert one(ledger, "SELECT status, last_error FROM deliveries") == ("dead", long[:LONGEST_ERROR])
    assert one(ledger, "SELECT error FROM attempts") == (long,)
    page = browser.get("/failed").text
    link = html.unescape(re.findall(r'href="(/failed\?[^"]*reason[^"]*)"', page)[0])
    assert shown(browser.get(link).text) == [dead]


def test_a_filter_for_what_has_not_failed_finds_it_all_the_same(post: Callable[[bytes], Any], ledger: Ledger) -> None:
    post(checkout(1))
    settle(ledger, "delivered")
    with ledger.read() as tx:
        found = deliveries.failed(tx, filters.Filter(statuses=("delivered",)), ["stripe"])
        assert deliveries.count(tx, filters.Filter(statuses=("delivered", "dead")), ["stripe"]) == (
            1,
            True,
        )
    assert [row["status"] for row in found.rows] == ["delivered"]


def test_both_click_ids_of_a_person_find_them_whole_or_by_their_beginning(
    post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    post(checkout(1))
    post(checkout(2, metadata={"user_id": "user_1", "clickId": "other_2"}))
    (person,) = one(ledger, "SELECT person_id FROM deliveries ORDER BY id")
    with ledger.read() as tx:
        for text in ("clk_1", "clk", "other_2", "oth"):
            assert list(search.find(tx, text, ["stripe"]).person_ids) == [person], text


def test_filters_narrow_what_is_shown(browser: Browser, post: Callable[[bytes], Any], ledger: Ledger) -> None:
    fail(ledger, post, (1, 2))
    fail(ledger, post, (3,), status=400, error="answered 400")
    post(checkout(4))
    settle(ledger, "transient", retry=True, status=503, error="answered 503")
    change(ledger, "UPDATE deliveries SET created_at = created_at - 86400000 WHERE last_status = 400")
    expected = {
        "": 4, "status=dead": 3, "status=retrying": 1, "code=422": 2, "source=stripe": 4, "source=typeform": 0,
        "kind=lead": 0, "kind=sale": 4, "since=1h": 3, "until=1h": 1, "since=1h&code=400": 0, "q=p1@&code=422": 1,
    }  # fmt: skip
    assert {query: len(shown(browser.get(f"/failed?{query}").text)) for query in expected} == expected


def test_a_filter_that_means_nothing_is_refused(browser: Browser) -> None:
    for query in ["status=delivered", "kind=x", "code=abc", "since=tomorrow", "before=x", "until=9999999999d"]:
        assert browser.get(f"/failed?{query}").status_code == 422, query


def test_pages_follow_each_other_with_nothing_twice_and_nothing_left_out(
    browser: Browser, post: Callable[[bytes], Any], ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "SCAN", 7)
    monkeypatch.setattr("app.web.pages.failed.ROWS", 4)
    failed = []
    for number in range(1, 31):
        post(checkout(number))
        if number % 3:
            failed += settle(ledger, "permanent", status=422, error="no")
        else:
            failed += settle(ledger, "transient", retry=True, status=500, error="later")
    seen: list[int] = []
    path: str | None = "/failed"
    while path:
        text = browser.get(path).text
        seen += shown(text)
        older = re.findall(r'href="([^"]*before=\d+)"', text)
        path = html.unescape(older[-1]) if older else None
    assert seen == sorted(failed, reverse=True)


def test_those_that_were_ticked_are_replayed_after_a_confirmation(
    browser: Browser, post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    failed = fail(ledger, post, (1, 2, 3))
    asked = browser.client.post("/failed/confirm", data={"csrf": browser.csrf, "verb": "replay", "id": failed[:2]})
    assert "Replay 2 deliveries?" in asked.text
    assert '<span class="num">2</span> Sales</dd>' in asked.text
    assert one(ledger, "SELECT COUNT(*) FROM deliveries WHERE status = 'dead'") == (3,)
    done = browser.client.post("/failed/run", data={"csrf": browser.csrf, "verb": "replay", "id": failed[:2]})
    assert "2</b> deliveries are due now" in done.text
    assert sorted(c.id for c in begin(ledger)) == failed[:2]
    assert one(ledger, "SELECT COUNT(*) FROM audit WHERE actor = 'Grace' AND part_of > 0") == (2,)


@pytest.mark.parametrize("verb", ["replay", "discard"])
def test_with_nothing_ticked_nothing_is_asked_and_nothing_is_done(
    browser: Browser, post: Callable[[bytes], Any], ledger: Ledger, verb: str
) -> None:
    fail(ledger, post, (1, 2))
    answer = browser.submit("/failed/confirm", verb=verb, code="422")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/failed?code=422")
    assert "Nothing was selected: select deliveries" in browser.get("/failed").text
    assert "0</b> deliveries" in browser.submit("/failed/run", verb=verb, code="422").text
    assert one(ledger, "SELECT COUNT(*) FROM deliveries WHERE status = 'dead'") == (2,)


def test_a_bulk_replay_goes_by_batches_and_shows_how_far_it_came(
    browser: Browser, post: Callable[[bytes], Any], ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.ledger.actions.bulk.BULK", 10)
    failed = fail(ledger, post, range(1, 26))
    fail(ledger, post, (99,), status=400, error="other")
    asked = browser.submit("/failed/confirm", verb="replay", all="1", code="422")
    assert "Replay 25 deliveries?" in asked.text
    report, form = (
        [],
        dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', asked.text)) | {"verb": "replay"},
    )
    form.pop("csrf")
    while True:
        text = browser.submit("/failed/run", **form).text
        assert ("<progress" in text) is ("data-go-on" in text)
        assert 'max="25"' in text or "Done" in text
        report.append(int(re.findall(r'num">(\d+)</b> deliver', text)[0]))
        if "data-go-on" not in text:
            break
        form = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', text.split("data-go-on", 1)[1]))
        form.pop("csrf")
    assert report == [10, 20, 25]
    assert sorted(c.id for c in begin(ledger)) == failed
    assert one(ledger, "SELECT COUNT(*) FROM deliveries WHERE status = 'dead'") == (1,)


@pytest.mark.parametrize("verb", ["replay", "discard"])
@pytest.mark.parametrize(("status", "acted_on"), [("", ["dead", "retrying", "tried"]), ("dead", ["dead"])])
def test_only_what_was_confirmed_is_acted_on(
    browser: Browser, post: Callable[[bytes], Any], ledger: Ledger, verb: str, status: str, acted_on: list[str]
) -> None:
    failed = {}
    for name, result in (("dead", "permanent"), ("retrying", "transient"), ("tried", "transient")):
        post(checkout(name))
        (failed[name],) = settle(ledger, result, retry=result == "transient", status=422)
    (failed["restored"],) = fail(ledger, post, ["restored"])
    browser.submit(f"/deliveries/{failed['restored']}/discard")
    post(checkout("waiting"))
    (waiting,) = begin(ledger)
    asked = browser.submit("/failed/confirm", verb=verb, all="1", status=status, since="1h").text
    assert f"{verb.capitalize()} {len(acted_on)} deliver" in asked
    form = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', asked.split("Cancel")[0]))
    form.pop("csrf")
    assert re.fullmatch(r"20\d\d-.*Z", form["since"])

    failed["waiting"] = settle(ledger, "permanent", claimed=[waiting], status=422)[0]
    change(ledger, "UPDATE deliveries SET due_at = 1 WHERE id = ?", failed["tried"])
    assert settle(ledger, "permanent", status=422) == [failed["tried"]]
    browser.submit(f"/deliveries/{failed['restored']}/undo")
    (failed["new"],) = fail(ledger, post, ["new"])
    assert one(ledger, "SELECT COUNT(*) FROM deliveries WHERE status = 'dead'") == (5,)

    assert f"{len(acted_on)}</b> deliver" in browser.submit("/failed/run", **{**form, "verb": verb}).text
    with ledger.read() as tx:
        changed = set(tx.run("SELECT subject FROM audit WHERE action = ? AND part_of IS NOT NULL", verb).scalars())
    assert changed == {f"delivery {failed[name]}" for name in acted_on}


def test_a_discard_can_be_undone_and_everything_is_as_it_was(
    browser: Browser, post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    fail(ledger, post, (1, 2))
    post(checkout(3))
    settle(ledger, "transient", retry=True, status=500, error="later")
    (other,) = fail(ledger, post, (4,), status=400, error="other")
    browser.submit(f"/deliveries/{other}/discard")
    before = one(ledger, "SELECT COUNT(*) FROM deliveries WHERE status IN ('dead', 'retrying')")
    text = browser.submit("/failed/run", verb="discard", all="1").text
    assert "3</b> deliveries are discarded" in text
    assert begin(ledger) == []
    mark = re.findall(r'name="mark" value="([^"]+)"', text)[0]
    assert "3</b> deliveries are as before" in browser.submit("/failed/run", verb="undo", mark=mark).text
    assert one(ledger, "SELECT COUNT(*) FROM deliveries WHERE status IN ('dead', 'retrying')") == before
    assert one(ledger, "SELECT status FROM deliveries WHERE id = ?", other) == (
        "discarded",
    )  # it was not of this discard
    assert "3</b> skipped" in browser.submit("/failed/run", verb="undo", mark=mark).text
    assert len(begin(ledger)) == 1  # the one that was retrying


def test_what_is_being_sent_is_left_alone_by_bulk_work(
    browser: Browser, post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    post(checkout(1))
    settle(ledger, "transient", retry=True, status=500, error="later")
    change(ledger, "UPDATE deliveries SET due_at = 1")
    (claimed,) = begin(ledger)
    for verb in ("replay", "discard"):
        assert "1</b> skipped" in browser.submit("/failed/run", verb=verb, all="1").text
    assert one(ledger, "SELECT claim FROM deliveries") == (claimed.claim,)


def test_nothing_of_a_forgotten_person_is_ever_sent_again(
    browser: Browser, post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    (delivery,) = fail(ledger, post, (1,))
    (person,) = one(ledger, "SELECT person_id FROM deliveries")
    browser.submit(f"/persons/{person}/forget")
    browser.submit(f"/deliveries/{delivery}/replay")
    browser.submit("/failed/run", verb="replay", all="1")
    browser.submit("/failed/run", verb="replay", id=str(delivery))
    assert begin(ledger) == []


def test_a_bulk_form_that_cannot_be_read_is_refused(browser: Browser) -> None:
    for form in [
        {},
        {"verb": "delete"},
        {"verb": "undo"},
        {"verb": "undo", "mark": "x"},
        {"verb": "replay", "after": "x"},
    ]:
        for path in ("/failed/confirm", "/failed/run"):
            assert browser.submit(path, **form).status_code == 400, form
    for path in ("/failed/run", "/resend"):  # more digits than Python reads
        fields = {"verb": "replay", "since": "1h", "done": "9" * 5000, "skipped": "9" * 5000}
        assert browser.submit(path, **fields).status_code == 200, path


def test_a_read_only_login_cannot_mend_many(make_app: Callable[..., Flask], ledger: Ledger) -> None:
    app = make_app(DASHBOARD_VIEWER_PASSWORD="viewers may look")
    viewer = Browser(app.test_client(), "viewers may look")
    for path in ("/failed/confirm", "/failed/run"):
        assert viewer.submit(path, verb="discard", all="1").status_code == 403
    assert "Discard" not in viewer.get("/failed").text
    assert count(ledger, "audit") == 0
