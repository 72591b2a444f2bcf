"""The part of an event's page about parked events: what is missing, what was filled in, and whether it was dismissed."""

from typing import Any

from app.intake.parked import work
from app.intake.parked.fill import LABELS
from app.ledger.parked.reading import dismissal_of, fill_ins_of
from app.ledger.transaction import Tx
from app.web.services import Parts


def needs_of(tx: Tx, parts: Parts, event: dict[str, Any]) -> dict[str, Any]:
    """The template's variables, for every event."""
    is_parked = event["outcome"] == "parked"
    return {
        "needs": work.parked_event(tx, parts.sources, parts.policy, event["id"]) if is_parked else None,
        "dismissal": dismissal_of(tx, event["id"]) if event["outcome"] == "ignored" else None,
        "by_hand": fill_ins_of(tx, event["id"]),
        "labels": LABELS,
        "given": {},
        "problems": {},
        "problem": None,
    }
