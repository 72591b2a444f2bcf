"""Journeys of refunds and disputes to a destination that behaves as Dub does: what the partner's commission comes to."""

import itertools
import json
import random
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app.destinations.formats.dub import Dub
from app.ledger.engine import Ledger
from app.ledger.forwarding.claims import Claimed
from app.ledger.forwarding.outcomes import Outcome, finish
from app.ledger.forwarding.refunds import attend
from app.ledger.forwarding.sweep import claims_of, take_over
from tests.conftest import wait_for
from tests.support.dub import FakeDub
from tests.support.dub_site import API, Site, organic
from tests.support.makers import begin, checkout, one

CREATED = 1_780_000_000
numbers = itertools.count(1)
Make = Callable[..., Site]


@pytest.fixture
def make_site(make_settings: Callable[..., Any], ledger: Ledger, tmp_path: Path) -> Iterator[Make]:
    dub, made = FakeDub(), list[Site]()

    def make(options: str = "refunds = true", schedule: tuple[float, ...] = (0.2, 0.3, 0.5)) -> Site:
        config = tmp_path / "bridge.toml"
        config.write_text(f"[destinations.main]\n{options}\n")
        settings = make_settings(
            DESTINATION_URL=dub.url,
            DESTINATION_TOKEN="a-token-of-dub",
            DESTINATION_FORMAT="dub",
            DESTINATION_ALLOW_PRIVATE="1",
            STRIPE_ALLOW_TEST_EVENTS="1",
            BRIDGE_CONFIG=str(config),
        )
        dub.clicks, dub.lag_seconds = {f"clk_{number}" for number in range(1, 9)}, 0.0
        made.append(Site(settings, ledger, dub, schedule))
        return made[0]

    yield make
    for site in made:
        site.close()
    dub.close()


def event(kind: str, at: int, **fields: Any) -> bytes:
    envelope = {"id": f"evt_r{next(numbers)}", "object": "event", "created": CREATED + at, "livemode": False}
    return json.dumps({**envelope, "type": kind, "data": {"object": {"currency": "usd", **fields}}}).encode()


def refund(identity: str, amount: int, at: int = 5, status: str = "succeeded", what: str = "created") -> bytes:
    named = {"charge": "ch_1", "payment_intent": "pi_1"}
    return event(f"refund.{what}", at, id=identity, object="refund", amount=amount, status=status, **named)


def summed(amount: int, at: int = 5) -> bytes:
    fields = {"payment_intent": "pi_1", "refunded": amount == 1999, "amount_refunded": amount}
    return event("charge.refunded", at, id="ch_1", object="charge", amount=1999, **fields)


def dispute(status: str, at: int, amount: int = 1999) -> bytes:
    named = {"charge": "ch_1", "payment_intent": "pi_1"}
    return event("charge.dispute.closed", at, id="dp_1", object="dispute", amount=amount, status=status, **named)


def delivered(site: Site, count: int) -> None:
    """The Sale and `count` refunds have arrived."""
    site.settled(delivered=1 + count)


def commission(site: Site) -> tuple[str, int]:
    (found,) = site.dub.commissions
    return found["status"], found["amount"]


def keys(site: Site, kind: str = "refund") -> list[tuple[str, str]]:
    found = [(one["dedupe_key"], one["status"]) for one in site.deliveries(kind=kind)]
    return found[::-1]


def test_a_whole_refund_takes_the_commission_back_by_two_requests_of_one_delivery(make_site: Make) -> None:
    site = make_site()
    site.buys(1)
    site.start()
    delivered(site, 0)
    answer = site.hears(refund("re_1", 1999))
    assert (answer["outcome"], answer["reason"]) == ("ignored", "a refund counts against its Sale, sale:stripe:pi_1")
    delivered(site, 1)
    assert commission(site) == ("refunded", 1999)
    (found,) = site.deliveries(kind="refund")
    assert (found["dedupe_key"], found["source"], found["invoice_id"]) == ("refund:stripe:re_1", "stripe", "pi_1")
    story = site.client.get(f"/api/v1/deliveries/{found['id']}", headers=API).get_json()
    assert [(a["result"], a["number"]) for a in story["attempt_list"]] == [("continued", 1), ("delivered", 1)]


def test_parts_lower_the_commission_one_after_the_other_and_the_last_refunds_it(make_site: Make) -> None:
    site = make_site()
    site.buys(1)
    site.start()
    site.hears(refund("re_1", 500, 1))
    delivered(site, 1)
    assert commission(site) == ("pending", 1499)
    site.hears(refund("re_2", 499, 2))
    delivered(site, 2)
    assert commission(site) == ("pending", 1000)
    site.hears(refund("re_3", 1000, 3))
    delivered(site, 3)
    assert commission(site)[0] == "refunded"
    assert [key for key, _ in keys(site)] == [f"refund:stripe:re_{n}" for n in (1, 2, 3)]


