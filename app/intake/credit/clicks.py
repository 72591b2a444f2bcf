"""Why a conversion carries no click ID, in a sentence. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from app.intake.parked.hints import explain_lacks
from app.ledger.credit.story import Conversion
from app.model import Inbound, Rules
from app.sources.base import Source
from app.sources.placeholders import is_placeholder

TELL_IT = (
    "Send the click ID with the purchase (to Stripe as metadata.clickId or client_reference_id of the session), or with a form"
    " that the customer submits before."
)


@dataclass(frozen=True, slots=True)
class NoClick:
    """cause: "deferred", "learned later", "placeholder", "other name", "no lead" or "leads without"."""

    cause: str
    text: str
    next_step: str = ""


def why_no_click(
    conversion: Conversion,
    body: tuple[bytes, Mapping[str, str]] | None,
    source: Source | None,
    rules: Rules,
    *,
    is_sent: bool,
) -> NoClick | None:
    """Why a conversion has no click ID; None if it has one and was not sent without it. is_sent: it was sent without one."""
    if conversion.follows:
        return NoClick("deferred", "No click ID: this is the second event of a deferred Lead, whose first carries it.")
    if conversion.clicks:
        if not is_sent:
            return None
        text = f"Sent without a click ID: {conversion.clicks[0]} became known later, or its format sends none."
        return NoClick("learned later", text, "Resend it if the destination can still credit it.")
    kind = "session" if conversion.event_type.startswith("checkout.session.") else "event"
    if body is not None:
        inbound = Inbound(body[0], body[1])
        (lack,) = explain_lacks(("click_id",), source, inbound, rules, is_own=False)
        for similar in lack.similar:
            if is_placeholder(similar.value):
                text = f'No click ID: the {kind} has {similar.path}: "{similar.value}", which is a placeholder.'
                return NoClick("placeholder", text, "Fill that field with the visitor’s click ID on your page.")
        named = next((candidate for candidate in lack.similar if candidate.usable), None)
        if named is not None:
            text = f'No click ID: the {kind} has {named.path}: "{named.value}", which is not read as one.'
            name = named.path.rpartition(".")[2]
            return NoClick(
                "other name", text, f"If it is one, add “{name}” to click_id in [attribution] of bridge.toml."
            )
    if conversion.earlier_leads:
        count = conversion.earlier_leads
        leads = (
            "the earlier Lead of this person carried none"
            if count == 1
            else f"none of the {count} earlier Leads of this person carried one"
        )
        return NoClick("leads without", f"No click ID: the {kind} has none, and {leads}.", TELL_IT)
    text = f"No click ID: the {kind} has none, and no earlier Lead of this person carried one."
    return NoClick("no lead", text, TELL_IT)
