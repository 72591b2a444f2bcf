"""A ledger that a released version left is read, forwarded and written under this code."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.config.settings import Settings
from app.destinations.target import destinations_of
from app.ledger.engine import Ledger
from app.ledger.schema import HEAD, check_schema, current_revision, upgrade
from app.web.factory import create_app
from tests.conftest import FakeDestination, wait_for
from tests.support.makers import change, checkout, count, one, signed
from tests.support.old_version import run, versions
from tests.support.released_ledgers import REVISIONS, load, revisions
from tests.web.conftest import Browser
from tests.web.test_every_page import pages
from workers.forward import Forwarder


@pytest.mark.parametrize("revision", revisions())
def test_a_ledger_of_a_released_version_goes_on_under_this_one(
    empty: Ledger, empty_url: str, revision: str, make_settings: Callable[..., Settings], destination: FakeDestination
) -> None:
    load(revision, empty_url)
    upgrade(empty)
    assert count(empty, "events") == 8
    settings = make_settings(
        DESTINATION_URL=destination.url,
        DESTINATION_TOKEN="token-of-the-tests",
        DESTINATION_ALLOW_PRIVATE="1",
        STRIPE_ALLOW_TEST_EVENTS="1",
    )
    app = create_app(settings, empty)
    browser, web = Browser(app.test_client(), "password of the tests"), app.test_client()
    ids = [path for (path,) in rows(empty, "SELECT id FROM deliveries")]
    events = [path for (path,) in rows(empty, "SELECT id FROM events")]
    persons = [path for (path,) in rows(empty, "SELECT id FROM persons WHERE merged_into IS NULL")]
    shown = [f"/deliveries/{n}" for n in ids] + [f"/events/{n}" for n in events] + [f"/persons/{n}" for n in persons]
    for path in [*pages(app), *shown]:
        if path not in ("/statusz", "/static/<path:filename>"):
            assert browser.get(path).status_code in (200, 302), path
    assert web.post("/webhooks/stripe", **signed(checkout(4))).get_json()["outcome"] == "duplicate"
    assert web.post("/webhooks/stripe", **signed(checkout(5))).get_json()["outcome"] == "duplicate", (
        "promised by the same event"
    )
    paid = checkout(5, event_id="evt_5_paid").replace(b"session.completed", b"session.async_payment_succeeded")
    assert web.post("/webhooks/stripe", **signed(paid)).get_json()["outcome"] == "sale"
    assert web.post("/webhooks/stripe", **signed(checkout(50))).get_json()["outcome"] == "sale"
    change(empty, "UPDATE deliveries SET due_at = 0 WHERE status = 'retrying'")
    stop = threading.Event()
    forwarder = Forwarder(empty, destinations_of(settings), settings.schedule_seconds, 900, stop)
    forwarder.worker_id = 1
    wait_for(lambda: forwarder.run(lambda: None) == 0)
    forwarder.close()
    assert dict(rows(empty, "SELECT status, COUNT(*) FROM deliveries GROUP BY status")) == {"delivered": 6, "dead": 1}
    assert one(empty, "SELECT COUNT(*) FROM deliveries WHERE due_at IS NOT NULL") == (0,)
    assert sorted(payload["invoiceId"] for payload in destination.payloads) == ["pi_3", "pi_4", "pi_5", "pi_50"]
    app.extensions["writer"].stop()
    app.extensions["refusals"].stop()


@pytest.mark.parametrize("version", versions())
def test_a_released_version_starts_records_and_forwards_on_the_ledger_of_this_one(
    empty: Ledger, empty_url: str, version: str, destination: FakeDestination, tmp_path: Path
) -> None:
    load(REVISIONS[version], empty_url)
    upgrade(empty)
    webhooks = [signed(checkout(number)) for number in (60, 61)]
    done = run(version, tmp_path / "old", empty_url, destination.url, webhooks)
    assert done["head"] == REVISIONS[version]
    assert done["statuses"] == [200, 200]
    assert done["pages"] == [503, 200, 200, 200], "/readyz of 0.1.0 wants Redis and a worker"
    assert current_revision(empty) == HEAD, "its own upgrade changed nothing"
    check_schema(empty)
    assert sorted(payload["invoiceId"] for payload in destination.payloads) == ["pi_3", "pi_4", "pi_60", "pi_61"]
    assert one(empty, "SELECT COUNT(*) FROM deliveries WHERE status = 'delivered'") == (6,)


def rows(ledger: Ledger, statement: str) -> list[tuple[Any, ...]]:
    with ledger.read() as tx:
        return [tuple(row) for row in tx.run(statement).all()]
