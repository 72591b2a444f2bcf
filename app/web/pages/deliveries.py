"""Deliveries: the list, and one with its whole story."""

from flask import Blueprint, render_template, request, url_for
from werkzeug.wrappers import Response

from app.ledger import queries
from app.ledger.mending import Mended, discard, replay
from app.model import STATUSES
from app.web.api import number, one_of
from app.web.auth import login_required
from app.web.pages.parts import ROWS, Parts, actor, told


def register(blueprint: Blueprint, parts: Parts) -> None:
    ledger = parts.ledger

    @blueprint.get("/deliveries")
    @login_required
    def deliveries() -> str:
        status, before = one_of("status", STATUSES), number("before")
        with ledger.read() as connection:
            page = queries.deliveries(ledger, connection, status=status, before=before, limit=ROWS)
        return render_template(
            "deliveries.html", deliveries=page, status=status, statuses=STATUSES, more=len(page) == ROWS
        )

    @blueprint.get("/deliveries/<int:delivery_id>")
    @login_required
    def delivery(delivery_id: int) -> str:
        with ledger.read() as connection:
            found = queries.delivery(ledger, connection, delivery_id)
        return render_template("delivery.html", delivery=found)

    @blueprint.post("/deliveries/<int:delivery_id>/replay")
    @login_required
    def replay_one(delivery_id: int) -> Response:
        force = request.form.get("force") == "1"
        mended = ledger.transact(lambda c: replay(ledger, c, delivery_id, actor=actor(), force=force))
        parts.nudge()
        return back(mended)

    @blueprint.post("/deliveries/<int:delivery_id>/discard")
    @login_required
    def discard_one(delivery_id: int) -> Response:
        return back(ledger.transact(lambda c: discard(ledger, c, delivery_id, actor=actor())))


def back(mended: Mended) -> Response:
    """To the delivery's page, which says what became of the request."""
    where = url_for("dashboard.delivery", delivery_id=mended.delivery_id)
    return told(mended.message, where, is_done=mended.done)
