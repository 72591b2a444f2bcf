"""Resend: a window of deliveries, previewed, confirmed and sent in batches; and a single delivery, after a confirmation."""

from dataclasses import replace
from typing import Any

from flask import Blueprint, render_template, request
from werkzeug.exceptions import UnprocessableEntity

from app.errors import DestinationNotFound
from app.ledger.actions import resend
from app.ledger.actions.replay import MARK
from app.ledger.actions.resend import Progress, Window
from app.ledger.engine import look
from app.ledger.reading.deliveries import delivery as delivery_of
from app.text import storable
from app.times import iso
from app.web.auth import login_required, operator_required
from app.web.lists.acts import ResendWindow
from app.web.params import QUERY, number_in, read
from app.web.services import Parts, actor, source_choices, target_of

FIELDS = tuple(ResendWindow.model_fields)


def create_blueprint(parts: Parts) -> Blueprint:
    blueprint = Blueprint("resend", __name__)

    @blueprint.get("/resend")
    @login_required
    @operator_required
    def ask() -> Any:
        fields, problem, shown = given(request.args), None, None
        with look(parts.ledger) as tx:
            choices = source_choices(tx, parts)
            if "since" in fields:
                try:
                    window = resend.until_now(tx, window_of(parts, fields))
                    shown = resend.preview(tx, window, parts.sources)
                    fields |= {"since": str(iso(window.since)), "until": str(iso(window.until))}
                except (UnprocessableEntity, DestinationNotFound) as error:
                    problem = error.public if isinstance(error, DestinationNotFound) else error.description
        page = render_template("resend/ask.html", fields=fields, problem=problem, shown=shown, choices=choices)
        return page, 422 if problem else 200

    @blueprint.post("/resend")
    @login_required
    def run() -> Any:
        fields = given(request.form)
        window, progress = window_of(parts, fields), progress_of(request.form)
        with look(parts.ledger) as tx:
            window = resend.until_now(tx, window)
        progress = parts.ledger.transact(
            lambda tx: resend.step(tx, window, progress, parts.sources, actor=actor()),
        )
        parts.nudge()
        return render_template("resend/run.html", fields=fields, progress=progress)

    @blueprint.get("/deliveries/<int:delivery_id>/again")
    @login_required
    @operator_required
    def ask_again(delivery_id: int) -> str:
        with look(parts.ledger) as tx:
            delivery = delivery_of(tx, delivery_id)
        return render_template("resend/again.html", delivery=delivery)

    return blueprint


def given(source: Any) -> dict[str, str]:
    """The fields that were filled in."""
    return {name: value for name in FIELDS if (value := storable(source.get(name, "").strip()))}


def window_of(parts: Parts, fields: dict[str, str]) -> Window:
    """The window of the form. Raises UnprocessableEntity if a field is invalid."""
    asked = read(ResendWindow, fields, QUERY)
    target = target_of(parts, asked.to) if asked.to else None
    return replace(asked.as_window(), target=target)


def progress_of(form: Any) -> Progress:
    """The progress in the form. An invalid mark begins a new group in the audit log."""
    mark = form.get("mark", "")
    done, skipped = (number_in(form, name) or 0 for name in ("done", "skipped"))
    known = mark if MARK.fullmatch(mark) or number_in(form, "mark") is not None else ""
    return Progress(number_in(form, "after"), known, done, skipped)
