"""Journeys of people whose clicks are learned late, or are different ones at each destination."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.config.settings import Settings
from app.ledger.engine import Ledger
from tests.conftest import FakeDestination
from tests.support.dub import FakeDub
from tests.support.dub_site import Site, customer_updated, organic
from tests.support.makers import checkout, signed

ADS = """
[destinations.ads]
url = "{url}"
token_env = "ADS_TOKEN"
allow_private = true
format = "template"
needs = ["click.gclid"]

[destinations.ads.sale]
path = "/conversions"
body = {{gclid = "click.gclid", id = "sale.invoice_id"}}

[destinations.ads.lead]
path = "/conversions"
body = {{gclid = "click.gclid", id = "lead.id"}}
"""
DUB = {
    "DESTINATION_TOKEN": "a-token-of-dub",
    "DESTINATION_FORMAT": "dub",
    "DESTINATION_ALLOW_PRIVATE": "1",
    "STRIPE_ALLOW_TEST_EVENTS": "1",
}


@pytest.fixture
def site(make_settings: Callable[..., Settings], ledger: Ledger) -> Iterator[Site]:
    dub = FakeDub()
    made = Site(make_settings(**DUB, DESTINATION_URL=dub.url), ledger, dub)
    yield made
    made.close()
    dub.close()


@pytest.fixture
def two(
    make_settings: Callable[..., Settings], ledger: Ledger, destination: FakeDestination, tmp_path: Path
) -> Iterator[Site]:
    """A site with Dub as main, and a destination that needs a gclid."""
    dub, path = FakeDub(), tmp_path / "bridge.toml"
    path.write_text(ADS.format(url=destination.url))
    settings = make_settings(**DUB, DESTINATION_URL=dub.url, BRIDGE_CONFIG=str(path), ADS_TOKEN="token-of-the-ads")
    made = Site(settings, ledger, dub)
    yield made
    made.close()
    dub.close()


def unpaid(number: int, email: str, click: str) -> bytes:
    """A session that names a click, and of which nothing is counted yet."""
    session: dict[str, Any] = {"payment_status": "unpaid", "metadata": {"clickId": click}, "customer": f"cus_{number}"}
    return checkout(number, **session, customer_details={"email": email, "name": "Ada"})


def test_a_gclid_by_form_and_a_dub_id_by_checkout_each_go_to_their_destination(
    two: Site, destination: FakeDestination
) -> None:
    two.dub.clicks = {"dub_1"}
    two.start()
    two.signs_up(1, "p1@example.com", gclid="G1")
    two.settled(delivered=1, unattributed=1)  # Dub knows no click
    two.buys(1, metadata={"dub_id": "dub_1"})
    two.settled(delivered=4)
    assert destination.payloads == [{"gclid": "G1", "id": "tok_1"}, {"gclid": "G1", "id": "pi_1"}]
    assert [lead["clickId"] for lead in two.dub.leads] == ["dub_1"]
    assert [(sale["clickId"], sale["invoiceId"]) for sale in two.dub.sales] == [("dub_1", "pi_1")]


def test_what_needs_a_click_id_is_not_attempted_until_one_is_learned(two: Site, destination: FakeDestination) -> None:
    two.buys(1, **organic(1))
    two.start()
    two.settled(unattributed=2)
    (held,) = two.deliveries(destination="ads")
    assert (held["attempts"], destination.requests) == (0, [])
    assert "click.gclid" in held["last_error"]
    for _ in range(2):  # what is learned again sends nothing more
        two.client.post("/webhooks/stripe", **signed(customer_updated("cus_1", "p1@example.com", gclid="G9")))
        two.settled(unattributed=1, delivered=1)
    assert destination.payloads == [{"gclid": "G9", "id": "pi_1"}]


def test_a_click_that_is_learned_while_the_attempt_is_under_way_counts(site: Site) -> None:
    site.dub.clicks, answer = {"clk_1"}, site.dub.sale

    def learns_first(body: dict[str, Any]) -> Any:
        site.dub.sale = answer  # type: ignore[method-assign]
        site.client.post("/webhooks/stripe", **signed(unpaid(2, "p1@example.com", "clk_1")))
        return answer(body)

    site.dub.sale = learns_first  # type: ignore[method-assign]
    site.buys(1, **organic(1))
    site.start()
    site.settled(delivered=1)
    assert [body.get("clickId") for _, body, _ in site.dub.asked] == [None, "clk_1"]


def test_where_dub_does_not_know_the_first_click_the_one_that_is_learned_goes_once(site: Site) -> None:
    site.buys(1, metadata={"clickId": "clk_gone"}, customer="cus_1")
    site.start()
    site.settled(unattributed=1)
    tried = len(site.dub.asked)
    site.dub.clicks = {"clk_new"}
    for number in (2, 3):
        site.client.post("/webhooks/stripe", **signed(unpaid(number, "p1@example.com", "clk_new")))
        site.settled(delivered=1)
    time.sleep(0.3)
    assert len(site.dub.asked) == tried + 1
    assert [sale["clickId"] for sale in site.dub.sales] == ["clk_new"]
