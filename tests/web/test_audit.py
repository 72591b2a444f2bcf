"""The audit log: bulk work is one line, filters, and what the bridge does by itself."""

import re
from collections.abc import Callable
from typing import Any

from app.ledger.actions import bulk
from app.ledger.engine import Ledger
from app.ledger.forwarding.breaker import BREAKER_FAILURES, ensure_destination
from app.ledger.reading.filters import Filter
from tests.support.makers import change, checkout, one, settle
from tests.web.conftest import API, Browser


def lines(browser: Browser, query: str = "") -> list[dict[str, Any]]:
    answer = browser.client.get(f"/api/v1/audit{query}", headers=API)
    assert answer.status_code == 200, answer.text
    assert answer.json is not None
    found: list[dict[str, Any]] = answer.json["audit"]
    return found


def test_a_bulk_in_several_batches_and_its_undo_are_one_line_each(
    browser: Browser, post: Callable[[bytes], Any], ledger: Ledger, monkeypatch: Any
) -> None:
    for number in range(1, 6):
        post(checkout(number))
    settle(ledger, "permanent", status=422)
    monkeypatch.setattr("app.ledger.actions.bulk.BULK", 2)
    job = bulk.run(ledger, bulk.Job("discard", Filter(("dead",), source="stripe")), ["stripe"], actor="grace")
    bulk.run(ledger, bulk.Job("undo", mark=job.mark), ["stripe"], actor="grace")
    bulk.run(ledger, bulk.Job("replay", Filter(("dead",), text="nobody@example.com")), ["stripe"], actor="grace")
    found = lines(browser)
    assert [(line["action"], line["detail"], line["group"]) for line in found] == [
        ("undo discard", "5", True),
        ("discard", "5: dead, source stripe", True),
    ]
    items = lines(browser, f"?part_of={found[1]['id']}")
    assert len(items) == 5
    assert {line["detail"].split(";")[0] for line in items} == {"was dead"}
    (delivery,) = one(ledger, "SELECT MIN(id) FROM deliveries")
    assert [line["action"] for line in lines(browser, f"?target={delivery}")] == ["undo discard", "discard"]
    page = browser.get("/audit").text
    assert len(re.findall("5 deliveries", page)) == 2
    assert f"/deliveries/{delivery}" in browser.get(f"/audit?part_of={found[1]['id']}").text
    assert "dead, source stripe" in page


def test_filters_and_paging(browser: Browser, ledger: Ledger) -> None:
    for number in range(120):
        change(
            ledger,
            "INSERT INTO audit (at, actor, action, subject, detail) VALUES (?, ?, ?, ?, '')",
            *(
                number * 1000,
                "grace" if number % 2 else "bridge",
                "replay" if number % 3 else "pause",
                f"delivery {number}",
            ),
        )
    assert len(lines(browser, "?actor=grace&limit=500")) == 60
    assert len(lines(browser, "?actor=bridge&action=pause&limit=500")) == 20
    assert [line["subject"] for line in lines(browser, "?target=delivery+119")] == ["delivery 119"]
    assert len(lines(browser, "?until=1970-01-01T00:00:10Z")) == 10
    seen, path = 0, "/audit"
    while path:
        page = browser.get(path).text
        seen += len(re.findall('<td class="c-when">', page))
        older = re.search(r'href="(/audit\?before=\d+)">Older', page)
        path = older[1] if older else ""
    assert seen == 120
    assert "No change matches" in browser.get("/audit?actor=nobody").text
    assert "&lt;script&gt;" in browser.get("/audit?actor=<script>").text


def test_what_the_bridge_does_by_itself_is_there(
    browser: Browser, post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    post(checkout(1))
    settle(ledger, "unauthorized", status=401, retry=True)
    assert [(line["actor"], line["action"], line["subject"]) for line in lines(browser)] == [
        ("bridge", "pause", "destination sandbox")
    ]
    assert "401" in lines(browser)[0]["detail"]
    with ledger.write() as tx:
        ensure_destination(tx, "sandbox", "another token")
    assert lines(browser)[0]["action"] == "resume"
    for number in range(2, 3 + BREAKER_FAILURES):
        post(checkout(number))
    settle(ledger, "transient", status=503, error="answered 503", retry=True)
    assert lines(browser)[0]["action"] == "open breaker"
    assert "answered 503" in lines(browser)[0]["detail"]
    change(ledger, "UPDATE deliveries SET due_at = 1 WHERE status IN ('pending', 'retrying')")
    change(ledger, "UPDATE destinations SET probe_at = 1")
    settle(ledger, "delivered")
    assert lines(browser)[0]["action"] == "close breaker"
