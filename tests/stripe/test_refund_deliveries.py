"""Whatever the order and repetition of Stripe's events, and whenever they are sent, the refunds of a Sale come to what is back."""

import json
import random
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app.bootstrap import make_routes
from app.config.settings import Settings
from app.destinations.formats.dub import Dub
from app.destinations.formats.events import Events
from app.destinations.target import destinations_of
from app.ledger.engine import Ledger
from app.ledger.recording.arrival import Route
from tests.support import stripe_world as world
from tests.support.makers import one, settle
from tests.support.stripe_recorder import Recorder

AT = dict[str, int]


def events_of(w: world.World, last: AT) -> list[bytes]:
    """All that Stripe says of a charge of 4900 with two refunds and a dispute. last: how each of these ended, and with how much."""
    named = {"charge": w.ch, "payment_intent": w.pi, "currency": "usd"}

    def refund(what: str, number: int, amount: int, status: str, at: int) -> bytes:
        fields = {"id": f"re_{number}_{w.tail}", "object": "refund", "amount": amount, "status": status}
        return world.body(f"refund.{what}", fields | named, at)

    def dispute(what: str, status: str, at: int) -> bytes:
        fields = {"id": f"dp_{w.tail}", "object": "dispute", "amount": 1000, "status": status}
        return world.body(f"charge.dispute.{what}", fields | named, at)

    found = [
        refund("created", 1, 500, "pending", 1),
        world.body("charge.refunded", w.charge(amount_refunded=500), 1),
        refund("updated", 1, 500, "succeeded", 2),
        refund("created", 2, 400, "succeeded", 3),
        world.body("charge.refunded", w.charge(amount_refunded=900), 3),
        dispute("created", "needs_response", 4),
    ]
    if not last["re_2"]:
        found.append(refund("failed", 2, 400, "failed", 5))
    found.append(dispute("closed", "lost", 6))
    if not last["dp"]:
        found.append(dispute("closed", "won", 7))
    return found


