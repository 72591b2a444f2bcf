"""Journeys to a destination that behaves as Dub does, from the webhook to what Dub recorded."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from app.config.settings import Settings
from app.ledger.engine import Ledger
from tests.conftest import wait_for
from tests.support.dub import FakeDub
from tests.support.dub_site import API, Site, customer_updated, organic
from tests.support.makers import checkout, signed


@pytest.fixture
def site(make_settings: Callable[..., Settings], ledger: Ledger) -> Iterator[Site]:
    dub = FakeDub()
    settings = make_settings(
        DESTINATION_URL=dub.url,
        DESTINATION_TOKEN="a-token-of-dub",
        DESTINATION_FORMAT="dub",
        DESTINATION_ALLOW_PRIVATE="1",
        STRIPE_ALLOW_TEST_EVENTS="1",
    )
    made = Site(settings, ledger, dub)
    yield made
    made.close()
    dub.close()


def test_a_purchase_right_after_the_sign_up_is_taken_at_once(site: Site) -> None:
    site.dub.clicks, site.dub.lag_seconds = {"clk_1"}, 3600
    site.signs_up(1, "p1@example.com", clickId="clk_1", user_id="user_1")
    site.buys(1)
    site.start()
    site.settled(delivered=2)
    assert [kind for kind, _, _ in site.dub.asked] == ["lead", "sale"]
    assert (len(site.dub.leads), len(site.dub.sales)) == (1, 1)


def test_three_purchases_of_a_new_customer_are_all_taken(site: Site) -> None:
    site.dub.clicks, site.dub.lag_seconds = {"clk_a"}, 0.4
    for number in (1, 2, 3):
        site.buys(
            number,
            metadata={"user_id": "user_a", "clickId": "clk_a"},
            customer_details={"email": "a@example.com", "name": "A"},
        )
    site.start()
    site.settled(delivered=3)
    assert sorted(sale["invoiceId"] for sale in site.dub.sales) == ["pi_1", "pi_2", "pi_3"]
    answers = [answer[0] for _, _, answer in site.dub.asked]
    assert 404 in answers


def test_an_organic_sale_is_unattributed_and_goes_out_once_when_a_click_is_learned(site: Site) -> None:
    site.buys(1, **organic(1))
    site.buys(2, **organic(2))
    site.start()
    site.settled(unattributed=2)
    assert site.dub.sales == []
    site.dub.clicks = {"clk_late"}
    site.signs_up(9, "p1@example.com", clickId="clk_late")
    site.settled(unattributed=1, delivered=2)
    (sale,) = site.dub.sales
    assert (sale["invoiceId"], sale["clickId"]) == ("pi_1", "clk_late")
    (left,) = site.deliveries(status="unattributed")
    assert left["invoice_id"] == "pi_2"
    (found,) = site.deliveries(kind="sale", status="delivered")
    attempts = site.client.get(f"/api/v1/deliveries/{found['id']}", headers=API).get_json()["attempt_list"]
    assert [one["result"] for one in attempts] == ["unattributed", "delivered"]
    assert not any(one["by_hand"] for one in attempts)


def test_unattributed_sales_are_no_failures(site: Site) -> None:
    site.client.post("/login", data={"password": "password of the tests", "name": "Grace"})
    for number in range(20):
        site.buys(number, **organic(number))
    site.start()
    site.settled(unattributed=20)
    assert "Nothing has failed" in site.client.get("/failed").text
    listed = site.client.get("/deliveries?status=unattributed").text
    assert listed.count("badge unattributed") == 20
    assert site.client.get("/api/v1/deliveries?status=unattributed", headers=API).get_json()["deliveries"][0][
        "last_error"
    ]
    overview = site.client.get("/").text
    assert "20</b><span>unattributed" in overview
    assert 'bridge_deliveries{status="unattributed"} 20' in site.client.get("/metrics").text


def test_a_lead_whose_click_dub_does_not_know_is_unattributed_even_when_it_is_repeated(site: Site) -> None:
    site.start()
    site.signs_up(1, "a@example.com", clickId="clk_gone", user_id="user_a")
    site.settled(unattributed=1)
    (lead,) = site.deliveries(kind="lead")
    assert site.client.post(f"/api/v1/deliveries/{lead['id']}/replay", headers=API).status_code == 200
    wait_for(lambda: len(site.dub.asked) == 2, 20)
    site.settled(unattributed=1)
    assert site.dub.asked[1][2][1]["link"] is None
    assert site.dub.leads == []


def test_a_lead_that_dub_had_already_says_so(site: Site) -> None:
    site.dub.clicks = {"clk_1"}
    site.start()
    site.signs_up(1, "a@example.com", clickId="clk_1", user_id="user_a")
    site.settled(delivered=1)
    site.signs_up(2, "a@example.com", clickId="clk_1", user_id="user_a")
    site.settled(delivered=2)
    second, first = site.deliveries(kind="lead")
    assert (first["note"], second["note"]) == (None, "already had this Lead")
    site.client.post("/login", data={"password": "password of the tests", "name": "Grace"})
    assert "already had this Lead" in site.client.get(f"/deliveries/{second['id']}").text


def test_a_sale_with_a_click_that_is_not_found_is_tried_a_few_times(site: Site) -> None:
    site.start()
    site.buys(1)
    time.sleep(0.3)
    site.dub.clicks = {"clk_1"}
    site.settled(delivered=1)
    site.buys(2)
    site.settled(delivered=1, unattributed=1)
    (left,) = site.deliveries(status="unattributed")
    assert left["attempts"] == 4


def test_a_click_that_a_customer_of_stripe_carries_is_learned_too(site: Site) -> None:
    site.buys(1, **organic(1))
    site.buys(
        11, **(organic(11) | {"customer": "cus_1", "customer_details": {"email": "p1@example.com", "name": "Ada"}})
    )
    site.start()
    site.settled(unattributed=2)
    site.dub.clicks, site.dub.lag_seconds = {"clk_late"}, 0.2
    body = customer_updated("cus_1", "p1@example.com", clickId="clk_late")
    assert site.client.post("/webhooks/stripe", **signed(body)).get_json()["outcome"] == "lead"
    site.settled(delivered=3)
    assert sorted(sale["invoiceId"] for sale in site.dub.sales) == ["pi_1", "pi_11"]
    assert {sale["clickId"] for sale in site.dub.sales} == {"clk_late"}


def test_a_click_of_somebody_never_sent_who_turns_out_to_be_the_same_is_learned(site: Site) -> None:
    site.buys(1, **organic(1))
    site.start()
    site.settled(unattributed=1)
    site.dub.clicks = {"clk_b"}
    unpaid: dict[str, Any] = {"payment_status": "unpaid", "metadata": {"clickId": "clk_b"}, "customer": "cus_other"}
    body = checkout(2, **unpaid, customer_details={"email": "other@example.com", "name": "Ada"})
    assert site.client.post("/webhooks/stripe", **signed(body)).get_json()["outcome"] == "pending"
    assert site.statuses() == {"unattributed": 1}
    joined = customer_updated("cus_other", "p1@example.com")
    assert site.client.post("/webhooks/stripe", **signed(joined)).get_json()["outcome"] == "ignored"
    site.settled(delivered=1)
    (sale,) = site.dub.sales
    assert (sale["invoiceId"], sale["clickId"]) == ("pi_1", "clk_b")


def test_what_is_learned_of_somebody_else_or_again_sends_nothing(site: Site) -> None:
    site.buys(1, **organic(1))
    site.start()
    site.settled(unattributed=1)
    unpaid: dict[str, Any] = {"payment_status": "unpaid", "metadata": {"clickId": "clk_2"}, "customer": "cus_2"}
    site.client.post("/webhooks/stripe", **signed(checkout(2, **unpaid, customer_details={"email": "p2@example.com"})))
    site.client.post("/webhooks/stripe", **signed(customer_updated("cus_1", "p1@example.com", plan="pro")))
    time.sleep(1)
    assert site.statuses() == {"unattributed": 1}
    assert len(site.dub.asked) == 1
