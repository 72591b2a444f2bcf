"""An optional field never costs a conversion: what a destination would refuse is left out or shortened, and said."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from app.destinations.formats.base import Body
from app.destinations.formats.draft import length
from app.destinations.formats.template.shipped import Shipped
from app.model import Facts, Kind, Lead, Sale
from app.money import Money
from tests.support.formats import FORMATS, OF_TRACK, format_of
from tests.support.formats import SALE as WITH_CLICKS

SALE = Facts(
    kind="sale",
    occurred_at=datetime(2026, 4, 10, 12, 34, 56, tzinfo=UTC),
    customer_id="user_1",
    click_id="clk_1",
    email="ada@example.com",
    name="Ada Lovelace",
    phone="+491701234567",
    sale=Sale("in_1", Money(19999, "USD"), order_id="cs_1", metadata={"product": "Course"}),
    source="stripe",
    key="sale:stripe:in_1",
)
LEAD = replace(
    SALE,
    kind="lead",
    sale=None,
    lead=Lead("tok_1", metadata={"source": "typeform", "form": "Demo"}),
    key="lead:typeform:tok_1",
)
KINDS: list[tuple[Kind, Facts]] = [("sale", SALE), ("lead", LEAD)]
NAMES = {  # the fields for name and address, of formats that limit them
    "events": ("name", "email"),
    "track": ("customerName", "customerEmail"),
    "dub": ("customerName", "customerEmail"),
}
LONGEST = {"events": 255, "track": 255, "dub": 100}

REFUSED_BY_DUB = [
    "müller@example.com",
    "a&b@example.com",
    "a/b@example.com",
    "a=b@example.com",
    "a!b@example.com",
    "a#b@example.com",
    "a,b@example.com",
    "ada@ex_ample.com",
    "ada@example.xn--p1ai",
    "ada@example.c",
    "ada@localhost",
    ".ada@example.com",
    "ada.@example.com",
    "ada'@example.com",
    "a..da@example.com",
    "ada@-example.com",
    "ada@example..com",
    "ada@[127.0.0.1]",
    '"ada"@example.com',
    "ada@example.com\n",
]
TAKEN_BY_DUB = ["ada@example.com", "o'brien@example.com", "a+b@example.com", "A.b_c-d@xn--mller-kva.de", "1@a-b.co.uk"]
REFUSED_BY_TRACK = [
    "o'brien@example.com",
    "müller@example.com",
    "a&b@example.com",
    "ada@example.xn--e1afmkfd.xn--p1ai",
    ".ada@example.com",
    "a..da@example.com",
    "ada.@example.com",
    "ada,@example.com",
    "ada@ex_ample.com",
]
TAKEN_BY_TRACK = ["ada@example.com", "a,b@example.com", "a+b@example.com", "a_b-c.d@ex-ample.co.uk"]


def checked(format_name: str, kind: Kind, facts: Facts) -> Body:
    """The body, which passes its own format's check."""
    wire = format_of(format_name)
    body = wire.body(facts)
    assert wire.problem(kind, body.fields) is None
    return body


@pytest.mark.parametrize(("kind", "facts"), KINDS)
@pytest.mark.parametrize("name", [name for name in FORMATS if not isinstance(format_of(name), Shipped)])
def test_what_every_destination_accepts_is_sent_whole(name: str, kind: Kind, facts: Facts) -> None:
    """Presets need more than these facts; test_presets.py gives them that."""
    if kind not in format_of(name).kinds:
        pytest.skip(f"{name} takes no {kind}")
    whole = replace(facts, clicks=WITH_CLICKS.clicks, key=f"{kind}:stripe:1")
    assert checked(name, kind, whole).omitted == ()


@pytest.mark.parametrize(("kind", "facts"), KINDS)
@pytest.mark.parametrize("text", ["n" * 600, "Ada " * 200, "ß" * 300, "\N{GRINNING FACE}" * 200])
@pytest.mark.parametrize("name", NAMES)
def test_a_long_name_is_shortened_and_that_is_said(name: str, text: str, kind: Kind, facts: Facts) -> None:
    body = checked(name, kind, replace(facts, name=text))
    field, most = NAMES[name][0], LONGEST[name]
    assert most - 4 <= length(body.fields[field]) <= most
    assert text.startswith(body.fields[field])
    assert body.omitted == (f"{field} was shortened to {most} characters",)


