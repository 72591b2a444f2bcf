"""The destination: its state, pausing and resuming it, and a test call."""

from flask import Blueprint, render_template, request, url_for
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response

from app.destinations.probe import probe
from app.ledger.audit import audit
from app.ledger.engine import look
from app.ledger.forwarding import breaker
from app.ledger.reading import overview, stats
from app.web.auth import login_required
from app.web.services import Parts, actor, told


def register(blueprint: Blueprint, parts: Parts) -> None:
    ledger = parts.ledger
    known = {one.name: one for one in parts.destinations}

    @blueprint.get("/destination")
    @login_required
    def destination() -> str:
        with look(ledger) as tx:
            states = {one["name"]: one for one in stats.destinations(tx)}
            waiting = {name: overview.waiting(tx, name) for name in known}
            lines = [line for name in known for line in audit(tx, subject=f"destination {name}", limit=10)]
        return render_template(
            "destination.html",
            destinations=parts.destinations,
            tables=parts.settings.destination_tables,
            states=states,
            waiting=waiting,
            lines=sorted(lines, key=lambda line: int(line["id"]), reverse=True),
        )

    @blueprint.post("/destination/<name>/pause")
    @login_required
    def pause(name: str) -> Response:
        must_know(name)
        reason = request.form.get("reason", "")
        done = ledger.transact(lambda tx: breaker.pause(tx, name, reason, actor=actor()))
        return told(
            f"{name} is paused" if done else f"{name} was paused already", url_for(".destination"), is_done=done
        )

    @blueprint.post("/destination/<name>/resume")
    @login_required
    def resume(name: str) -> Response:
        must_know(name)
        done = ledger.transact(lambda tx: breaker.resume(tx, name, actor=actor()))
        parts.nudge()
        return told(f"{name} goes on" if done else f"{name} was not paused", url_for(".destination"), is_done=done)

    @blueprint.post("/destination/<name>/test")
    @login_required
    def test_call(name: str) -> Response:
        must_know(name)
        found = probe(known[name])
        return told(f"{name} {found.text}", url_for(".destination"), is_done=found.answers)

    def must_know(name: str) -> None:
        if name not in known:
            raise NotFound(f"there is no destination {name}")
