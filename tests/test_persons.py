"""Who is who: one customer id and the first click for everything a person does, and nobody joined who should not be."""

import json
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from app.destinations.formats.events import Events
from app.ledger.engine import Ledger
from app.ledger.recording.arrival import Arrival, Policy, Receipt, Route
from app.ledger.recording.record import record
from app.model import Inbound, Lead, Mapped, Rules, Sale, Who
from app.money import Money

numbers = count(1)
START = datetime(2026, 4, 10, 12, tzinfo=UTC)


class Story:
    """What happened, event by event."""

    def __init__(self, ledger: Ledger, *, first_touch: bool = True, **policy: Any) -> None:
        self.ledger = ledger
        self.policy = Policy(Rules(), [Route("main", Events(), first_touch=first_touch)], **policy)

    def lead(self, **who: Any) -> Receipt:
        n = next(numbers)
        return self._record("typeform", n, who, outcome="lead", lead=Lead(f"tok_{n}"))

    def sale(self, **who: Any) -> Receipt:
        n = next(numbers)
        return self._record("stripe", n, who, outcome="sale", sale=Sale(f"in_{n}", Money(4900, "USD")))

    def taught(self, **who: Any) -> Receipt:
        return self._record("stripe", next(numbers), who, outcome="ignored", carries_identity=True)

    def _record(self, source: str, n: int, who: dict[str, Any], **fields: Any) -> Receipt:
        own = (alias.rsplit(":", 1)[-1] for alias in who.get("aliases", ()))
        who.setdefault("provider_id", next((bare for bare in own if bare.startswith("cus_")), None))
        mapped = Mapped(
            reason="message", event_id=f"e{n}", event_type="t", keys=(f"k{n}",), who=Who(**who),
            occurred_at=START + timedelta(minutes=n), **fields,
        )  # fmt: skip
        arrival = Arrival(source, mapped, Inbound(b"{}", {}), {}, START)
        return self.ledger.transact(lambda tx: record(tx, [arrival], self.policy))[0]

    def arrival(self, key: str | None, who: dict[str, Any], **fields: Any) -> Arrival:
        n = next(numbers)
        mapped = Mapped(
            reason="message", event_id=f"e{n}", event_type="t", keys=(key,) if key else (), who=Who(**who),
            occurred_at=START + timedelta(minutes=n), **fields,
        )  # fmt: skip
        return Arrival("stripe", mapped, Inbound(b"{}", {}), {}, START)

    def record_all(self, *arrivals: Arrival) -> None:
        """In one group."""
        self.ledger.transact(lambda tx: record(tx, arrivals, self.policy))

    def send_all(self) -> None:
        with self.ledger.write() as tx:
            tx.run("UPDATE deliveries SET attempts = 1, status = 'delivered', due_at = NULL")

    @property
    def sent(self) -> list[dict[str, Any]]:
        with self.ledger.read() as tx:
            return [json.loads(p) for p in tx.run("SELECT payload FROM deliveries ORDER BY id").scalars()]

    @property
    def ids(self) -> list[str]:
        return [p["customerExternalId"] for p in self.sent]

    @property
    def conflicts(self) -> list[str]:
        with self.ledger.read() as tx:
            return list(tx.run("SELECT reason FROM conflicts ORDER BY id").scalars())


@pytest.fixture
def story(ledger: Ledger) -> Story:
    return Story(ledger)


def test_a_lead_a_sale_with_only_the_email_and_a_renewal_share_id_and_click(story: Story) -> None:
    story.lead(customer_id="user_1", email="Ada@Example.com", click_id="clk_1")
    story.send_all()
    story.sale(email="ada@example.com", aliases=("stripe:cus_1", "stripe:sub_1"))
    story.send_all()
    story.sale(aliases=("stripe:cus_1", "stripe:sub_1"))
    assert story.ids == ["user_1"] * 3
    assert [p["clickId"] for p in story.sent] == ["clk_1"] * 3
    assert story.sent[2]["email"] == "Ada@Example.com"


