"""Nothing of somebody who was forgotten is left: in no table, in no page of the file, and not in the write-ahead log."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from app.cli import main
from app.config.settings import Settings
from app.ledger import tables
from app.ledger.actions.forget import BLANK_BODY, forget_name, forget_person, persons_called
from app.ledger.engine import Ledger
from tests.support import stripe_world as world
from tests.support.makers import count
from tests.support.stripe_recorder import Recorder

TRACES = ("ada.quill@example.com", "ada.quill%40example.com", "Quill", "cus_adaquill", "user_adaquill", "clk_adaquill")


def quill(number: str) -> world.World:
    """The ids of a purchase of the person whom these tests forget."""
    w = world.World(old=False)
    w.email, w.customer, w.click, w.cus = "ada.quill@example.com", "user_adaquill", "clk_adaquill", "cus_adaquill"
    return w


def remember_everything(recorder: Recorder) -> world.World:
    """Records all kinds of events that name the person, most of which make no conversion."""
    w, named = quill("1"), {"email": "Ada.Quill@example.com", "name": "Ada Quill"}
    evidence = {"customer_email_address": "ada.quill@example.com", "customer_name": "Ada Quill"}
    events = [
        ("refund.created", {"id": "re_1", "object": "refund", "charge": w.ch, "amount": 5, "currency": "usd", "metadata": named}),
        ("payment_intent.payment_failed", w.intent(metadata=named)),
        ("checkout.session.completed", w.session(customer_details={**named, "phone": "+4915112345678"})),
        ("charge.refunded", w.charge(amount_refunded=100, billing_details=named)),
        ("charge.dispute.created", {"id": "dp_1", "object": "dispute", "charge": w.ch, "amount": 5, "currency": "usd",
                                    "evidence": evidence}),
        ("customer.subscription.deleted", {"id": "sub_x", "object": "subscription", "customer": w.cus}),
        ("payment_method.attached", {"id": "pm_1", "object": "payment_method", "billing_details": named}),
        ("radar.early_fraud_warning.created", {"id": "issfr_1", "object": "x", "deep": [{"note": "mail ada.quill@example.com!"}]}),
        ("invoice.paid", w.later().invoice(0, "subscription_cycle", customer_email=named["email"])),
        ("customer.updated", {"id": w.cus, "object": "customer", **named}),
    ]  # fmt: skip
    for event_type, thing in events:
        recorder.take(world.body(event_type, thing))
    recorder.take(
        json.dumps({"id": "evt_form", "object": "event", "type": "x", "u": "to=ada.quill%40example.com"}).encode()
    )
    parked = w.later().session(amount_total="?", customer_details=named, customer=None, client_reference_id=None)
    recorder.take(world.body("checkout.session.completed", parked))
    return w


def bought(**fields: Any) -> bytes:
    """The paid session of somebody else."""
    return world.body("checkout.session.completed", world.World(old=False).session(**fields))


def everything_in(ledger: Ledger) -> str:
    """All rows of all tables, with bodies as text."""
    found = []
    with ledger.read() as tx:
        for table in tables.metadata.sorted_tables:
            for row in tx.run(f"SELECT * FROM {table.name}").all():
                found.append(
                    table.name
                    + " "
                    + " ".join(str(bytes(v)) if isinstance(v, bytes | memoryview) else str(v) for v in row)
                )
    return "\n".join(found)


def files_of(ledger: Ledger) -> bytes:
    """The bytes of SQLite's files: the database, its write-ahead log and its index."""
    path = Path(str(ledger.engine.url.database))
    return b"".join(one.read_bytes() for one in path.parent.glob(path.name + "*"))


def person_of(ledger: Ledger) -> int:
    with ledger.read() as tx:
        (person,) = persons_called(tx, "ada.quill@example.com")
    return person


