"""People: find one, see their journey, export and erase their data."""

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, session, url_for
from werkzeug.exceptions import Forbidden, NotFound
from werkzeug.wrappers import Response

from app.intake.credit.why import no_clicks_of
from app.ledger.actions.forget import LOG_KEPT, BeingSent, forget_person
from app.ledger.engine import Ledger, look
from app.ledger.reading import events as reading_events
from app.ledger.reading import persons as reading_persons
from app.ledger.reading.events import events_called
from app.ledger.reading.export import export_person
from app.ledger.transaction import Tx
from app.model import Rules
from app.sources.base import Source
from app.text import storable
from app.web.auth import is_operator, login_required
from app.web.csv_export import download
from app.web.params import before_asked

ROWS, EVENTS_SHOWN = 50, 20
LONGEST_NAME = 512


def create_blueprint(ledger: Ledger, sources: Mapping[str, Source], rules: Rules) -> Blueprint:
    blueprint = Blueprint("persons", __name__)

    @blueprint.get("/persons")
    @login_required
    def persons() -> Any:
        query, before = storable(request.args.get("q", "").strip())[:LONGEST_NAME], before_asked()
        with look(ledger) as tx:
            page, is_exact = reading_persons.search(
                tx, query, sources, whole_addresses=not is_operator(), before=before, limit=ROWS
            )
            text = "" if page else query
            events = events_called(tx, text, sources, whole_addresses=not is_operator(), limit=EVENTS_SHOWN)
        if is_exact and len(page) == 1 and before is None:
            return redirect(url_for(".person", person_id=page[0]["id"]))
        return render_template(
            "persons.html", persons=page, events=events, query=query, before=before, more=len(page) == ROWS
        )

    @blueprint.get("/persons/<int:person_id>")
    @login_required
    def person(person_id: int) -> Any:
        with look(ledger) as tx:
            profile = _person(tx, person_id)
            if profile["merged_into"] is not None:
                return redirect(url_for(".person", person_id=profile["merged_into"]))
            steps = reading_persons.journey(tx, profile)
            events = reading_persons.events_of(tx, person_id)
            reasons = no_clicks_of(tx, sources, rules, person_id=person_id) if not profile["click_first"] else {}
            newest = reading_events.event(tx, events[0]["id"]) if events else None
        conflicts = [step for step in steps if step["what"] == "conflict"]
        why = reading_persons.why_this_id(profile)
        return render_template(
            "person.html",
            person=profile,
            steps=steps,
            events=events,
            conflicts=conflicts,
            why=why,
            no_clicks=list(reasons.values()),
            newest=newest["body"] if newest else None,
        )

    @blueprint.get("/persons/<int:person_id>/forget")
    @login_required
    def confirm(person_id: int) -> str:
        if not is_operator():
            raise Forbidden("this login is read-only")
        with look(ledger) as tx:
            profile = _person(tx, person_id)
        return render_template("forget.html", person=profile)

    @blueprint.post("/persons/<int:person_id>/forget")
    @login_required
    def forget_one(person_id: int) -> Response:
        with look(ledger) as tx:
            _person(tx, person_id)
        try:
            done = forget_person(ledger, person_id, actor=session["name"])
        except BeingSent:
            flash("One of their deliveries is being sent. Try again in a minute.", "warn")
        else:
            flash(
                f"Erased: {done.events} events and {done.deliveries} deliveries blanked,"
                f" {done.discarded} discarded unsent.",
                "ok",
            )
            if not done.is_overwritten:
                flash(LOG_KEPT, "warn")
        return redirect(url_for(".person", person_id=person_id))

    @blueprint.post("/persons/<int:person_id>/export")
    @login_required
    def export(person_id: int) -> Response:
        pieces = export_person(ledger, person_id, actor=session["name"])
        if pieces is None:
            raise NotFound(f"there is no person {person_id}")
        return download(f"person-{person_id}.json", "application/json", pieces)

    return blueprint


def _person(tx: Tx, person_id: int) -> dict[str, Any]:
    """A person with everything known about them. Raises NotFound."""
    profile = reading_persons.person(tx, person_id)
    if profile is None:
        raise NotFound(f"there is no person {person_id}")
    return profile
