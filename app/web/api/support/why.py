"""Why a purchase is not credited."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field
from werkzeug.exceptions import UnprocessableEntity

from app.intake.credit.why import why, why_person
from app.ledger.engine import look
from app.web.api.routes import Routes
from app.web.api.support.schemas import WhyAnswer
from app.web.params import Number, Request, Text
from app.web.services import Parts

ROUTES = Routes()


class WhyQuery(Request):
    model_config = ConfigDict(json_schema_extra={"required": ["q"]})
    q: Annotated[
        Text | None, Field(description="An email address, order number, click ID, name, phone number or ID.")
    ] = None
    person: Annotated[Number | None, Field(description="The bridge's ID of a person, instead of `q`.")] = None


@ROUTES.get("/why")
def why_not_credited(parts: Parts, query: WhyQuery) -> WhyAnswer:
    """Explain why a purchase is not credited: its events and deliveries, whether they carried a click ID, and the remedy."""
    if query.q is None and query.person is None:
        raise UnprocessableEntity("q is missing: send an email address, an order number or any ID")
    with look(parts.ledger) as tx:
        if query.q is None and query.person is not None:
            explanation = why_person(tx, query.person, parts.sources, parts.settings.rules)
        else:
            explanation = why(tx, query.q or "", parts.sources, parts.settings.rules)
    findings: list[dict[str, Any]] = [
        {"level": finding.level, "text": finding.text, "next_step": finding.next_step, "path": finding.path}
        for finding in explanation.findings
    ]
    deliveries = []
    for row in explanation.story.deliveries:
        reason = explanation.reasons.get(row["id"])
        deliveries.append(
            row | {"click": explanation.carried.get(row["id"]), "no_click": reason.text if reason else None}
        )
    return WhyAnswer.model_validate(
        {
            "findings": findings,
            "people": explanation.story.people,
            "events": explanation.story.events,
            "deliveries": deliveries,
        }
    )
