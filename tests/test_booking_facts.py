"""What requests, payments and reschedules say of a booking or sign-up is known to the event that counts it, once."""

import itertools
import json
from dataclasses import replace
from typing import Any

import pytest

from app.ledger.engine import Ledger
from app.sources.calcom.source import SOURCE as CALCOM
from app.sources.supabase.source import SOURCE as SUPABASE
from tests.support.stripe_recorder import Recorder

CLICK = {"clickId": "clk_1", "user_id": "user_1"}


def booking(
    event: str, uid: str, metadata: dict[str, str] | None = None, responses: bool = True, **fields: Any
) -> bytes:
    """A webhook of Cal.com about one booking."""
    answers = {"email": {"value": "ada@example.com"}, "name": {"value": "Ada Lovelace"}}
    payload = {"uid": uid, "metadata": metadata or {}, "responses": answers if responses else None, **fields}
    payload["attendees"] = [{"email": "ada@example.com", "name": "Ada Lovelace"}]
    return json.dumps({"triggerEvent": event, "createdAt": "2026-11-29T10:00:00.000Z", "payload": payload}).encode()


CONFIRMED = {
    "requested": booking("BOOKING_REQUESTED", "a", CLICK),
    "created": booking("BOOKING_CREATED", "a", {"videoCallUrl": "https://video.example"}),
}
PAID = {
    "initiated": booking("BOOKING_PAYMENT_INITIATED", "a", CLICK),
    "paid": booking("BOOKING_PAID", "a", responses=False),
    "created": booking("BOOKING_CREATED", "a", responses=False),
}
RESCHEDULED = {
    "created": booking("BOOKING_CREATED", "a", CLICK),
    "requested": booking("BOOKING_REQUESTED", "b", rescheduleUid="a"),
    "again": booking("BOOKING_CREATED", "b"),
}
RESCHEDULED_TWICE = {
    "created": booking("BOOKING_CREATED", "a", CLICK),
    "moved": booking("BOOKING_RESCHEDULED", "b", rescheduleUid="a"),
    "requested": booking("BOOKING_REQUESTED", "c", rescheduleUid="b"),
    "again": booking("BOOKING_CREATED", "c"),
}
MOVED_BEFORE_IT_WAS_CONFIRMED = {
    "requested": booking("BOOKING_REQUESTED", "a", CLICK),
    "moved": booking("BOOKING_REQUESTED", "b", rescheduleUid="a"),
    "created": booking("BOOKING_CREATED", "b"),
}


@pytest.mark.parametrize("size", [1, 4], ids=["one-by-one", "in-one-group"])
@pytest.mark.parametrize(
    "events", [CONFIRMED, PAID, RESCHEDULED, RESCHEDULED_TWICE, MOVED_BEFORE_IT_WAS_CONFIRMED], ids="-".join
)
def test_a_booking_is_one_lead_with_the_click_of_any_of_its_events_in_any_order(
    ledger: Ledger, events: dict[str, bytes], size: int
) -> None:
    recorder = Recorder(ledger, CALCOM)
    for number, order in enumerate(itertools.permutations(events)):
        start = recorder.newest()
        bodies = [_of_booking(number, events[name]) for name in order]
        for first in range(0, len(bodies), size):
            recorder.take(*bodies[first : first + size])
        (lead,) = recorder.payloads("lead", after=start)
        assert (lead["clickId"], lead["customerExternalId"]) == (f"clk_{number}", f"user_{number}"), order
        assert (lead["email"], lead["name"]) == (f"ada{number}@example.com", "Ada Lovelace")
    assert recorder.conflicts() == []


def _of_booking(number: object, body: bytes) -> bytes:
    """The same event of another booking, by somebody else."""
    text = body.decode().replace("ada@", f"ada{number}@").replace("clk_1", f"clk_{number}")
    text = text.replace("user_1", f"user_{number}")
    for uid in "abc":
        text = text.replace(f'"uid": "{uid}"', f'"uid": "{uid}{number}"')
        text = text.replace(f'"rescheduleUid": "{uid}"', f'"rescheduleUid": "{uid}{number}"')
    return text.encode()


def test_a_reschedule_that_was_sent_twice_before_its_request_came_is_a_conflict(ledger: Ledger) -> None:
    recorder = Recorder(ledger, CALCOM)
    recorder.take(RESCHEDULED["created"])
    recorder.send_all()
    recorder.take(RESCHEDULED["again"])
    recorder.send_all()
    recorder.take(RESCHEDULED["requested"])
    assert [status for _, status in recorder.deliveries()] == ["delivered", "delivered"]
    assert len(recorder.conflicts()) == 1


