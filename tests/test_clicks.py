"""The click ids that a person keeps beside the main one: learned, merged, sent by touch, shown, found and forgotten."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from sqlalchemy import event

from app.bootstrap import make_health
from app.clicks import from_text
from app.config.settings import Settings
from app.destinations.formats.base import Body
from app.destinations.formats.events import Events
from app.ledger.actions.forget import forget_person
from app.ledger.engine import Ledger
from app.ledger.reading.persons import person, search
from app.ledger.recording.arrival import Arrival, Policy, Route
from app.ledger.recording.record import record
from app.model import Facts, Inbound, Lead, Mapped, Rules, Sale, Who
from app.money import Money
from app.web.factory import create_app
from tests.support.makers import settle
from tests.web.conftest import Browser

START = datetime(2026, 4, 10, 12, tzinfo=UTC)
START_MS = int(START.timestamp() * 1000)
numbers = count(1)


class Clicks(Events):
    """A format that sends them."""

    name = "clicks"

    def body(self, facts: Facts) -> Body:
        return Body({name: seen.value for name, seen in facts.clicks.items()})


class Story:
    """Events of one or several persons, `minute` after a start."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        routes = [Route("first", Clicks(), first_touch=True), Route("last", Clicks(), first_touch=False)]
        self.policy = Policy(Rules(), routes)

    def takes(self, minute: float, *, keys: tuple[str, ...] = (), who: dict[str, Any], **fields: Any) -> int:
        number = next(numbers)
        mapped = Mapped(
            reason="said", event_id=f"e{number}", event_type="t", keys=keys or (f"k{number}",), who=Who(**who),
            occurred_at=START + timedelta(minutes=minute), **fields,
        )  # fmt: skip
        arrival = Arrival("stripe", mapped, Inbound(b"{}", {}), {}, START)
        return self.ledger.transact(lambda tx: record(tx, [arrival], self.policy))[0].id

    def signs_up(self, minute: float, email: str = "ada@example.com", **clicks: str) -> int:
        who = {"email": email, "clicks": clicks}
        return self.takes(minute, who=who, outcome="lead", lead=Lead(f"tok_{next(numbers)}"))

    def sent(self, destination: str) -> list[dict[str, str]]:
        statement = "SELECT payload FROM deliveries WHERE destination = ? ORDER BY id"
        with self.ledger.read() as tx:
            return [json.loads(payload) for payload in tx.run(statement, destination).scalars()]


@pytest.fixture
def story(ledger: Ledger) -> Story:
    return Story(ledger)


def at(minute: float) -> int:
    return START_MS + int(minute * 60_000)


def test_the_first_and_the_last_are_kept_by_the_time_of_their_events_in_whatever_order_they_come(story: Story) -> None:
    story.signs_up(5, gclid="G5")
    story.signs_up(9, gclid="G9", msclkid="M9")
    story.signs_up(7, gclid="G7")
    story.signs_up(1, gclid="G1")
    story.signs_up(12, gclid="G9")
    with story.ledger.read() as tx:
        (row,) = tx.run("SELECT clicks FROM persons").scalars()
    bag = from_text(row)
    assert {name: (span.first, span.last) for name, span in bag.items()} == {
        "gclid": (("G1", at(1)), ("G9", at(9))),
        "msclkid": (("M9", at(9)), ("M9", at(9))),
    }
    assert story.sent("first") == [{"gclid": "G1", "msclkid": "M9"}] * 5
    assert story.sent("last") == [{"gclid": "G9", "msclkid": "M9"}] * 5


def test_two_persons_who_turn_out_to_be_one_have_the_clicks_of_both(story: Story) -> None:
    story.signs_up(3, "ada@example.com", gclid="G3")
    story.signs_up(1, "ada@work.example", gclid="G1", fbp="fb.1.1.2")
    story.takes(
        5, who={"email": "ada@example.com", "aliases": ("stripe:cus_1",)}, outcome="ignored", carries_identity=True
    )
    story.takes(
        6, who={"email": "ada@work.example", "aliases": ("stripe:cus_1",)}, outcome="ignored", carries_identity=True
    )
    assert story.sent("first") == [{"gclid": "G1", "fbp": "fb.1.1.2"}] * 2
    assert story.sent("last") == [{"gclid": "G3", "fbp": "fb.1.1.2"}] * 2