def test_no_table_and_no_page_holds_a_trace_of_a_forgotten_person(ledger: Ledger) -> None:
    recorder = Recorder(ledger)
    remember_everything(recorder)
    recorder.send_all()
    with ledger.write() as tx:  # what a destination and people may have written about them
        tx.run("UPDATE deliveries SET last_error = 'no such customer ada.quill@example.com'")
        tx.run("UPDATE destinations SET paused_reason = 'refused Ada.Quill@example.com'")
        row = (1, "Grace", "pause", "destination main", "because of ada.quill@example.com")
        tx.insert(tables.audit, ("at", "actor", "action", "subject", "detail"), [row])
        columns = ("received_at", "kind", "idempotency_key", "problem", "body")
        tx.insert(tables.sandbox_requests, columns, [(1, "sale", "k", None, '{"email":"ada.quill@example.com"}')])
        tx.insert(tables.conflicts, ("at", "event_id", "reason"), [(1, 1, "user_9 came for ada.quill@example.com")])
    before = everything_in(ledger)
    assert all(trace in before for trace in TRACES)
    done = forget_person(ledger, person_of(ledger), actor="test")
    assert done.is_overwritten
    left = everything_in(ledger)
    assert [line for line in left.splitlines() if any(trace.lower() in line.lower() for trace in TRACES)] == []
    assert count(ledger, "dedupe_keys") > 0
    if ledger.is_sqlite:
        files = files_of(ledger).lower()
        assert [trace for trace in TRACES if trace.lower().encode() in files] == []


def test_pages_that_were_split_and_rewritten_hold_no_trace_either(ledger: Ledger) -> None:
    """Thousands of rows around theirs, so that the trees of every index were rebalanced after they came."""
    recorder = Recorder(ledger)
    for number in range(400):
        recorder.take(*[bought() for _ in range(3)])
        if number % 40 == 7:
            remember_everything(recorder)
    recorder.send_all()
    assert forget_person(ledger, person_of(ledger), actor="test").is_overwritten
    if ledger.is_sqlite:
        files = files_of(ledger).lower()
        assert [trace for trace in TRACES if trace.lower().encode() in files] == []
        assert b"pat example" in files


def test_the_log_is_emptied_although_others_read_and_write(ledger: Ledger, ledger_url: str) -> None:
    recorder, stop = Recorder(ledger), threading.Event()
    remember_everything(recorder)
    other = Recorder(Ledger(ledger_url))

    def disturb() -> None:
        while not stop.is_set():
            other.take(bought())
            other.deliveries()

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        done = forget_person(ledger, person_of(ledger), actor="test")
    finally:
        stop.set()
        thread.join()
    assert done.is_overwritten
    if ledger.is_sqlite:
        assert b"ada.quill@example.com" not in files_of(ledger).lower()
    other.ledger.close()


def test_events_of_others_that_mention_the_person_lose_the_mention_alone(ledger: Ledger) -> None:
    recorder = Recorder(ledger)
    remember_everything(recorder)
    friend = bought(metadata={"user_id": "bob_1", "invited_by": "ada.quill@example.com"})
    namesake = bought(metadata={"user_id": "carol_1", "note": "nada.quill@example.com"})
    recorder.take(friend, namesake)
    forget_person(ledger, person_of(ledger), actor="test")
    with ledger.read() as tx:
        bodies = [bytes(body) for body in tx.run("SELECT body FROM events ORDER BY id DESC LIMIT 2").scalars()]
    assert b"invited_by" in bodies[1]
    assert b"ada.quill" not in bodies[1]
    assert bodies[0] == namesake


def test_a_mailbox_that_another_person_shares_stays_theirs(ledger: Ledger) -> None:
    recorder = Recorder(ledger)
    for _ in range(2):
        recorder.take(bought(customer_details={"email": "both@example.com"}))
    with ledger.read() as tx:
        first, second = tx.run("SELECT id FROM persons ORDER BY id").scalars()
    forget_person(ledger, first, actor="test")
    with ledger.read() as tx:
        bodies = dict(tx.run("SELECT person_id, body FROM events").all())
        emails = dict(tx.run("SELECT id, email FROM persons").all())
    assert bytes(bodies[first]) == BLANK_BODY
    assert b"both@example.com" in bytes(bodies[second])
    assert emails == {first: None, second: "both@example.com"}


