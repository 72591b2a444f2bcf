"""Events, the conversions and persons that they made, and what is sent of them."""

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, String, Table, Text, UniqueConstraint

from app.ledger.tables.base import (
    CLICKED,
    CLICKED_AGAIN,
    DEAD,
    FAILED,
    HELD,
    ID,
    KEY,
    KIND,
    MERGED,
    OPEN,
    PARKED,
    REPEATED,
    SANDBOX,
    SCOPED,
    SOLD,
    UNATTRIBUTED,
    UNCLAIMED,
    metadata,
    partial_index,
)

events = Table(
    "events",
    metadata,
    Column("id", ID, primary_key=True, autoincrement=False),
    Column("event_key", KEY, nullable=False, unique=True),
    Column("source", String, nullable=False),
    Column("event_id", String, nullable=False),
    Column("event_type", String, nullable=False),
    Column("outcome", String, nullable=False),
    Column("reason", Text, nullable=False),
    Column("conversion_id", BigInteger),
    Column("person_id", BigInteger),
    Column("received_at", BigInteger, nullable=False),
    Column("received_count", Integer, nullable=False, server_default="1"),
    Column("last_received_at", BigInteger, nullable=False),
    Column("headers", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("ix_events_outcome", "outcome", "id"),
    Index("ix_events_source", "source", "id"),
    Index("ix_events_conversion", "conversion_id"),
    Index("ix_events_person_newest", "person_id", "id"),
    # Its first column is the same in every row. SQLite prefers the index of which it can use the most columns.
    partial_index("ix_events_parked", "outcome", "source", "id", where=PARKED),
    Index("ix_events_received", "received_at", "source", "outcome"),
    partial_index("ix_events_repeated", "received_count", where=REPEATED),
)

event_facts = Table(
    "event_facts",
    metadata,
    Column("value", KEY, primary_key=True),
    Column("kind", String, primary_key=True),
    Column("event_id", BigInteger, primary_key=True, autoincrement=False),
    Column("given", Text),
    Index("ix_event_facts_event", "event_id"),
)
"""What could be read from events that counted nothing, for the search and for the event that counts the same purchase later. kind:
"key", "sale" or "lead" (an id of a purchase or submission, as source:id), "email", "phone", "id", "reference", "alias", "click",
"click:gclid" (of [attribution.clicks], by its name), "name" or "text" (any other id). value is the form that is compared, given
the text as received where it differs. The name of a person whom a counted event brought is here as well, and so are the further
click ids that a person learned from it."""

KEY_KINDS = ("key", "sale", "lead")
"""Kinds of event_facts whose value is an id of a purchase or submission: of an ignored event, a parked Sale, a parked Lead."""

fill_ins = Table(
    "fill_ins",
    metadata,
    Column("event_id", BigInteger, primary_key=True, autoincrement=False),
    Column("field", String, primary_key=True),
    Column("value", Text, nullable=False),
    Column("actor", String, nullable=False),
    Column("at", BigInteger, nullable=False),
)
"""Values that an operator filled in by hand for a parked event, whose body stays as received. field: one of FILLABLE
(app/intake/parked/fill.py)."""

dismissals = Table(
    "dismissals",
    metadata,
    Column("event_id", BigInteger, primary_key=True, autoincrement=False),
    Column("reason", Text, nullable=False),
    Column("actor", String, nullable=False),
    Column("at", BigInteger, nullable=False),
)
"""Parked events that an operator closed: they are ignored now. reason: why they were parked, for the undo."""

TABLES_OF_EVENTS = ("event_facts", "fill_ins", "dismissals")
"""Tables that say more of an event, by its event_id: their rows go with its body."""

conversions = Table(
    "conversions",
    metadata,
    Column("id", ID, primary_key=True, autoincrement=False),
    Column("state", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("source", String, nullable=False),
    Column("dedupe_key", KEY, nullable=False),
    Column("hold", String, nullable=False, server_default="none"),
    Column("event_id", BigInteger, nullable=False),
    Column("person_id", BigInteger),
    Column("occurred_at", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("facts", Text, nullable=False),
    Column("clicked", Integer),
    Index("ix_conversions_person_newest", "person_id", "id"),
    partial_index("ix_conversions_sold", "created_at", "source", "clicked", where=SOLD),
)
"""clicked: 1 where it is sent with a click ID, 0 without; NULL where it is not counted, or was recorded before 0020.

state: "counted" (it is a Sale or Lead and has deliveries), "pending" (money promised), "released" (promised and not paid),
"linked" (ids known to belong together, no conversion yet). facts of one that is not counted also say what was learned of its
person (customer_id, aliases), which parked events it will settle (parked), and whether nothing more is to be learned (complete)."""

dedupe_keys = Table(
    "dedupe_keys",
    metadata,
    Column("key", KEY, primary_key=True),
    Column("conversion_id", BigInteger, nullable=False),
    Index("ix_dedupe_keys_conversion", "conversion_id"),
)

marks = Table(
    "marks",
    metadata,
    Column("reference", String, primary_key=True),
    Column("key", KEY, primary_key=True),
    Column("kind", String, nullable=False),
    Column("status", String, nullable=False),
    Column("minor", BigInteger, nullable=False),
    Column("currency", String, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("event_id", BigInteger),
    Index("ix_marks_key", "key"),
)
"""Refunds and disputes, under every id they name: joined to their Sale through dedupe_keys, whichever of them came first. One whose
reference is the id of a payment and `:refunded` has the sum of all refunds of that payment. event_id: the event that said so last;
NULL where a version before 0012 recorded it."""

refunds = Table(
    "refunds",
    metadata,
    Column("conversion_id", BigInteger, primary_key=True, autoincrement=False),
    Column("sale_id", BigInteger, nullable=False),
    Column("reference", String, nullable=False),
    Column("minor", BigInteger, nullable=False),
    Column("is_dropped", Integer, nullable=False, server_default="0"),
    Index("ix_refunds_sale", "sale_id"),
)
"""What is sent of the marks of a counted Sale: conversions of kind refund, in the order of their ids. reference: of the mark.
minor: what went back; negative where it counts again. is_dropped: 1 where it was taken back before it was sent anywhere."""

remembered = Table(
    "remembered",
    metadata,
    Column("sale_id", BigInteger, primary_key=True, autoincrement=False),
    Column("destination", String, primary_key=True),
    Column("value", Text, nullable=False),
)
"""What the format of a destination remembers of a Sale, for its refunds: which commission of Dub's it is, and its first amount."""

persons = Table(
    "persons",
    metadata,
    Column("id", ID, primary_key=True, autoincrement=False),
    Column("customer_id", String),
    Column("explicit_id", String),
    Column("provider_id", String),
    Column("email", String),
    Column("name", Text),
    Column("phone", String),
    Column("click_first", KEY),
    Column("click_last", KEY),
    Column("clicks", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("merged_into", BigInteger),
    Column("sent", Integer, nullable=False, server_default="0"),
    partial_index("ix_persons_click_first", "click_first", where=CLICKED),
    partial_index("ix_persons_click_last", "click_last", where=CLICKED_AGAIN),
    partial_index("ix_persons_merged", "merged_into", where=MERGED),
)
"""customer_id: what is sent for this person; it stands from the first attempt on. The others: what was learned. sent: 1 where
something was attempted for them of which retention removed the delivery. clicks: those beside the main one (app.clicks.to_text)."""

PERSON_FACTS = (
    "customer_id",
    "explicit_id",
    "provider_id",
    "email",
    "name",
    "phone",
    "click_first",
    "click_last",
    "clicks",
)
"""Columns of persons that say who they are: what is learned, what is handed on when two turn out to be one, what is forgotten."""

identifiers = Table(
    "identifiers",
    metadata,
    Column("value", KEY, primary_key=True),
    Column("kind", String, primary_key=True),
    Column("person_id", BigInteger, primary_key=True),
    Column("seen_at", BigInteger, nullable=False),
    Index("ix_identifiers_person", "person_id"),
    partial_index("ix_identifiers_scoped", "kind", "value", where=SCOPED),
)
"""kind: "id" (explicit), "alias" (the provider's), "email" or "phone" (normalised), "click"."""

conflicts = Table(
    "conflicts",
    metadata,
    Column("id", ID, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("event_id", BigInteger, nullable=False),
    Column("person_id", BigInteger),
    Column("conversion_id", BigInteger),
    Column("reason", Text, nullable=False),
    Column("kind", String),
    Index("ix_conflicts_person", "person_id"),
    partial_index("ix_conflicts_kind", "kind", "at", where=KIND),
)
"""kind: "counted_twice" where one purchase was sent as two Sales (or one submission as two Leads); NULL for all others."""

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", ID, primary_key=True, autoincrement=False),
    Column("conversion_id", BigInteger, nullable=False),
    Column("person_id", BigInteger, nullable=False),
    Column("event_id", BigInteger, nullable=False),
    Column("source", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("destination", String, nullable=False),
    Column("dedupe_key", KEY, nullable=False),
    Column("status", String, nullable=False),
    Column("payload", Text, nullable=False),
    Column("due_at", BigInteger),
    Column("held", Integer, nullable=False, server_default="0"),
    Column("claim", String),
    Column("claimed_until", BigInteger),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("schedule_start", Integer, nullable=False, server_default="0"),
    Column("created_at", BigInteger, nullable=False),
    Column("delivered_at", BigInteger),
    Column("last_error", Text),
    Column("last_status", Integer),
    Column("dead_at", BigInteger),
    Column("omitted", Text),
    Column("note", Text),
    UniqueConstraint("conversion_id", "destination", name="uq_deliveries_conversion"),
    partial_index("ix_deliveries_due", "destination", "due_at", where=UNCLAIMED),
    partial_index("ix_deliveries_person_open", "person_id", "destination", "id", where=OPEN),
    partial_index("ix_deliveries_claimed", "claimed_until", where="claim IS NOT NULL"),
    Index("ix_deliveries_status", "status", "id"),
    partial_index("ix_deliveries_dead", "destination", "dead_at", where=DEAD),
    partial_index(
        "ix_deliveries_failed",
        *("status", "id", "source", "kind", "last_status", "last_error", "created_at"),
        where=FAILED,
    ),
    Index("ix_deliveries_person_newest", "person_id", "id"),
    partial_index("ix_deliveries_sandbox", "destination", "source", "status", "id", where=SANDBOX),
    partial_index("ix_deliveries_unattributed", "person_id", where=UNATTRIBUTED),
    partial_index("ix_deliveries_person_held", "person_id", where=HELD),
    partial_index("ix_deliveries_held", "source", where="held = 1"),
)
"""omitted: what its format left out or shortened, a JSON array of sentences. note: what its destination's answer means beyond
the status. held: 1 while it waits for an event that names its person, 2 when that person was looked up meanwhile (it may
still wait).
dead_at: when it last died. ix_deliveries_failed holds all that the page of failed ones filters and groups by, so that it
reads none for being counted; last_error is cut where it is written (outcomes.LONGEST_ERROR), since PostgreSQL takes no
index row over 2,700 bytes. attempts counts on for ever; the retry schedule is read at attempts - schedule_start, which a
replay moves."""

stale_payloads = Table(
    "stale_payloads",
    metadata,
    Column("person_id", BigInteger, primary_key=True, autoincrement=False),
)
"""Persons with so many waiting deliveries that not all were rendered again when something was learned of them. These are
rendered when they are claimed (recording/refresh.py)."""

attempts = Table(
    "attempts",
    metadata,
    Column("id", ID, primary_key=True, autoincrement=True),
    Column("delivery_id", BigInteger, nullable=False),
    Column("number", Integer, nullable=False),
    Column("result", String, nullable=False),
    Column("by_hand", Integer, nullable=False, server_default="0"),
    Column("started_at", BigInteger, nullable=False),
    Column("duration_ms", Integer, nullable=False),
    Column("status", Integer),
    Column("error", Text),
    Column("answer_headers", Text),
    Column("answer_body", Text),
    Index("ix_attempts_delivery", "delivery_id", "id"),
)
"""result: one of model.AttemptResult. unauthorized and redirected count as no attempt."""
