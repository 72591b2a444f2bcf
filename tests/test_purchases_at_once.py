"""Many purchases' events, shuffled and repeated, recorded by several writers at once: still one Sale each."""

import random
import threading
import time
from collections import Counter
from typing import Any

import pytest

from app.ledger.engine import Ledger
from tests.support import stripe_world as world
from tests.support.stripe_recorder import Recorder

WRITERS = 8
OF_EACH_KIND = 4


@pytest.mark.parametrize("opted_in", [(), ("payment_intent",)])
def test_writers_at_once_make_one_sale_of_each_purchase(ledger: Ledger, opted_in: tuple[str, ...]) -> None:
    chance = random.Random(len(opted_in))
    recorder = Recorder(ledger, sale_events=frozenset({"checkout", "invoice", *opted_in}))
    purchases = [kind(old=chance.random() < 0.5) for kind in (*world.KINDS, *world.TIED_LATE) * OF_EACH_KIND]
    purchases = [purchase for purchase in purchases if not purchase.before]  # what came before is sent before
    bodies = []
    for kind, (event_type, obj) in ((purchase.kind, event) for purchase in purchases for event in purchase.events):
        message = _unlinked(obj) if chance.random() < 0.5 and kind != "invoice after session" else obj
        bodies += [world.body(event_type, message) for _ in range(chance.choice([1, 1, 2]))]
    bodies += chance.sample(bodies, len(bodies) // 4)
    chance.shuffle(bodies)
    _record_at_once(recorder, bodies)
    sales = recorder.payloads("sale")
    counted = Counter(sale["customerExternalId"] for sale in sales)
    assert counted == Counter({p.customer: len(p.sales) for p in purchases if p.sales})
    assert Counter(lead["customerExternalId"] for lead in recorder.payloads("lead")) == Counter(
        {p.customer: p.leads for p in purchases if p.leads}
    )
    by_customer = {purchase.customer: purchase for purchase in purchases}
    for sale in sales:
        purchase = by_customer[sale["customerExternalId"]]
        assert sale["clickId"] == purchase.click
        assert (round(sale["amount"] * 100), sale["currency"]) in {expected[:2] for expected in purchase.sales}


def _unlinked(obj: dict[str, Any]) -> dict[str, Any]:
    """An intent or charge that does not tell the invoice it belongs to, as in basil."""
    if obj["object"] not in ("payment_intent", "charge"):
        return obj
    return {name: value for name, value in obj.items() if name not in ("invoice", "payment_details")}


def _record_at_once(recorder: Recorder, bodies: list[bytes]) -> None:
    failures: list[BaseException] = []

    def work(mine: list[bytes]) -> None:
        try:
            for start in range(0, len(mine), 3):
                recorder.take(*mine[start : start + 3])
        except BaseException as error:
            failures.append(error)

    writers = [threading.Thread(target=work, args=(bodies[number::WRITERS],)) for number in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert not failures, failures


def test_a_writer_does_not_undo_what_another_one_counts_at_the_same_moment(ledger: Ledger) -> None:
    if ledger.is_sqlite:
        pytest.skip("SQLite has one writer")
    recorder, w = Recorder(ledger), world.World(False)
    recorder.take(world.body("invoice_payment.paid", w.invoice_payment()))
    intent = world.body("payment_intent.succeeded", w.intent(customer=None, receipt_email=None))  # shares no name
    with ledger.write() as tx:
        recorder.take_within(tx, world.body("invoice.paid", w.invoice(4900, "manual")))
        other = threading.Thread(target=recorder.take, args=(intent,))
        other.start()
        while not _somebody_waits(ledger):
            time.sleep(0.01)
    other.join()
    assert recorder.state_of(w.invoice_id) == "counted"
    (receipt,) = recorder.take(world.body("checkout.session.completed", w.session()))
    assert receipt.outcome == "duplicate"


def _somebody_waits(ledger: Ledger) -> bool:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with ledger.read() as tx:
        return bool(tx.run(waiting).scalar_one())
