"""Destinations: their state, pausing and resuming them."""

from dataclasses import asdict

from app.ledger.actions.pausing import pause_destination, resume_destination
from app.ledger.engine import look
from app.ledger.reading.summary.status import destination_states
from app.web.api.actor import actor
from app.web.api.routes import Routes
from app.web.api.state_schemas import Destinations, PauseResult
from app.web.params import Request, Text
from app.web.services import Parts, weeks_of

ROUTES = Routes()


class Pause(Request):
    reason: Text | None = None


@ROUTES.get("/destinations")
def destinations(parts: Parts) -> Destinations:
    """List destinations with their pauses."""
    with look(parts.ledger) as tx:
        weeks = weeks_of(tx, parts)
        states = destination_states(tx, _names(parts), parts.health.shadows)
    rows = [{**state, "shadow": weeks.get(state["name"])} for state in states]
    return Destinations.model_validate({"destinations": rows})


@ROUTES.post("/destinations/<name>/pause")
def pause(parts: Parts, name: str, body: Pause | None) -> PauseResult:
    """Stop forwarding to a destination: due deliveries wait."""
    reason = body.reason if body else None
    result = pause_destination(parts.ledger, name, _names(parts), reason or "", actor=actor())
    return PauseResult.model_validate(asdict(result))


@ROUTES.post("/destinations/<name>/resume")
def resume(parts: Parts, name: str) -> PauseResult:
    """Resume forwarding to a destination."""
    result = resume_destination(parts.ledger, name, _names(parts), actor=actor())
    parts.nudge()
    return PauseResult.model_validate(asdict(result))


def _names(parts: Parts) -> list[str]:
    return [destination.name for destination in parts.destinations]