def test_with_no_explicit_id_the_one_sent_first_stands(story: Story) -> None:
    story.lead(email="ada@example.com")
    story.send_all()
    story.sale(email="ada@example.com", aliases=("stripe:cus_1",))
    story.send_all()
    story.sale(customer_id="user_1", email="ada@example.com", aliases=("stripe:cus_1",))
    assert story.ids == ["ada@example.com"] * 3
    assert len(story.conflicts) == 1
    assert "user_1" in story.conflicts[0]


def test_until_the_first_attempt_what_is_learned_is_used(story: Story) -> None:
    story.lead(email="ada@example.com")
    story.sale(customer_id="user_1", email="ada@example.com", click_id="clk_1", name="Ada")
    assert story.ids == ["user_1", "user_1"]
    assert [p["clickId"] for p in story.sent] == ["clk_1"] * 2
    assert story.sent[0]["name"] == "Ada"
    assert story.conflicts == []


def test_two_explicit_ids_with_one_mailbox_are_two_persons(story: Story) -> None:
    story.lead(customer_id="user_1", email="team@example.com", click_id="clk_1")
    story.lead(customer_id="user_2", email="team@example.com", click_id="clk_2")
    assert story.ids == ["user_1", "user_2"]
    assert [p["clickId"] for p in story.sent] == ["clk_1", "clk_2"]
    assert story.conflicts == []


def test_an_event_with_only_a_shared_mailbox_goes_to_the_one_last_seen_with_it(story: Story) -> None:
    story.lead(customer_id="user_1", email="team@example.com")
    story.lead(customer_id="user_2", email="team@example.com")
    story.sale(email="team@example.com")
    assert story.ids[-1] == "user_2"
    story.lead(customer_id="user_1", email="team@example.com")
    story.sale(email="team@example.com")
    assert story.ids[-1] == "user_1"


def test_a_fact_that_would_join_two_persons_already_sent_joins_nothing_and_is_a_conflict(story: Story) -> None:
    story.lead(email="ada@example.com")
    story.sale(aliases=("stripe:cus_1",))
    story.send_all()
    story.sale(email="ada@example.com", aliases=("stripe:cus_1",))
    assert story.ids == ["ada@example.com", "cus_1", "cus_1"]
    assert len(story.conflicts) == 1
    assert "stay two" in story.conflicts[0]


def test_two_persons_of_whom_one_was_never_sent_become_one(story: Story) -> None:
    story.lead(email="ada@example.com", click_id="clk_1")
    story.send_all()
    story.sale(aliases=("stripe:cus_1",))
    story.taught(email="ada@example.com", aliases=("stripe:cus_1",))
    assert story.ids == ["ada@example.com", "ada@example.com"]
    assert story.sent[1]["clickId"] == "clk_1"
    story.sale(aliases=("stripe:cus_1",))
    assert story.ids[-1] == "ada@example.com"
    assert story.conflicts == []


def test_the_first_click_stands_and_last_touch_is_configuration(ledger: Ledger) -> None:
    story = Story(ledger)
    story.lead(email="ada@example.com", click_id="clk_1")
    story.send_all()
    story.sale(email="ada@example.com", click_id="clk_2")
    assert [p["clickId"] for p in story.sent] == ["clk_1", "clk_1"]
    last = Story(ledger, first_touch=False)
    last.sale(email="ada@example.com")
    assert last.sent[-1]["clickId"] == "clk_2"


def test_a_name_or_a_click_id_alone_names_no_customer(story: Story) -> None:
    receipt = story.lead(name="Ada", click_id="clk_1")
    assert receipt.outcome == "parked"
    assert "no email address" in receipt.reason
    assert story.lead(phone="020 7946 0958").outcome == "parked", "a national number alone identifies nobody"
    assert story.sent == []


def test_a_phone_number_with_its_country_code_names_a_customer(story: Story) -> None:
    story.lead(phone="+44 20 7946 0958")
    story.sale(phone="+442079460958")
    assert story.ids == ["+442079460958"] * 2


def test_a_shared_phone_does_not_join_two_mailboxes(story: Story) -> None:
    story.lead(email="ada@example.com", phone="+442079460958")
    story.lead(email="bob@example.com", phone="+442079460958")
    assert story.ids == ["ada@example.com", "bob@example.com"]


