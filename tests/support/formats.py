"""Formats for tests, with credentials where their requests carry some."""

from dataclasses import replace
from datetime import UTC, datetime

from app.clicks import Seen
from app.destinations.formats.base import CLICKS, Format
from app.destinations.formats.registry import FORMATS, format_of
from app.destinations.formats.template.shipped import preset, preset_names
from app.model import Facts, Lead, Product, Refund, Sale
from app.money import Money

SALE = Facts(
    kind="sale",
    occurred_at=datetime(2026, 4, 10, 12, 45, 10, 250_000, tzinfo=UTC),
    customer_id="user_1",
    click_id="clk_1",
    email="ada@example.com",
    name="Ada Lovelace",
    phone="+491701234567",
    sale=Sale(
        "in_1",
        Money(19900, "USD"),
        order_id="cs_1",
        event_name="order_paid",
        products=(Product("prod_1"), Product("prod_2")),
    ),
    source="stripe",
    key="sale:stripe:in_1",
    clicks={
        **{name: Seen(f"{name}_1", 1775800000123) for name in CLICKS if name not in ("fbc", "gbraid", "wbraid")},
        **{
            name: Seen(f"{name}_1", 1775800000123)
            for name in ("datafast_visitor_id", "tid", "tolt_customer_id", "referral_id")
        },
    },
)
LEAD = replace(SALE, kind="lead", sale=None, lead=Lead("tok_1", metadata={"form": "Demo"}), key="lead:typeform:tok_1")
REFUND = replace(
    SALE,
    kind="refund",
    refund=Refund("re_1", Money(5000, "USD"), left=Money(14900, "USD"), sale_amount=Money(19900, "USD")),
    key="refund:stripe:re_1",
)
PRESETS = tuple(preset_names())
OF_TRACK = ("events", "track", "dub")
"""Those that name their fields as CutMeShort and Dub do."""
SAYS_LITTLE = (*OF_TRACK, "template")
"""Those that take a 2xx for a success unless it says no."""


def ready(name: str) -> Format:
    """The format with the examples of its parameters, and `secret` for each secret."""
    wire = format_of(name)
    if name not in PRESETS:
        return wire
    return wire.with_secrets({one: "/path" if one == "url" else "secret" for one in preset(name).secrets})


__all__ = ["FORMATS", "LEAD", "OF_TRACK", "PRESETS", "REFUND", "SALE", "SAYS_LITTLE", "format_of", "ready"]