def test_an_ignored_event_of_a_purchase_teaches_whoever_counts_it(story: Story) -> None:
    story.takes(1, keys=("pi_1",), who={"clicks": {"gclid": "G1", "ttclid": "E.C.P." + "x" * 600}}, outcome="ignored")
    story.takes(2, keys=("pi_2",), who={"clicks": {"gclid": "G2"}}, outcome="pending")
    for number in (1, 2):
        sale = Sale(f"pi_{number}", Money(4900, "USD"))
        who = {"email": f"p{number}@example.com"}
        story.takes(3, keys=(f"pi_{number}",), who=who, outcome="sale", sale=sale)
    assert story.sent("first") == [{"gclid": "G1", "ttclid": "E.C.P." + "x" * 600}, {"gclid": "G2"}]


def test_fbc_is_made_of_the_fbclid_and_the_time_at_which_it_was_first_seen(story: Story) -> None:
    story.signs_up(1, fbclid="IwAR1x")
    story.signs_up(2, fbclid="IwAR1x")
    assert story.sent("last")[1] == {"fbclid": "IwAR1x", "fbc": f"fb.1.{at(1)}.IwAR1x"}
    story.signs_up(3, fbc="fb.1.1775800000123.IwAR2y")
    assert story.sent("last")[2]["fbc"] == "fb.1.1775800000123.IwAR2y"


def test_a_person_is_shown_with_them_found_by_them_and_forgotten_with_them(story: Story) -> None:
    story.signs_up(1, gclid="Cj0KCQ_first")
    story.signs_up(2, gclid="Cj0KCQ_last")
    for text in ("Cj0KCQ_first", "Cj0KCQ_la"):
        with story.ledger.read() as tx:
            (found,), _ = search(tx, text, ("stripe",), whole_addresses=True, limit=5)
        assert found["clicks"]["gclid"] == {
            "first": "Cj0KCQ_first",
            "first_at": "2026-04-10T12:01:00.000Z",
            "last": "Cj0KCQ_last",
            "last_at": "2026-04-10T12:02:00.000Z",
        }
    forget_person(story.ledger, found["id"], actor="test")
    with story.ledger.read() as tx:
        known = person(tx, found["id"])
        assert known is not None
        assert known["clicks"] == {}
        assert tx.run("SELECT COUNT(*) FROM event_facts").scalar_one() == 0
        assert not [text for text in tx.run("SELECT payload FROM deliveries").scalars() if "Cj0" in text]


@contextmanager
def statements(ledger: Ledger) -> Iterator[list[str]]:
    sent: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        sent.append(statement)

    event.listen(ledger.engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(ledger.engine, "before_cursor_execute", note)


def test_a_click_id_that_is_known_costs_no_statement(story: Story) -> None:
    story.signs_up(1, gclid="G1")
    counts = []
    for clicks in ({}, {"gclid": "G1"}):
        with statements(story.ledger) as sent:
            story.signs_up(2, **clicks)
        counts.append(len(sent))
    assert counts[0] == counts[1]


def test_a_thousand_organic_sales_leave_everything_green(
    ledger: Ledger, make_settings: Callable[..., Settings]
) -> None:
    policy = Policy(Rules(), [Route("sandbox", Events())])
    arrivals = []
    for number in range(1000):
        mapped = Mapped(
            outcome="sale", reason="paid", event_id=f"e{number}", event_type="t", keys=(f"pi_{number}",),
            who=Who(email=f"p{number}@example.com"), sale=Sale(f"pi_{number}", Money(4900, "USD")), occurred_at=START,
        )  # fmt: skip
        arrivals.append(Arrival("stripe", mapped, Inbound(b"{}", {}), {}, START))
    for start in range(0, 1000, 100):
        ledger.transact(lambda tx, start=start: record(tx, arrivals[start : start + 100], policy))  # type: ignore[misc]
    while settle(ledger, "unattributed", error="it knows no click"):
        pass
    settings = make_settings()
    health = make_health(settings)
    with ledger.read() as tx:
        problems = health.verdict(tx).problems
        states = tx.run("SELECT status, COUNT(*) FROM deliveries GROUP BY status").all()
    assert [tuple(row) for row in states] == [("unattributed", 1000)]
    assert [(one.kind, one.level) for one in problems if one.kind != "no worker"] == [("unattributed", "note")]
    app = create_app(settings, ledger)
    assert "Nothing has failed" in Browser(app.test_client(), "password of the tests").get("/failed").text
    app.extensions["writer"].stop()
    app.extensions["refusals"].stop()