def test_a_lead_without_click_id_is_parked_where_one_is_required(ledger: Ledger) -> None:
    story = Story(ledger, require_click_id=True)
    assert story.lead(email="ada@example.com").outcome == "parked"
    assert story.lead(email="ada@example.com", click_id="clk_1").outcome == "lead"
    assert story.sale(email="bob@example.com").outcome == "sale"


def test_facts_come_before_the_first_conversion_too(story: Story) -> None:
    story.taught(email="ada@example.com", aliases=("stripe:cus_1",), click_id="clk_1")
    assert story.sent == []
    story.sale(aliases=("stripe:cus_1",))
    assert story.sent[0]["clickId"] == "clk_1"
    assert story.sent[0]["email"] == "ada@example.com"


DEFERRED = {"typeform": frozenset({"stripe"})}


def test_a_deferred_lead_is_followed_once_by_a_second_event_without_click_id_and_mode(ledger: Ledger) -> None:
    story = Story(ledger, deferred=DEFERRED)
    story.lead(customer_id="user_1", email="ada@example.com", click_id="clk_1")
    story.send_all()
    story.sale(email="ada@example.com", aliases=("stripe:cus_1",))
    story.sale(email="ada@example.com", aliases=("stripe:cus_1",))
    first, second, sale, _ = story.sent
    assert (first["event"], first["mode"], first["clickId"]) == ("lead", "deferred", "clk_1")
    assert second["event"] == "lead"
    assert "clickId" not in second
    assert "mode" not in second
    assert sale["event"] == "sale"
    assert set(story.ids) == {"user_1"}


def test_a_verifying_event_of_the_same_source_is_the_second_event(ledger: Ledger) -> None:
    story = Story(ledger, deferred=DEFERRED)
    story.lead(customer_id="user_1", click_id="clk_1")
    receipt = story._record(
        "typeform", next(numbers), {"customer_id": "user_1"}, outcome="ignored", verifies_email=True
    )
    assert receipt.outcome == "lead"
    assert receipt.reason.startswith("the address is verified: the second event of lead:typeform:k")
    assert not receipt.reason.endswith(":verified")
    again = story._record("typeform", next(numbers), {"customer_id": "user_1"}, outcome="ignored", verifies_email=True)
    assert again.outcome == "ignored"
    assert len(story.sent) == 2


def test_a_lead_that_is_verified_from_the_start_is_not_deferred(ledger: Ledger) -> None:
    story = Story(ledger, deferred=DEFERRED)
    n = next(numbers)
    story._record("typeform", n, {"customer_id": "user_1"}, outcome="lead", lead=Lead(f"tok_{n}"), verifies_email=True)
    assert "mode" not in story.sent[0]
    story.sale(customer_id="user_1")
    assert [p["event"] for p in story.sent] == ["lead", "sale"]


def test_a_verification_that_comes_before_its_sign_up_leaves_nothing_to_defer(ledger: Ledger) -> None:
    story = Story(ledger, deferred=DEFERRED)
    early = story._record("typeform", next(numbers), {"customer_id": "user_1"}, outcome="ignored", verifies_email=True)
    assert early.outcome == "ignored"
    assert "verified" in early.reason
    story.lead(customer_id="user_1", email="ada@example.com", click_id="clk_1")
    story._record("typeform", next(numbers), {"customer_id": "user_1"}, outcome="ignored", verifies_email=True)
    story.sale(email="ada@example.com")
    assert [p["event"] for p in story.sent] == ["lead", "sale"]
    assert "mode" not in story.sent[0]
    assert story.sent[0]["clickId"] == "clk_1"


def test_a_sale_that_comes_before_the_sign_up_verifies_it_too(ledger: Ledger) -> None:
    story = Story(ledger, deferred=DEFERRED)
    story.sale(email="ada@example.com", aliases=("stripe:cus_1",))
    story.lead(customer_id="user_1", email="ada@example.com", click_id="clk_1")
    assert "mode" not in story.sent[1]
    story.sale(aliases=("stripe:cus_1",))
    assert [p["event"] for p in story.sent] == ["sale", "lead", "sale"]


