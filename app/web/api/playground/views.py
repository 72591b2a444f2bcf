"""Maps a body, or compares a mapping, as the playground's page does. Nothing is recorded or sent."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from werkzeug.exceptions import NotFound, UnprocessableEntity

from app.errors import ConfigurationError, MalformedEvent, UnknownSource
from app.intake.playground.bench import MOST_EVENTS, Asked, Playground
from app.intake.playground.trial import TrialFailed
from app.ledger.engine import look
from app.ledger.reading.bodies import received
from app.model import Inbound
from app.web.api.playground.schemas import Body, Compared, Comparison, MappedBody
from app.web.api.routes import Routes
from app.web.services import Parts

ROUTES = Routes()


@ROUTES.post("/map", 404, role="viewer")
def map_body(parts: Parts, body: Body) -> MappedBody:
    """Show what a body or an event would become, and which field gives each value."""
    bench = _bench(parts)
    if body.ledger is False:
        bench = replace(bench, ledger=None)
    mapped = _checked(lambda: bench.explain(_asked(parts, body)))
    blank: dict[str, Any] = {"not_sent": None, "delivery": None, "status": None}
    mapped["destinations"] = [{**blank, **destination} for destination in mapped["destinations"]]
    return MappedBody.model_validate(mapped)


@ROUTES.post("/map/compare")
def compare_mapping(parts: Parts, body: Comparison) -> Compared:
    """Show how the newest events of a source would change under a mapping."""
    most = body.last or MOST_EVENTS
    return Compared.model_validate(_checked(lambda: _bench(parts).compare(body.source, body.mapping, most=most)))


def _bench(parts: Parts) -> Playground:
    return Playground(parts.settings, parts.destinations, parts.policy, parts.ledger)


def _asked(parts: Parts, body: Body) -> Asked:
    if body.event is not None:
        with look(parts.ledger) as tx:
            event = received(tx, body.event)
        if event is None:
            raise NotFound(f"there is no event {body.event}")
        return Asked.of(event, body.mapping)
    headers = {name.lower(): value for name, value in (body.headers or {}).items()}
    inbound = Inbound(str(body.body).encode("utf-8", "replace"), {"content-type": "application/json", **headers})
    return Asked(str(body.source), inbound, datetime.now(UTC), body.mapping)


def _checked(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The result of `ask`. Raises UnprocessableEntity if the mapping or the source is invalid."""
    try:
        return work()
    except (ConfigurationError, UnknownSource, MalformedEvent, TrialFailed) as error:
        raise UnprocessableEntity(str(error)) from None