@pytest.mark.parametrize(("kind", "facts"), KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_a_long_address_is_left_out_and_not_cut(name: str, kind: Kind, facts: Facts) -> None:
    body = checked(name, kind, replace(facts, email="a" * 300 + "@example.com"))
    field = NAMES[name][1]
    assert field not in body.fields
    assert body.omitted == (f"{field} was left out: it is longer than {LONGEST[name]} characters",)


@pytest.mark.parametrize(("kind", "facts"), KINDS)
@pytest.mark.parametrize(
    ("name", "email"), [*(("dub", one) for one in REFUSED_BY_DUB), *(("track", one) for one in REFUSED_BY_TRACK)]
)
def test_an_address_of_a_form_that_is_refused_is_left_out(name: str, email: str, kind: Kind, facts: Facts) -> None:
    body = checked(name, kind, replace(facts, email=email))
    assert "customerEmail" not in body.fields
    assert "customerEmail was left out" in body.omitted[0]


@pytest.mark.parametrize(("kind", "facts"), KINDS)
@pytest.mark.parametrize(
    ("name", "email"),
    [
        *(("dub", one) for one in TAKEN_BY_DUB),
        *(("track", one) for one in TAKEN_BY_TRACK),
        *(("events", one) for one in ("müller@example.com", "o'brien@example.com")),
    ],
)
def test_an_address_that_is_accepted_is_sent(name: str, email: str, kind: Kind, facts: Facts) -> None:
    body = checked(name, kind, replace(facts, email=email))
    assert body.fields[NAMES[name][1]] == email
    assert body.omitted == ()


@pytest.mark.parametrize(("kind", "facts"), KINDS)
@pytest.mark.parametrize("name", OF_TRACK)
def test_two_long_customer_ids_stay_two(name: str, kind: Kind, facts: Facts) -> None:
    first, second = "u" * 120 + "1", "u" * 120 + "2"
    ids = {
        format_of(name).body(replace(facts, customer_id=one)).fields["customerExternalId"] for one in (first, second)
    }
    assert ids == {first, second}


@pytest.mark.parametrize(("kind", "facts"), KINDS)
@pytest.mark.parametrize("name", OF_TRACK)
def test_a_customer_id_is_sent_trimmed_as_sale_and_as_lead(name: str, kind: Kind, facts: Facts) -> None:
    assert checked(name, kind, replace(facts, customer_id=" user_1\t")).fields["customerExternalId"] == "user_1"


@pytest.mark.parametrize("name", ["events", "track"])
def test_a_click_id_beyond_the_limit_is_left_out(name: str) -> None:
    body = checked(name, "sale", replace(SALE, click_id="c" * 256))
    assert "clickId" not in body.fields
    assert body.omitted == ("clickId was left out: it is longer than 255 characters",)


@pytest.mark.parametrize("name", ["track", "dub"])
def test_an_event_name_is_shortened_to_what_is_accepted(name: str) -> None:
    assert SALE.sale is not None
    long = replace(SALE, sale=replace(SALE.sale, event_name="e" * 300))
    assert checked(name, "sale", long).fields["eventName"] == "e" * 255


@pytest.mark.parametrize("name", ["events", "dub"])
def test_of_metadata_that_is_too_long_the_largest_entries_are_left_out(name: str) -> None:
    assert SALE.sale is not None
    metadata = {"product": "Course", "notes": "n" * 9_000, "more": "m" * 8_000}
    body = checked(name, "sale", replace(SALE, sale=replace(SALE.sale, metadata=metadata)))
    assert body.fields["metadata"] == {"product": "Course", "more": "m" * 8_000}
    assert body.omitted == ("metadata.notes was left out: it is too long",)


def test_a_lead_is_readable_for_the_sale_that_follows_it_at_once() -> None:
    assert checked("dub", "lead", LEAD).fields["mode"] == "wait"
    second_event = replace(LEAD, click_id=None)
    assert (
        checked("dub", "lead", second_event).fields | {"mode": "wait", "clickId": ""}
        == checked("dub", "lead", second_event).fields
    )


def test_a_deferred_lead_stays_deferred() -> None:
    assert LEAD.lead is not None
    deferred = replace(LEAD, lead=replace(LEAD.lead, mode="deferred"))
    assert {checked(name, "lead", deferred).fields["mode"] for name in OF_TRACK} == {"deferred"}
    assert ["mode" in checked(name, "lead", LEAD).fields for name in ("events", "track")] == [False, False]


@pytest.mark.parametrize(
    ("minor", "currency", "units"),
    [
        (19999, "USD", 19999),
        (5000_00, "UGX", 5000),
        (500, "JPY", 500),
        (45000, "MGA", 45000),
        (10_000, "KWD", 1000),
        (5_005, "BHD", 500),
        (5_015, "BHD", 502),
        (1_234, "TND", 123),
        (290000, "ISK", 290000),
        (499000, "HUF", 499000),
        (80000, "TWD", 80000),
        (50_50, "UGX", 50),
        (51_50, "UGX", 52),
        (99999999999999, "EUR", 99999999999999),
    ],
)
def test_dub_counts_in_units_of_its_own(minor: int, currency: str, units: int) -> None:
    assert SALE.sale is not None
    facts = replace(SALE, sale=replace(SALE.sale, money=Money(minor, currency)))
    assert format_of("dub").body(facts).fields["amount"] == units


@pytest.mark.parametrize(
    ("source", "processor"), [("stripe", "stripe"), ("shopify", "shopify"), ("typeform", "custom"), ("", "custom")]
)
def test_dub_is_named_the_processor_that_the_source_is(source: str, processor: str) -> None:
    assert format_of("dub").body(replace(SALE, source=source)).fields["paymentProcessor"] == processor
