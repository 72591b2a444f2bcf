"""Destinations: state, pause and resume, connection and token tests."""

from dataclasses import replace

from flask import Blueprint, render_template, request, url_for
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response

from app.config.shapes import bearer_token
from app.destinations.probe import probe, try_token
from app.ledger.actions.pausing import pause_destination, resume_destination
from app.ledger.audit import audit, note
from app.ledger.engine import look
from app.ledger.reading.destinations import standing
from app.ledger.reading.summary import overview, stats
from app.web.auth import login_required
from app.web.services import Parts, actor, redirect_with, weeks_of


def register(blueprint: Blueprint, parts: Parts) -> None:
    ledger = parts.ledger
    known = {destination.name: destination for destination in parts.destinations}
    tables = parts.settings.destination_tables

    @blueprint.get("/destination")
    @login_required
    def destination() -> str:
        with look(ledger) as tx:
            states = {state["name"]: state for state in stats.destinations(tx)}
            waiting = {name: overview.waiting(tx, name) for name in known}
            standings = {name: standing(tx, name) for name in known}
            weeks = weeks_of(tx, parts)
            lines = [line for name in known for line in audit(tx, subject=f"destination {name}", limit=10)]
        return render_template(
            "destination.html",
            destinations=parts.destinations,
            tables=tables,
            states=states,
            waiting=waiting,
            standings=standings,
            weeks=weeks,
            token_names={name: parts.settings.secret_name_of(name) for name in known},
            lines=sorted(lines, key=lambda line: int(line["id"]), reverse=True),
        )

    @blueprint.post("/destination/<name>/pause")
    @login_required
    def pause(name: str) -> Response:
        result = pause_destination(ledger, name, list(known), request.form.get("reason", ""), actor=actor())
        return redirect_with(result.message, url_for(".destination"), is_done=result.done)

    @blueprint.post("/destination/<name>/resume")
    @login_required
    def resume(name: str) -> Response:
        result = resume_destination(ledger, name, list(known), actor=actor())
        parts.nudge()
        return redirect_with(result.message, url_for(".destination"), is_done=result.done)

    @blueprint.post("/destination/<name>/test")
    @login_required
    def test_call(name: str) -> Response:
        must_know(name)
        result = probe(known[name])
        return redirect_with(f"{name} {result.text}", url_for(".destination"), is_done=result.answers)

    @blueprint.post("/destination/<name>/try-token")
    @login_required
    def try_its_token(name: str) -> Response:
        must_know(name)
        typed = request.form.get("token", "")
        try:
            token = bearer_token(typed) if typed.strip() else ""
        except ValueError as error:
            return redirect_with(f"the token {error}", url_for(".destination"), is_done=False)
        trial = try_token(replace(known[name], token=token) if token else known[name])
        ledger.transact(lambda tx: note(tx, actor(), "try token", f"destination {name}", trial.level))
        which = "with the token given" if token else "with the configured token"
        return redirect_with(f"{name} {trial.text}, {which}", url_for(".destination"), is_done=trial.level == "ok")

    def must_know(name: str) -> None:
        if name not in known:
            raise NotFound(f"there is no destination {name}")