def test_charge_refunded_and_its_refunds_are_one_in_every_order_and_repetition(make_site: Make) -> None:
    site = make_site()
    bodies = [summed(500, 1), refund("re_1", 500, 1, "pending"), refund("re_1", 500, 1, what="updated"), summed(900, 2),
              refund("re_2", 400, 2)]  # fmt: skip
    bodies += [checkout(1), *bodies[:2]]
    random.Random(site.dub.url).shuffle(bodies)
    for body in bodies:
        site.hears(body)
    site.start()
    wait_for(lambda: site.dub.commissions and commission(site) == ("pending", 1099), 30)
    wait_for(lambda: all(status in ("delivered", "discarded") for _, status in keys(site)))
    gone = sum(one["amount"] for one in site.deliveries(kind="refund") if one["status"] == "delivered")
    assert gone == pytest.approx(9)


@pytest.mark.parametrize("before_sale", [True, False], ids=["before its event", "before it is sent"])
def test_a_whole_refund_before_the_sale_is_sent_sends_neither(make_site: Make, before_sale: bool) -> None:
    site = make_site("refunds = false")
    if before_sale:
        answer = site.hears(summed(1999))
        assert answer["reason"] == "a refund counts against its Sale, which is not known yet"
    site.buys(1)
    if not before_sale:
        site.hears(summed(1999))
    (sale,) = site.deliveries()
    assert (sale["status"], sale["last_error"]) == ("discarded", "it was refunded in full before it was sent")
    listed = site.client.get("/api/v1/events", headers=API).get_json()["events"]
    assert "a refund counts against its Sale, sale:stripe:pi_1" in [event["reason"] for event in listed]
    site.hears(refund("re_1", 1999, 9, "failed", "failed"))
    site.start()
    delivered(site, 0)
    assert [one["amount"] for one in site.dub.sales] == [1999]


def test_a_part_before_the_sale_goes_behind_the_whole_sale(make_site: Make) -> None:
    site = make_site()
    site.hears(refund("re_1", 500))
    site.buys(1)
    assert site.statuses() == {"pending": 2}
    site.start()
    delivered(site, 1)
    assert [one["amount"] for one in site.dub.sales] == [1999]
    assert commission(site) == ("pending", 1499)


def test_a_destination_that_wants_it_gets_a_lower_sale_and_no_refund(make_site: Make) -> None:
    site = make_site("refunds = true\nlower_sales = true")
    site.buys(1)
    site.hears(refund("re_1", 500, 1))
    site.start()
    wait_for(lambda: site.dub.sales, 30)
    site.settled(delivered=1, discarded=1)
    assert [one["amount"] for one in site.dub.sales] == [1499]
    site.hears(refund("re_2", 499, 2))
    site.settled(delivered=2, discarded=1)
    assert commission(site) == ("pending", 1000)


def test_a_lost_dispute_is_a_refund_and_a_won_one_restores_it(make_site: Make) -> None:
    site = make_site()
    site.buys(1)
    site.start()
    site.hears(refund("re_1", 500, 1))
    delivered(site, 1)
    site.hears(dispute("needs_response", 2, 1499))
    site.hears(dispute("lost", 3, 1499))
    delivered(site, 2)
    assert commission(site)[0] == "refunded"
    site.hears(dispute("won", 4, 1499))
    delivered(site, 3)
    assert commission(site) == ("pending", 1499)
    assert keys(site)[-1] == ("refund:stripe:dp_1:restored", "delivered")


def test_a_refund_that_fails_is_taken_back(make_site: Make) -> None:
    site = make_site()
    site.buys(1)
    site.start()
    site.hears(refund("re_1", 500, 1, "pending"))
    site.hears(summed(500, 1))
    delivered(site, 1)
    site.hears(refund("re_1", 500, 2, "failed", "failed"))
    site.hears(refund("re_1", 500, 2, "failed", "updated"))
    delivered(site, 2)
    assert commission(site) == ("pending", 1999)
    site.hears(refund("re_2", 200, 3))
    delivered(site, 3)
    assert commission(site) == ("pending", 1799)


def test_a_commission_that_is_paid_leaves_the_refund_dead_with_the_reason(make_site: Make) -> None:
    site = make_site()
    site.buys(1)
    site.start()
    delivered(site, 0)
    site.dub.commissions[0]["status"] = "paid"
    site.hears(refund("re_1", 1999))
    site.settled(delivered=1, dead=1)
    (dead,) = site.deliveries(status="dead")
    assert "has already been paid" in dead["last_error"]


def test_where_no_partner_earned_the_refund_is_unattributed_after_the_schedule(make_site: Make) -> None:
    site = make_site()
    site.dub.earns = False
    site.buys(1)
    site.start()
    delivered(site, 0)
    site.hears(refund("re_1", 1999))
    site.settled(delivered=1, unattributed=1)
    (found,) = site.deliveries(kind="refund")
    assert (found["attempts"], found["last_error"]) == (4, "Dub has no commission for this Sale")
    assert site.dub.changes == []


def test_the_refund_of_an_organic_sale_follows_it(make_site: Make) -> None:
    site = make_site()
    site.buys(1, **organic(1))
    site.start()
    site.settled(unattributed=1)
    site.hears(refund("re_1", 500))
    site.settled(unattributed=2)
    site.signs_up(9, "p1@example.com", clickId="clk_5")
    site.settled(delivered=3)
    assert commission(site) == ("pending", 1499)