def test_a_request_that_is_never_confirmed_makes_no_lead_and_no_person(ledger: Ledger) -> None:
    recorder = Recorder(ledger, CALCOM)
    recorder.take(CONFIRMED["requested"], booking("BOOKING_REJECTED", "a"))
    assert recorder.deliveries() == []
    with ledger.read() as tx:
        assert tx.run("SELECT COUNT(*) FROM persons").scalar_one() == 0


def test_seats_of_one_booking_do_not_share_what_their_requests_say(ledger: Ledger) -> None:
    recorder = Recorder(ledger, CALCOM)
    recorder.take(booking("BOOKING_REQUESTED", "a", CLICK, attendeeSeatId="seat1"))
    recorder.take(booking("BOOKING_CREATED", "a", attendeeSeatId="seat2"))
    (lead,) = recorder.payloads("lead")
    assert "clickId" not in lead


# --- anonymous visitors of Supabase --------------------------------------------------------------------------------------


def user(**fields: Any) -> dict[str, Any]:
    return {
        "id": "0b7c8d1e-1",
        "email": None,
        "phone": "",
        "is_anonymous": True,
        "raw_user_meta_data": {},
        "created_at": "2026-11-29T10:00:00.1Z",
        **fields,
    }


PERMANENT = {"is_anonymous": False, "email": "ada@example.com", "updated_at": "2026-11-29T11:00:00Z"}


def change(operation: str, record: dict[str, Any] | None, old: dict[str, Any] | None = None) -> bytes:
    body = {"type": operation, "schema": "auth", "table": "users", "record": record, "old_record": old}
    return json.dumps(body).encode()


def test_an_anonymous_visitor_who_becomes_permanent_is_one_lead_at_that_time(ledger: Ledger) -> None:
    recorder = Recorder(ledger, SUPABASE)
    visitor = user(raw_user_meta_data={"clickId": "clk_1"})
    receipts = recorder.take(change("INSERT", visitor), change("UPDATE", user(**PERMANENT), visitor))
    assert [receipt.outcome for receipt in receipts] == ["ignored", "lead"]
    (lead,) = recorder.payloads("lead")
    assert (lead["email"], lead["clickId"]) == ("ada@example.com", "clk_1")
    assert lead["customerExternalId"] == "0b7c8d1e-1"
    assert lead["timestamp"] == "2026-11-29T11:00:00.000Z"


def test_what_changes_afterwards_makes_no_second_lead(ledger: Ledger) -> None:
    recorder = Recorder(ledger, SUPABASE)
    confirmed = user(**PERMANENT, email_confirmed_at="2026-11-29T12:00:00Z")
    recorder.take(change("UPDATE", user(**PERMANENT), user()))
    recorder.take(change("UPDATE", confirmed, user()))
    recorder.take(change("UPDATE", confirmed, user(**PERMANENT)))
    recorder.take(change("INSERT", confirmed))
    assert len(recorder.payloads("lead")) == 1


@pytest.mark.parametrize(
    ("record", "old"),
    [
        (user(**PERMANENT), user(**PERMANENT)),
        (user(last_sign_in_at="2026-11-29T11:00:00Z"), user()),
        (user(is_anonymous=False), user()),
        (user(**PERMANENT), None),
    ],
    ids=["was-permanent", "still-anonymous", "without-an-address", "without-the-old-record"],
)
def test_other_changes_of_a_user_are_no_sign_up(
    ledger: Ledger, record: dict[str, Any], old: dict[str, Any] | None
) -> None:
    recorder = Recorder(ledger, SUPABASE)
    (receipt,) = recorder.take(change("UPDATE", record, old))
    assert receipt.outcome == "ignored"


def test_a_booking_of_nobody_stays_parked_where_a_click_id_is_required_and_none_comes(ledger: Ledger) -> None:
    recorder = Recorder(ledger, CALCOM)
    recorder.policy = replace(recorder.policy, require_click_id=True)
    created, initiated = json.loads(PAID["created"]), json.loads(PAID["initiated"])
    created["payload"]["attendees"], initiated["payload"]["metadata"] = [], {}
    recorder.take(json.dumps(created).encode())
    recorder.take(json.dumps(initiated).encode())
    assert recorder.payloads("lead") == []


def test_a_booking_of_nobody_is_a_lead_when_its_payment_says_who_booked(ledger: Ledger) -> None:
    recorder = Recorder(ledger, source=CALCOM)
    created = json.loads(PAID["created"])
    created["payload"]["attendees"] = []
    (parked,) = recorder.take(json.dumps(created).encode())
    assert parked.outcome == "parked"
    recorder.take(PAID["initiated"])
    (lead,) = recorder.payloads("lead")
    assert (lead["clickId"], lead["customerExternalId"]) == ("clk_1", "user_1")
