"""A destination that is added later gets of a refunded Sale what it would have got then."""

import json
from dataclasses import replace
from typing import Any

import pytest

from app.destinations.formats.dub import Dub
from app.destinations.formats.events import Events
from app.ledger import tables
from app.ledger.actions.replay import REFUNDED_SINCE, apply_to, discard, replay, undo_discard
from app.ledger.actions.send_to import Selection, Target, send_selected
from app.ledger.engine import Ledger
from app.ledger.recording.arrival import Route
from app.ledger.recording.refunds.sent import LOWERED
from tests.support import stripe_world as world
from tests.support.stripe_recorder import Recorder


def refund(w: world.World, number: int, amount: int, status: str = "succeeded") -> bytes:
    fields = {"id": f"re_{number}_{w.tail}", "object": "refund", "amount": amount, "status": status, "currency": "usd"}
    return world.body("refund.updated", fields | {"charge": w.ch, "payment_intent": w.pi}, number)


def sent_to(ledger: Ledger, name: str) -> list[tuple[str, str, str | None, dict[str, Any]]]:
    """(kind, status, error, payload) of each delivery to that destination."""
    statement = "SELECT kind, status, last_error, payload FROM deliveries WHERE destination = ? ORDER BY id"
    with ledger.read() as tx:
        return [(kind, status, error, json.loads(text)) for kind, status, error, text in tx.run(statement, name).all()]


def sold(ledger: Ledger, *routes: Route) -> tuple[Recorder, world.World]:
    """A Sale of 49.00 that is delivered to `routes`."""
    recorder, w = Recorder(ledger), world.World(old=False)
    object.__setattr__(recorder.policy, "routes", list(routes))
    recorder.take(world.body("checkout.session.completed", w.session()))
    recorder.send_all()
    return recorder, w


MAIN = Route("main", Events())
LATE = {
    "takes nothing": Route("late", Dub()),
    "takes refunds": Route("late", Dub(), refunds=True),
    "lowers": Route("late", Dub(), refunds=True, lower_sales=True),
}


@pytest.mark.parametrize("late", LATE)
@pytest.mark.parametrize("others_lower", [False, True])
def test_a_sale_that_was_refunded_in_part(ledger: Ledger, late: str, others_lower: bool) -> None:
    partners = Route("partners", Dub(), refunds=True, lower_sales=others_lower)
    recorder, w = sold(ledger, MAIN, partners)
    recorder.take(refund(w, 1, 900))
    recorder.send_all()
    before = sent_to(ledger, "partners")
    send_selected(ledger, Selection(since=0), Target(LATE[late]), actor="test")
    sale, *refunds = sent_to(ledger, "late")
    shown = [(kind, status, error) for kind, status, error, _ in (sale, *refunds)]
    if late == "lowers":
        assert shown == [("sale", "pending", None), ("refund", "discarded", LOWERED)]
        assert sale[3]["amount"] == 4000
    else:
        assert shown == [("sale", "pending", None), ("refund", "pending", None)][: 2 if late == "takes refunds" else 1]
        assert sale[3]["amount"] == 4900
        assert all((body["saleAmount"], body["amountLeft"]) == (4900, 4000) for *_, body in refunds)
    assert sent_to(ledger, "partners") == before
    object.__setattr__(recorder.policy, "routes", [MAIN, partners, LATE[late]])
    recorder.send_all()
    recorder.take(refund(w, 2, 1000))
    expected = {"takes nothing": [], "takes refunds": [(4900, 3000)], "lowers": [(4000, 3000)]}
    for name, left in (("late", expected[late]), ("partners", [(4900, 3000)])):
        last = [body for kind, status, _, body in sent_to(ledger, name) if kind == "refund" and status == "pending"]
        assert [(body["saleAmount"], body["amountLeft"]) for body in last] == left


@pytest.mark.parametrize("late", LATE)
def test_a_sale_that_was_refunded_in_full(ledger: Ledger, late: str) -> None:
    recorder, w = sold(ledger, MAIN)
    recorder.take(refund(w, 1, 4900))
    results = send_selected(ledger, Selection(since=0), Target(LATE[late]), actor="test")
    assert not any(result.done for result in results)
    assert [status for _, status, _, _ in sent_to(ledger, "late") if status != "discarded"] == []
    object.__setattr__(recorder.policy, "routes", [MAIN, LATE[late]])
    recorder.take(refund(w, 2, 4900, "failed"), refund(w, 1, 4900, "failed"))
    assert [(kind, status) for kind, status, _, _ in sent_to(ledger, "late") if status != "discarded"] == [
        ("sale", "pending")
    ]


def test_who_insists_sends_a_sale_that_was_refunded_in_full(ledger: Ledger) -> None:
    recorder, w = sold(ledger, MAIN)
    recorder.take(refund(w, 1, 4900))
    send_selected(ledger, Selection(since=0), Target(LATE["takes refunds"], force=True), actor="test")
    assert [(kind, status) for kind, status, _, _ in sent_to(ledger, "late")] == [
        ("sale", "pending"),
        ("refund", "pending"),
    ]