def test_a_refund_waits_while_its_sale_is_dead_and_goes_behind_its_replay(make_site: Make) -> None:
    site = make_site()
    site.dub.clicks = set()
    site.buys(1, customer_details={"email": "p1@example.com", "name": "A"}, currency="usd")
    (sale,) = site.deliveries()
    with site.ledger.write() as tx:
        tx.run("UPDATE deliveries SET status = 'dead', due_at = NULL, attempts = 3, schedule_start = 0")
    site.hears(refund("re_1", 500))
    site.start()
    wait_for(lambda: site.deliveries(kind="refund")[0]["last_error"] == f"its Sale, delivery {sale['id']}, is dead")
    assert site.statuses() == {"dead": 1, "pending": 1}
    site.dub.clicks = {"clk_1"}
    site.client.post(f"/api/v1/deliveries/{sale['id']}/replay", headers=API)
    delivered(site, 1)
    assert commission(site) == ("pending", 1499)


def ask(site: Site, claimed: Claimed) -> Any:
    """Sends the next request of a refund, as a worker would."""
    now = datetime.now(UTC)
    asked = Dub().next_request("refund", claimed.payload, claimed.dedupe_key, "t", now, claimed.remembered)
    body = asked.body if asked.method == "PATCH" else None
    request = urllib.request.Request(site.dub.url + asked.path, body, dict(asked.headers), method=asked.method)
    with urllib.request.urlopen(request) as answer:
        return json.loads(answer.read())


def claim_refund(site: Site) -> Claimed:
    claimed = begin(site.ledger, "main")
    with site.ledger.write() as tx:
        (found,) = attend(tx, claimed, "main")
    return found


def is_killed(site: Site) -> None:
    """The worker that holds claims ends, and another one's sweep finds them."""
    with site.ledger.write() as tx:
        assert take_over(tx, claims_of(tx, [1]), now=tx.now()) == 1


def test_a_worker_killed_between_the_requests_or_after_them_lowers_nothing_twice(make_site: Make) -> None:
    site = make_site()
    site.buys(1)
    (sale,) = begin(site.ledger, "main")
    site.dub.sale(json.loads(sale.payload))
    now = 1_800_000_000_000
    with site.ledger.write() as tx:
        finish(tx, "main", [Outcome(sale, "delivered", now, 1, 200)], now=now, token_print="t")
    site.hears(refund("re_1", 500))
    (found,) = ask(site, claim_refund(site))
    is_killed(site)  # before anything was recorded
    looked_up = claim_refund(site)
    assert looked_up.remembered is None
    known = Dub().verdict(_Answer(ask(site, looked_up)), _sent(looked_up)).remember
    with site.ledger.write() as tx:
        went_on = Outcome(looked_up, "continued", now, 1, 200, due_at=tx.now(), remember=known)
        finish(tx, "main", [went_on], now=tx.now(), token_print="t")
    assert (found["amount"], commission(site)) == (1999, ("pending", 1999))
    assert ask(site, claim_refund(site))["amount"] == 1499
    is_killed(site)  # after the second request, which nobody recorded
    site.start()
    delivered(site, 1)
    assert commission(site) == ("pending", 1499)
    assert len(site.dub.changes) == 2
    assert one(site.ledger, "SELECT COUNT(*) FROM remembered")[0] == 1


class _Answer:
    status = 200

    def __init__(self, content: Any) -> None:
        self.body, self.headers = json.dumps(content).encode(), dict[str, str]()


def _sent(claimed: Claimed) -> Any:
    from app.destinations.formats.base import Sent

    return Sent("refund", claimed.payload, remembered=claimed.remembered)


def test_refunds_of_sales_without_a_commission_are_no_outage(make_site: Make) -> None:
    site = make_site(schedule=(60.0,))
    site.dub.earns = False
    site.dub.clicks |= {f"clk_{number}" for number in range(20)}
    for number in range(10):
        site.buys(number)
    site.start()
    site.settled(delivered=10)
    for number in range(10):
        fields = {"charge": f"ch_{number}", "payment_intent": f"pi_{number}", "amount": 1999, "status": "succeeded"}
        site.hears(event("refund.created", 5, id=f"re_{number}", object="refund", **fields))
    site.settled(delivered=10, retrying=10)
    assert one(site.ledger, "SELECT failures FROM destinations WHERE name = 'main'")[0] == 0
    site.buys(11)
    site.settled(delivered=11, retrying=10)


def test_a_refund_goes_where_its_sale_goes_discarded_and_back(make_site: Make) -> None:
    site = make_site()
    site.buys(1)
    site.hears(refund("re_1", 500))
    (sale,) = site.deliveries(kind="sale")
    assert site.client.post(f"/api/v1/deliveries/{sale['id']}/discard", headers=API).status_code == 200
    site.start()
    site.settled(discarded=2)
    assert site.client.post(f"/api/v1/deliveries/{sale['id']}/undo", headers=API).status_code == 200
    delivered(site, 1)
    assert commission(site) == ("pending", 1499)
