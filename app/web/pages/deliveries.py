"""Deliveries: the list, and the page of one with its story and actions."""

import json
import shlex
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, render_template, request, url_for
from werkzeug.wrappers import Response

from app.destinations.target import Destination
from app.intake.credit.why import no_clicks_of
from app.ledger.actions.edit import review_edit, submit_edit
from app.ledger.actions.replay import ActionResult, discard, replay, undo_discard
from app.ledger.engine import look
from app.ledger.reading.deliveries import deliveries_that_match, story
from app.ledger.reading.events import events_called
from app.ledger.reading.filters import Page
from app.ledger.reading.money.refunds import refunded
from app.model import STATUSES
from app.web.auth import is_operator, login_required, operator_required
from app.web.lists.asked import asked, canonical
from app.web.params import FILTER, DeliveryFilter, before_asked
from app.web.services import ROWS, Parts, actor, redirect_with, source_choices

EVENTS_SHOWN = 20
VARIABLE = "DESTINATION_TOKEN"
"""The token variable of the destination set by the environment; those in bridge.toml name their own."""


def register(blueprint: Blueprint, parts: Parts) -> None:
    ledger = parts.ledger
    destinations = {destination.name: destination for destination in parts.destinations}
    variables = {name: parts.settings.secret_name_of(name) for name in parts.settings.destination_tables}

    @blueprint.get("/deliveries")
    @login_required
    def deliveries() -> Any:
        request_filter, before = asked(DeliveryFilter, FILTER), before_asked()
        if moved := canonical(request_filter):
            return moved
        query, page, is_viewer = request_filter.read(DeliveryFilter), Page(), not is_operator()
        with look(ledger) as tx:
            if query is not None:
                criteria = replace(query.as_filter(), whole_addresses=is_viewer)
                page = deliveries_that_match(tx, criteria, parts.sources, before=before, limit=ROWS)
            text = request_filter.fields["q"] if not page.rows and set(request_filter.fields) == {"q"} and query else ""
            events = events_called(tx, text, parts.sources, whole_addresses=is_viewer, limit=EVENTS_SHOWN)
            back = refunded(tx, [row["conversion_id"] for row in page.rows if row["kind"] == "sale"])
            choices = source_choices(tx, parts)
        shown = render_template(
            "deliveries.html",
            page=page,
            refunded=back,
            events=events,
            asked=request_filter.shown(),
            fields=request_filter.fields,
            source_choices=choices,
            before=before,
            statuses=STATUSES,
        )
        return shown, request_filter.status_code

    @blueprint.get("/deliveries/<int:delivery_id>")
    @login_required
    def delivery(delivery_id: int) -> str:
        with look(ledger) as tx:
            shown = story(tx, delivery_id)
            reasons = no_clicks_of(tx, parts.sources, parts.settings.rules, conversion_id=shown["conversion_id"])
        curl = as_curl(shown, destinations.get(shown["destination"]), variables.get(shown["destination"], VARIABLE))
        left = len(parts.settings.schedule_seconds) - shown["tries"]
        return render_template("delivery.html", delivery=shown, curl=curl, left=left, no_click=reasons.get(delivery_id))

    @blueprint.post("/deliveries/<int:delivery_id>/replay")
    @login_required
    def replay_one(delivery_id: int) -> Response:
        force = request.form.get("force") == "1"
        result = ledger.transact(lambda tx: replay(tx, delivery_id, actor=actor(), force=force))
        parts.nudge()
        return back(result)

    @blueprint.post("/deliveries/<int:delivery_id>/discard")
    @login_required
    def discard_one(delivery_id: int) -> Response:
        return back(ledger.transact(lambda tx: discard(tx, delivery_id, actor=actor())))

    @blueprint.post("/deliveries/<int:delivery_id>/undo")
    @login_required
    def undo_one(delivery_id: int) -> Response:
        result = ledger.transact(lambda tx: undo_discard(tx, delivery_id, actor=actor()))
        parts.nudge()
        return back(result)

    @blueprint.get("/deliveries/<int:delivery_id>/edit")
    @login_required
    @operator_required
    def ask_edit(delivery_id: int) -> Any:
        with look(ledger) as tx:
            shown = story(tx, delivery_id)
        if shown["not_editable"]:
            return back(ActionResult(delivery_id, False, shown["not_editable"]))
        text = json.dumps(shown["payload"], indent=2, ensure_ascii=False)
        return render_template("edit.html", delivery=shown, text=text, problem=None)

    @blueprint.post("/deliveries/<int:delivery_id>/edit")
    @login_required
    def edit_one(delivery_id: int) -> Any:
        text = request.form.get("payload", "")
        with look(ledger) as tx:
            shown = story(tx, delivery_id)
        wire = parts.format(shown["destination"])
        if request.form.get("do") == "review":
            changes, problem = review_edit(ledger, shown, text, wire)
            page = render_template("edit.html", delivery=shown, text=text, problem=problem, changes=changes)
            return page, 422 if problem else 200
        edited = submit_edit(ledger, shown, text, wire, actor=actor())
        if edited.problem:
            return render_template("edit.html", delivery=shown, text=text, problem=edited.problem), 422
        parts.nudge()
        return back(edited.result)


def as_curl(delivery: dict[str, Any], destination: Destination | None, variable: str) -> str | None:
    """The request as a shell command. The token is read from that environment variable."""
    if destination is None:
        return None
    wire = destination.format
    if not (wire.takes_refunds if delivery["kind"] == "refund" else delivery["kind"] in wire.kinds):
        return None
    token = f"${variable}"
    asked = destination.shown_request(
        delivery["kind"], delivery["text"], delivery["dedupe_key"], datetime.now(UTC), token
    )
    lines = [f"curl -X {asked.method} {shlex.quote(destination.url + asked.path)}"]
    for name, value in asked.headers.items():
        header = f"{name}: {value}"
        # In double quotes, so that the shell expands the token. No key or content type holds characters that they expand.
        lines.append(f'-H "{header}"' if token in header else f"-H {shlex.quote(header)}")
    if asked.body:
        lines.append(f"--data-raw {shlex.quote(asked.body.decode())}")
    return " \\\n  ".join(lines)


def back(result: ActionResult) -> Response:
    """Redirects to the delivery's page with the result."""
    where = url_for("dashboard.delivery", delivery_id=result.delivery_id)
    return redirect_with(result.message, where, is_done=result.done)
