"""Shadow mode: what a destination would be sent is recorded and shown, and nothing is sent, until it is live."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from flask.testing import FlaskClient

from app.bootstrap import make_health, make_routes
from app.config.settings import Settings
from app.destinations.target import destinations_of
from app.ledger.engine import Ledger
from app.web.factory import create_app
from tests.conftest import FakeDestination
from tests.support.makers import checkout, signed
from tests.web.conftest import API, Browser
from workers.forward import Forwarder

TOML = """
[destinations.main]
mode = "live"

[destinations.crm]
url = "{url}/crm"
token_env = "CRM_TOKEN"
allow_private = true
mode = "{mode}"
"""


class Site:
    """A web and a worker with a live destination (main) and one that changes its mode (crm)."""

    def __init__(
        self, make_settings: Callable[..., Settings], ledger: Ledger, url: str, folder: Path, target: FakeDestination
    ) -> None:
        self._make, self.ledger, self._url, self._folder, self.target = make_settings, ledger, url, folder, target
        self.variables: dict[str, str] = {}

    def settings(self, mode: str) -> Settings:
        path = self._folder / "bridge.toml"
        path.write_text(TOML.format(url=self.target.url, mode=mode))
        self.variables = {
            "BRIDGE_CONFIG": str(path),
            "CRM_TOKEN": "token-of-the-crm",
            "DESTINATION_URL": f"{self.target.url}/main",
            "DESTINATION_TOKEN": "token-of-main",
            "DESTINATION_ALLOW_PRIVATE": "1",
            "STRIPE_ALLOW_TEST_EVENTS": "1",
            "STRIPE_HOLD": "1",
            "DATABASE_URL": self._url,
        }
        return self._make(**self.variables)

    @contextmanager
    def web(self, mode: str) -> Iterator[FlaskClient]:
        app = create_app(self.settings(mode), self.ledger)
        yield app.test_client()
        app.extensions["writer"].stop()
        app.extensions["refusals"].stop()

    def work(self, mode: str) -> None:
        """Sends what is due."""
        settings = self.settings(mode)
        forwarder = Forwarder(
            self.ledger, destinations_of(settings), (60.0,), 900, threading.Event(), routes=make_routes(settings)
        )
        forwarder.begin()
        forwarder.run(lambda: None)
        forwarder.close()

    def statuses(self) -> list[tuple[str, str]]:
        with self.ledger.read() as tx:
            rows = tx.run("SELECT destination, status FROM deliveries ORDER BY conversion_id, destination").all()
        return [(row[0], row[1]) for row in rows]

    def sent(self) -> list[tuple[str, str]]:
        found = [(request["path"].split("/")[1], request["json"]["invoiceId"]) for request in self.target.requests]
        return sorted(found)


@pytest.fixture
def site(
    make_settings: Callable[..., Settings],
    ledger: Ledger,
    ledger_url: str,
    tmp_path: Path,
    destination: FakeDestination,
) -> Site:
    return Site(make_settings, ledger, ledger_url, tmp_path, destination)


def bought(client: FlaskClient, number: int, **session: Any) -> None:
    assert client.post("/webhooks/stripe", **signed(checkout(number, **session))).status_code == 200


def api(client: FlaskClient, path: str) -> Any:
    return client.get(f"/api/v1/{path}", headers=API).json


def test_nothing_is_sent_in_shadow_mode_and_only_what_comes_later_once_it_is_live(
    site: Site, bridge: Callable[..., Result]
) -> None:
    with site.web("shadow") as client:
        bought(client, 1)
    site.work("shadow")
    assert site.statuses() == [("crm", "shadow"), ("main", "delivered")]
    with site.web("live") as client:
        bought(client, 2)
    site.work("live")
    assert site.sent() == [("crm", "pi_2"), ("main", "pi_1"), ("main", "pi_2")]
    with site.ledger.read() as tx:
        (older,) = tx.run("SELECT id FROM deliveries WHERE status = 'shadow'").scalars().all()
    refused = bridge("replay", "--to", "crm", "--id", older, **site.variables | {"BRIDGE_CONFIG": str(_shadowed(site))})
    assert refused.exit_code == 2
    assert "crm is in shadow mode" in refused.output
    site.settings("live")
    assert "1 skipped" in bridge("replay", "--id", older, **site.variables).output.replace("was skipped", "skipped")
    assert bridge("replay", "--to", "crm", "--since", "1h", **site.variables).exit_code == 0
    site.work("live")
    assert site.sent() == [("crm", "pi_1"), ("crm", "pi_2"), ("main", "pi_1"), ("main", "pi_2")]


def _shadowed(site: Site) -> Path:
    path = site._folder / "shadow.toml"
    path.write_text(TOML.format(url=site.target.url, mode="shadow"))
    return path


def test_what_is_open_when_a_destination_goes_into_shadow_mode_is_not_sent(site: Site) -> None:
    with site.web("live") as client:
        bought(client, 1)
    site.work("shadow")
    assert site.statuses() == [("crm", "shadow"), ("main", "delivered")]
    assert site.sent() == [("main", "pi_1")]


def test_a_shadow_delivery_is_never_open_and_leaves_everything_green(site: Site) -> None:
    site.target.answer = lambda request: (500 if "crm" in request["path"] else 200, {}, b"{}")
    with site.web("shadow") as client:
        bought(client, 1)
        site.work("shadow")
        health = make_health(site.settings("shadow"))
        with site.ledger.read() as tx:
            assert [problem.kind for problem in health.problems(tx, {"deliveries": {"dead": 0, "retrying": 0},
                                                                     "events": {"parked": 0}})] == ["no worker"]  # fmt: skip
            assert tx.run("SELECT COUNT(*) FROM deliveries WHERE due_at IS NOT NULL").scalar_one() == 0
        listed = api(client, "deliveries?status=shadow")["deliveries"]
        assert [(one["destination"], one["attempts"], one["payload"]["invoiceId"]) for one in listed] == [
            ("crm", 0, "pi_1")
        ]
        page = Browser(client, "password of the tests").get(f"/deliveries/{listed[0]['id']}").text
        assert "was in shadow mode" in page
        assert "/replay" not in page


def test_the_payload_follows_what_is_learned_and_a_repeat_of_the_purchase_withdraws_it(site: Site) -> None:
    with site.web("shadow") as client:
        bought(client, 1, metadata={}, client_reference_id=None)
        bought(client, 2, metadata={"clickId": "clk_late"}, customer_details={"email": "p1@example.com"})
        first, second = sorted(api(client, "deliveries?status=shadow")["deliveries"], key=lambda one: one["id"])
    assert first["payload"]["clickId"] == second["payload"]["clickId"] == "clk_late"


def test_the_page_compares_a_week_with_a_plain_forwarder(site: Site) -> None:
    with site.web("shadow") as client:
        for _ in range(3):
            bought(client, 1)  # the same webhook, three times
        bought(client, 1, event_id="evt_other", id="cs_other")  # another webhook of the same purchase
        bought(
            client, 2, metadata={}, customer_details={"email": "p1@example.com"}
        )  # the click is known from the first
        bought(client, 3, payment_status="unpaid")
        found = api(client, "destinations")["destinations"]
        browser = Browser(client, "password of the tests")
        page = browser.get("/destination").text
        assert "2</b><span>shadow" in browser.get("/").text
    main, crm = found
    assert (main["mode"], main["shadow"], crm["mode"]) == ("live", None, "shadow")
    week = crm["shadow"]
    assert (week["sales"], week["leads"], week["deduplicated"], week["refused"]) == (2, 0, 3, 0)
    assert week["plain"] == {"requests": 5, "twice": 3, "unpaid": 1, "without_click": 1, "unidentified": week["held"]}
    for text in ("3 deduplicated", "3 sent twice", "1 lost", "Shadow mode"):
        assert text in page