@pytest.mark.parametrize("source", ["clerk", "stripe"])
def test_what_verifies_nothing_leaves_a_lead_deferred(ledger: Ledger, source: str) -> None:
    story = Story(ledger, deferred={"typeform": frozenset()})
    story._record(source, next(numbers), {"customer_id": "user_1"}, outcome="ignored", verifies_email=True)
    story.sale(customer_id="user_1")
    story.lead(customer_id="user_1", email="ada@example.com")
    assert story.sent[1]["mode"] == "deferred"


def test_of_two_persons_who_become_one_the_click_that_came_first_is_the_first(ledger: Ledger) -> None:
    story = Story(ledger)
    story.lead(email="ada@example.com", click_id="clk_1")
    story.sale(aliases=("stripe:cus_1",), click_id="clk_2")
    story.taught(email="ada@example.com", aliases=("stripe:cus_1",))
    assert [p["clickId"] for p in story.sent] == ["clk_1", "clk_1"]
    last = Story(ledger, first_touch=False)
    last.sale(email="ada@example.com")
    assert last.sent[-1]["clickId"] == "clk_2"


def test_a_click_that_was_sent_stands_where_two_persons_become_one(story: Story) -> None:
    story.sale(aliases=("stripe:cus_1",), click_id="clk_1")
    story.lead(email="ada@example.com", click_id="clk_2")
    story.ledger.transact(lambda tx: tx.run("UPDATE deliveries SET attempts = 1 WHERE kind = 'lead'"))
    story.taught(email="ada@example.com", aliases=("stripe:cus_1",))
    assert [p["clickId"] for p in story.sent] == ["clk_2", "clk_2"]
    assert story.ids == ["ada@example.com"] * 2


def test_a_mailbox_is_one_however_its_accents_are_written_and_another_where_its_letters_are(story: Story) -> None:
    for email in ("José@Example.com", "JOSE\u0301@example.com", "Straße@example.com", "strasse@example.com"):
        story.lead(email=email)
    for email in ("a.da+x@gmail.com", "ada@gmail.com"):
        story.lead(email=email)
    assert story.ids[:2] == ["josé@example.com"] * 2
    assert len(set(story.ids)) == 5


def test_what_was_no_conversion_of_a_person_is_forgotten_with_them(story: Story) -> None:
    from app.ledger.actions.forget import BLANK_BODY, forget_person, persons_called

    story.lead(email="ada@example.com")
    story._record("calendly", next(numbers), {"email": "Ada@example.com", "name": "Ada"}, outcome="ignored")
    story._record("calendly", next(numbers), {"email": "ada@example.com"}, outcome="parked")
    story._record("calendly", next(numbers), {"email": "bob@example.com", "click_id": "clk_1"}, outcome="ignored")
    ledger = story.ledger
    with ledger.read() as tx:
        assert persons_called(tx, "bob@example.com") == [], "it carries no identity"
        (person,) = persons_called(tx, "ada@example.com")
    assert forget_person(ledger, person, actor="test").events == 3
    with ledger.read() as tx:
        bodies = [bytes(body) for body in tx.run("SELECT body FROM events ORDER BY id").scalars()]
    assert bodies == [BLANK_BODY] * 3 + [b"{}"]
    assert story.sent[0].get("name") is None


def test_nothing_is_left_of_a_forgotten_person_who_was_two(story: Story) -> None:
    from app.ledger.actions.forget import forget_person, persons_called

    story.lead(email="ada@example.com", name="Ada Lovelace", click_id="clk_1")
    story.send_all()
    story.sale(aliases=("stripe:cus_1",), name="A. Lovelace", phone="+442079460958")
    story.taught(email="ada@example.com", aliases=("stripe:cus_1",))
    ledger = story.ledger
    with ledger.read() as tx:
        (person,) = persons_called(tx, "ada@example.com")
    forget_person(ledger, person, actor="test")
    with ledger.read() as tx:
        kept = str(tx.run("SELECT * FROM persons").all())
    for trace in ("ada@", "Lovelace", "cus_1", "7946", "clk_1"):
        assert trace not in kept


