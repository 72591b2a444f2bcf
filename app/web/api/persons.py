"""Persons: who they are, what happened to them, exporting and erasing their data."""

from typing import Annotated, Any

from flask import Response
from pydantic import Field
from werkzeug.exceptions import Conflict, NotFound

from app.ledger.actions.forget import BeingSent, forget_person
from app.ledger.engine import look
from app.ledger.reading import persons as reading_persons
from app.ledger.reading.export import export_person as export_of
from app.ledger.transaction import Tx
from app.web.api.actor import actor
from app.web.api.routes import Routes
from app.web.api.schemas import Forgotten, PersonPage, WholePerson
from app.web.auth import is_viewer
from app.web.csv_export import download
from app.web.params import Paging, Text
from app.web.services import Parts

ROUTES = Routes()


class PersonsQuery(Paging):
    q: Annotated[Text | None, Field(description="An email address, phone number, name or ID.")] = None


@ROUTES.get("/persons")
def persons(parts: Parts, query: PersonsQuery) -> PersonPage:
    """List people, newest first."""
    with look(parts.ledger) as tx:
        page, _ = reading_persons.search(
            tx, query.q or "", parts.sources, whole_addresses=is_viewer(), before=query.before, limit=query.size
        )
    following = page[-1]["id"] if len(page) == query.size else None
    return PersonPage.model_validate({"persons": page, "next_before": following})


@ROUTES.get("/persons/<int:person_id>")
def person(parts: Parts, person_id: int) -> WholePerson:
    """Get one person and what happened to them."""
    with look(parts.ledger) as tx:
        profile = _known(tx, person_id)
        steps = reading_persons.journey(tx, profile)
        profile["events"] = reading_persons.events_of(tx, person_id)
    profile["journey"] = [{k: v for k, v in step.items() if k not in ("ms", "rank", "conversion")} for step in steps]
    profile["why"] = reading_persons.why_this_id(profile)
    return WholePerson.model_validate(profile)


@ROUTES.get("/persons/<int:person_id>/export", role="operator")
def export_person(parts: Parts, person_id: int) -> Response:
    """Get everything kept about a person."""
    pieces = export_of(parts.ledger, person_id, actor=actor())
    if pieces is None:
        raise NotFound(f"there is no person {person_id}")
    return download(f"person-{person_id}.json", "application/json", pieces)


@ROUTES.post("/persons/<int:person_id>/forget", 409)
def forget(parts: Parts, person_id: int) -> Forgotten:
    """Erase a person's data; the IDs of their purchases stay. It cannot be undone."""
    with look(parts.ledger) as tx:
        _known(tx, person_id)
    try:
        done = forget_person(parts.ledger, person_id, actor=actor())
    except BeingSent:
        raise Conflict("one of their deliveries is being sent: try again in a minute") from None
    return Forgotten(id=person_id, events=done.events, deliveries=done.deliveries, discarded=done.discarded)


def _known(tx: Tx, person_id: int) -> dict[str, Any]:
    """A person with everything known about them. Raises NotFound."""
    profile = reading_persons.person(tx, person_id)
    if profile is None:
        raise NotFound(f"there is no person {person_id}")
    return profile