@pytest.mark.parametrize("late", LATE)
@pytest.mark.parametrize("back", [900, 4900])
def test_what_was_in_shadow_mode(ledger: Ledger, late: str, back: int) -> None:
    live = LATE[late]
    recorder, w = sold(ledger, MAIN, replace(live, is_shadow=True))
    recorder.take(refund(w, 1, back))
    send_selected(ledger, Selection(since=0), Target(live), actor="test")
    sale, *refunds = sent_to(ledger, "late")
    if back == 4900:
        assert {status for _, status, _, _ in (sale, *refunds)} == {"discarded"}
        return
    assert (sale[1], sale[3]["amount"]) == ("pending", 4000 if late == "lowers" else 4900)
    assert [status for _, status, _, _ in refunds] == {
        "takes nothing": [],
        "takes refunds": ["pending"],
        "lowers": ["discarded"],
    }[late]


@pytest.mark.parametrize("is_undone", [False, True])
@pytest.mark.parametrize("back", [900, 4900])
@pytest.mark.parametrize("late", LATE)
def test_a_click_that_is_learned_sends_no_sale_that_was_refunded_in_full(
    ledger: Ledger, late: str, back: int, is_undone: bool
) -> None:
    recorder, w = Recorder(ledger), world.World(old=False)
    object.__setattr__(recorder.policy, "routes", [LATE[late]])
    recorder.take(world.body("checkout.session.completed", w.session(client_reference_id=None)))
    with ledger.write() as tx:
        tx.run("UPDATE deliveries SET status = 'unattributed', attempts = 1, due_at = NULL")
    recorder.take(refund(w, 1, back))
    if is_undone:
        recorder.take(refund(w, 1, back, "failed"))
    customer = {"id": w.cus, "object": "customer", "email": w.email, "metadata": {"clickId": w.click}}
    recorder.take(world.body("customer.updated", customer))
    sale, *refunds = sent_to(ledger, "late")
    is_sent = is_undone or back < 4900
    assert (sale[1], sale[3]["amount"]) == ("pending" if is_sent else "unattributed", 4900)
    due = [body for kind, status, _, body in refunds if (kind, status) == ("refund", "pending")]
    left = [(body["saleAmount"], body["amountLeft"]) for body in due]
    assert left == ([] if is_undone or late == "takes nothing" else [(4900, 4900 - back)])


@pytest.mark.parametrize("status", ["dead", "discarded", "unattributed"])
@pytest.mark.parametrize(("back", "result"), [(4900, "permanent"), (4900, "unknown"), (900, "permanent")])
def test_a_replay_sends_no_sale_that_was_refunded_in_full_since(
    ledger: Ledger, status: str, back: int, result: str
) -> None:
    recorder, w = Recorder(ledger), world.World(old=False)
    recorder.take(world.body("checkout.session.completed", w.session()))
    with ledger.write() as tx:
        identity = tx.run("SELECT id FROM deliveries").scalar_one()
        tx.run("UPDATE deliveries SET status = ?, attempts = 1, due_at = NULL", status)
        attempt = ("delivery_id", "number", "started_at", "duration_ms", "result")
        tx.insert(tables.attempts, attempt, [(identity, 1, 1, 2, result)])
    recorder.take(refund(w, 1, back))
    is_sent = back < 4900 or result == "unknown"
    with ledger.write() as tx:
        replayed = replay(tx, identity, actor="test")
        assert (replayed.done, REFUNDED_SINCE in replayed.message) == (is_sent, not is_sent)
        tx.run("UPDATE deliveries SET status = ?, due_at = NULL", status)
        assert bool(apply_to(tx, [identity], "replay", actor="test")) is is_sent
        tx.run("UPDATE deliveries SET status = ?, due_at = NULL", status)
        assert replay(tx, identity, actor="test", force=True).done


@pytest.mark.parametrize("back", [900, 4900])
def test_an_undone_discard_sends_no_sale_that_was_refunded_in_full_since(ledger: Ledger, back: int) -> None:
    recorder, w = Recorder(ledger), world.World(old=False)
    recorder.take(world.body("checkout.session.completed", w.session()))
    with ledger.write() as tx:
        identity = tx.run("SELECT id FROM deliveries").scalar_one()
        discard(tx, identity, actor="test")
    recorder.take(refund(w, 1, back))
    with ledger.write() as tx:
        assert undo_discard(tx, identity, actor="test").done is (back < 4900)


@pytest.mark.parametrize("late", LATE)
@pytest.mark.parametrize("attempts", [0, 3])
@pytest.mark.parametrize("is_undone", [False, True])
def test_a_refund_goes_behind_a_sale_that_was_discarded_meanwhile(
    ledger: Ledger, late: str, attempts: int, is_undone: bool
) -> None:
    recorder, w = Recorder(ledger), world.World(old=False)
    object.__setattr__(recorder.policy, "routes", [LATE[late]])
    recorder.take(world.body("checkout.session.completed", w.session()))
    with ledger.write() as tx:
        identity = tx.run("SELECT id FROM deliveries").scalar_one()
        tx.run("UPDATE deliveries SET attempts = ?", attempts)
        discard(tx, identity, actor="test")
    recorder.take(refund(w, 1, 900))
    if is_undone:
        recorder.take(refund(w, 1, 900, "failed"))
    assert {status for _, status, _, _ in sent_to(ledger, "late")} == {"discarded"}
    with ledger.write() as tx:
        assert replay(tx, identity, actor="test").done
    due = [body for kind, status, _, body in sent_to(ledger, "late") if (kind, status) == ("refund", "pending")]
    is_lowered = late == "lowers" and not attempts  # the Sale goes without it
    left = [(body["saleAmount"], body["amountLeft"]) for body in due]
    assert left == ([] if late == "takes nothing" or is_lowered or is_undone else [(4900, 4000)])