def test_somebody_of_whom_only_held_events_came_is_forgotten_by_name(ledger: Ledger) -> None:
    recorder = Recorder(ledger)
    billing = {"email": "Ada.Quill@example.com", "name": "Ada Quill", "phone": "+4915112345678"}
    method = {"id": "pm_1", "object": "payment_method", "billing_details": billing}
    recorder.take(world.body("payment_method.attached", method))
    recorder.take(bought())
    assert forget_name(ledger, "Ada.Quill@Example.com", actor="test").events == 1
    assert "ada.quill" not in everything_in(ledger).lower()
    assert forget_name(ledger, "ada.quill@example.com", actor="test").events == 0


@pytest.mark.parametrize("held", [True, False])
def test_the_command_forgets_whom_only_a_held_event_names(
    make_settings: Callable[..., Settings], ledger: Ledger, ledger_url: str, held: bool
) -> None:
    make_settings(DATABASE_URL=ledger_url)
    if held:
        body = {"id": "evt_1", "object": "event", "type": "x.y", "data": {"object": {"m": "ada.quill@example.com"}}}
        Recorder(ledger).take(json.dumps(body).encode())
    result = CliRunner().invoke(main, ["forget", "ada.quill@example.com", "--yes"])
    assert (result.exit_code, "no person or event matches" in result.output) == ((0, False) if held else (1, True))
    assert "ada.quill" not in everything_in(ledger)


def connected(event_type: str, thing: dict[str, Any], number: int = 0) -> bytes:
    """An event of a connected account."""
    return world.body(event_type, thing, number, account="acct_1")


@pytest.mark.parametrize("name", ["cus_adaquill", "acct_1:cus_adaquill", "ada.quill@example.com"])
def test_a_customer_of_a_connected_account_is_forgotten_with_what_was_parked_before_it_was_known(
    ledger: Ledger, name: str
) -> None:
    recorder, w = Recorder(ledger), quill("1")
    parked = w.later().session(currency=None, customer_details=None, client_reference_id=None, metadata={})
    (receipt,) = recorder.take(connected("checkout.session.completed", parked))
    assert receipt.outcome == "parked"
    with ledger.read() as tx:
        assert persons_called(tx, name) == [], "nobody is known yet"
    customer = {"id": w.cus, "object": "customer", "email": w.email, "metadata": {"user_id": w.customer}}
    recorder.take(connected("customer.created", customer, 1))
    recorder.take(connected("checkout.session.completed", w.session(), 2))
    recorder.take(bought(customer="cus_adaquill2"))
    with ledger.read() as tx:
        (person,) = persons_called(tx, name)
        assert persons_called(tx, name, ["stripe"]) == [person], "by index"
    assert forget_person(ledger, person, actor="test").events == 3
    left = everything_in(ledger).replace("cus_adaquill2", "")
    assert not [trace for trace in TRACES if trace in left]


@pytest.mark.parametrize("name", ["cus_adaquill", "acct_1:cus_adaquill"])
def test_somebody_of_whom_only_held_events_of_a_connected_account_came_is_forgotten(
    make_settings: Callable[..., Settings], ledger: Ledger, ledger_url: str, name: str
) -> None:
    recorder, w = Recorder(ledger), quill("1")
    parked = w.session(currency=None, customer_details=None, client_reference_id=None, metadata={})
    recorder.take(connected("checkout.session.completed", parked))
    make_settings(DATABASE_URL=ledger_url)
    done = CliRunner().invoke(main, ["forget", name, "--yes"])
    assert done.exit_code == 0, done.output
    assert "1 events" in done.stdout
    assert "cus_adaquill" not in everything_in(ledger)


def test_an_id_is_found_whole_and_as_it_is_written(ledger: Ledger) -> None:
    recorder = Recorder(ledger)
    recorder.take(connected("checkout.session.completed", quill("1").session()))
    with ledger.read() as tx:
        for other in ("adaquill", "us_adaquill", "cus_adaquil", "CUS_ADAQUILL", "cus%adaquill", "cusXadaquill", "%"):
            assert persons_called(tx, other) == persons_called(tx, other, ["stripe"]) == [], other