def test_a_forgotten_person_leaves_no_trace_but_the_ids_of_what_was_bought(story: Story) -> None:
    from app.ledger.actions.forget import forget_person, persons_called

    story.lead(customer_id="user_1", email="ada@example.com", name="Ada Lovelace", click_id="clk_1")
    story.send_all()
    story.sale(email="ada@example.com", aliases=("stripe:cus_1",))
    ledger = story.ledger
    with ledger.read() as tx:
        (person,) = persons_called(tx, "ADA@example.com")
        assert persons_called(tx, "cus_1") == [person]
    done = forget_person(ledger, person, actor="test")
    assert (done.events, done.deliveries, done.discarded) == (2, 2, 1)
    with ledger.read() as tx:
        for table in ("events", "conversions", "deliveries", "attempts", "persons", "identifiers", "conflicts"):
            text = str(tx.run(f"SELECT * FROM {table}").all())
            for trace in ("ada@", "Lovelace", "user_1", "clk_1", "cus_1"):
                assert trace not in text, (table, trace)
        assert tx.run("SELECT COUNT(*) FROM dedupe_keys").scalar_one() == 2
        assert persons_called(tx, "ada@example.com") == []
    story.sale(email="ada@example.com")
    assert story.ids[-1] == "ada@example.com", "a later event starts a new person"


def test_order_numbers_as_references_do_not_split_a_buyer(ledger: Ledger) -> None:
    story = Story(ledger)
    story.lead(email="kim@a.example", click_id="clk_1")
    story.send_all()
    for number in (1, 2, 3):
        story.sale(email="kim@a.example", customer_id=f"order_{number}", is_reference=True)
        story.send_all()
    assert story.ids == ["kim@a.example"] * 4
    assert [payload["clickId"] for payload in story.sent] == ["clk_1"] * 4
    assert story.conflicts == []


def test_the_first_reference_names_a_buyer_and_the_next_ones_do_not(ledger: Ledger) -> None:
    story = Story(ledger)
    for number in (1, 2):
        story.sale(email="kim@a.example", customer_id=f"order_{number}", is_reference=True)
    story.send_all()
    story.sale(aliases=("stripe:cus_1",), email="kim@a.example", customer_id="order_3", is_reference=True)
    assert story.ids == ["order_1"] * 3


def test_a_reference_names_a_buyer_who_was_not_sent_yet(ledger: Ledger) -> None:
    story = Story(ledger)
    story.sale(aliases=("stripe:cus_1",), email="kim@a.example")
    story.sale(aliases=("stripe:cus_1",), customer_id="user_1", is_reference=True)
    assert story.ids == ["user_1"] * 2


def test_a_reference_that_was_seen_before_names_its_customer(ledger: Ledger) -> None:
    story = Story(ledger)
    story.sale(email="kim@a.example", customer_id="user_1", is_reference=True)
    story.send_all()
    story.sale(email="kim@work.example", customer_id="user_1", is_reference=True)
    story.sale(email="ben@a.example", customer_id="user_2", is_reference=True)
    assert story.ids == ["user_1", "user_1", "user_2"]


def test_what_waits_for_a_known_person_learns_of_one_who_is_new_with_the_same_group(ledger: Ledger) -> None:
    story = Story(ledger, person_hold_seconds=60)
    who = {"email": "p@example.com", "aliases": ("stripe:cus_1",)}
    story.record_all(story.arrival("in_1", who, outcome="sale", sale=Sale("in_1", Money(100, "USD")), hold="person"))
    story.record_all(
        story.arrival("cs_2", {"click_id": "clk_2", "aliases": ("stripe:cus_2",)}, outcome="pending"),
        story.arrival(
            None, {"email": "p@example.com", "aliases": ("stripe:cus_2",)}, outcome="ignored", carries_identity=True
        ),
    )
    assert [payload["clickId"] for payload in story.sent] == ["clk_2"]