class Destinations:
    """Two that take Sales, of which one takes refunds, and what came of that."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.recorder = Recorder(ledger, accept_test_events=True)
        routes = [Route("main", Events(), refunds=True), Route("partners", Dub(), refunds=True)]
        object.__setattr__(self.recorder.policy, "routes", routes)

    def refunds(self, w: world.World) -> list[tuple[Any, ...]]:
        """(key, status, amount left) of each delivery of a refund, the oldest first."""
        with self.ledger.read() as tx:
            rows = tx.run(
                "SELECT r.dedupe_key, d.status, d.payload, d.destination FROM deliveries d"
                " JOIN conversions r ON r.id = d.conversion_id WHERE d.kind = 'refund' AND r.dedupe_key LIKE ? ORDER BY d.id",
                f"%{w.tail}%",
            ).all()
        assert {row[3] for row in rows} <= {"partners"}
        return [(key, status, json.loads(payload)["amountLeft"]) for key, status, payload, _ in rows]


@pytest.mark.parametrize("last", [{"re_2": 400, "dp": 1000}, {"re_2": 0, "dp": 0}, {"re_2": 0, "dp": 1000}], ids=str)
def test_what_is_left_at_last_is_what_is_left(ledger: Ledger, last: AT) -> None:
    there = Destinations(ledger)
    for seed in range(12):
        chance, w = random.Random(seed), world.World(old=False)
        bodies = events_of(w, last)
        bodies += chance.choices(bodies, k=3)
        chance.shuffle(bodies)
        sale = world.body("checkout.session.completed", w.session())
        bodies.insert(chance.randrange(len(bodies)), sale)
        bodies.insert(0, world.body("payment_intent.created", w.intent()))
        bodies.append(world.body("payment_intent.succeeded", w.intent()))
        for body in bodies:
            there.recorder.take(body)
            if chance.random() < 0.4:
                there.recorder.send_all()
        there.recorder.send_all()
        found = [one for one in there.refunds(w) if one[1] != "discarded"]
        assert found[-1][2] == 4900 - 500 - last["re_2"] - last["dp"], (seed, found)
        assert len({key for key, _, _ in found}) == len(found)
        listed = len(found)
        there.recorder.take(*bodies)
        assert len([one for one in there.refunds(w) if one[1] != "discarded"]) == listed


def test_a_refund_of_several_events_is_one_delivery_under_its_own_id(ledger: Ledger) -> None:
    there, w = Destinations(ledger), world.World(old=False)
    there.recorder.take(world.body("checkout.session.completed", w.session()))
    there.recorder.send_all()
    created, summed, *_ = events_of(w, {"re_2": 400, "dp": 0})
    there.recorder.take(world.body("payment_intent.succeeded", w.intent()), summed)
    assert there.refunds(w) == [(f"refund:stripe:{w.ch}:500", "pending", 4400)]
    there.recorder.take(created)
    assert there.refunds(w) == [(f"refund:stripe:re_1_{w.tail}", "pending", 4400)]
    there.recorder.send_all()
    there.recorder.take(summed, created)
    assert there.refunds(w) == [(f"refund:stripe:re_1_{w.tail}", "delivered", 4400)]


def test_an_id_that_turns_up_after_the_refund_was_sent_sends_it_no_second_time(ledger: Ledger) -> None:
    there, w = Destinations(ledger), world.World(old=False)
    there.recorder.take(world.body("checkout.session.completed", w.session()))
    created, summed, *_ = events_of(w, {"re_2": 400, "dp": 0})
    there.recorder.take(world.body("payment_intent.succeeded", w.intent()), summed)
    there.recorder.send_all()
    there.recorder.take(created)
    assert there.refunds(w) == [(f"refund:stripe:{w.ch}:500", "delivered", 4400)]


def test_a_refund_whose_mark_was_removed_stands(ledger: Ledger) -> None:
    there, w = Destinations(ledger), world.World(old=False)
    there.recorder.take(world.body("checkout.session.completed", w.session()))
    there.recorder.take(world.body("payment_intent.succeeded", w.intent()))
    created, _, _, second, *_ = events_of(w, {"re_2": 400, "dp": 0})
    there.recorder.take(created)
    there.recorder.send_all()
    with ledger.write() as tx:
        tx.run("DELETE FROM marks")
    there.recorder.take(second)
    assert [status for _, status, _ in there.refunds(w)] == ["delivered", "pending"]
    assert there.refunds(w)[1][2] == 4000


ABSOLUTE = """
[destinations.ads]
url = "https://ads.example"
format = "template"
token_env = "CRM_TOKEN"
refunds = true
net_of_tax = true
[destinations.ads.sale]
path = "/sales"
[destinations.ads.refund]
method = "PUT"
path = "/sales"
body = {id = "sale.invoice_id", value = "refund.left", key = "key"}
"""
BY_AMOUNT = ABSOLUTE.replace('value = "refund.left"', 'value = "refund.amount"')


@pytest.mark.parametrize(
    ("config", "values"), [(ABSOLUTE, [35, 27.5, 35]), (BY_AMOUNT, [5, 7.5])], ids=["what is left", "what went back"]
)
def test_a_template_says_what_is_left_or_what_went_back(
    ledger: Ledger, make_settings: Callable[..., Settings], tmp_path: Path, config: str, values: list[float]
) -> None:
    path = tmp_path / "bridge.toml"
    path.write_text(config)
    settings = make_settings(BRIDGE_CONFIG=str(path), CRM_TOKEN="a-token-of-the-crm", SANDBOX="0")
    recorder, w = Recorder(ledger), world.World(old=False)
    object.__setattr__(recorder.policy, "routes", make_routes(settings))
    taxed = {"total_details": {"amount_tax": 900}}  # of 49.00
    recorder.take(world.body("checkout.session.completed", w.session(**taxed, amount_total=4900)))
    recorder.send_all()
    named = {"charge": w.ch, "payment_intent": w.pi, "currency": "usd", "object": "refund"}
    for number, amount, status, at in ((1, 612, "succeeded", 1), (2, 919, "succeeded", 2), (2, 919, "failed", 3)):
        what = "failed" if status == "failed" else "created"
        fields = {"id": f"re_{number}_{w.tail}", "amount": amount, "status": status}
        recorder.take(world.body(f"refund.{what}", named | fields, at))
        recorder.send_all()
    with ledger.read() as tx:
        rows = tx.run("SELECT payload, dedupe_key FROM deliveries WHERE kind = 'refund' ORDER BY id").all()
    payloads = [json.loads(payload) for payload, _ in rows]
    assert [round(payload["value"] * 2) / 2 for payload in payloads] == values
    assert [payload["key"] for payload in payloads] == [key for _, key in rows]
    (destination,) = destinations_of(settings)
    asked = destination.request("refund", rows[0][0], rows[0][1], datetime.now(UTC))
    assert (asked.method, asked.path, json.loads(asked.body)) == ("PUT", "/sales", payloads[0])


@pytest.mark.parametrize(("result", "status"), [("transient", "discarded"), ("unknown", "retrying")])
def test_a_sale_that_was_tried_without_success_is_not_sent_once_it_is_refunded(
    ledger: Ledger, result: str, status: str
) -> None:
    there, w = Destinations(ledger), world.World(old=False)
    there.recorder.take(world.body("checkout.session.completed", w.session()))
    there.recorder.take(world.body("payment_intent.succeeded", w.intent()))
    settle(ledger, result, retry=True, status=None, destination="partners")
    there.recorder.take(world.body("charge.refunded", w.charge(amount_refunded=4900, refunded=True), 1))
    statement = "SELECT status FROM deliveries WHERE kind = 'sale' AND destination = 'partners'"
    assert one(ledger, statement)[0] == status
    assert [kept for _, kept, _ in there.refunds(w)] == (["pending"] if result == "unknown" else [])
