"""Parked events: the list by reason and source, filling in by hand, reprocessing after a preview, dismissing and its undo."""

import re
from typing import Any

from flask import Blueprint, render_template, request, url_for
from werkzeug.exceptions import BadRequest, NotFound
from werkzeug.wrappers import Response

from app.intake.parked import work
from app.intake.parked.fill import FILLABLE, LABELS
from app.intake.remap import preview_parked, reprocess_parked, sentence
from app.ledger.engine import look
from app.ledger.parked.reading import ParkedSelection, dismissed, parked_ids
from app.ledger.reading import events as reading_events
from app.ledger.reading.filters import AsOf
from app.ledger.reading.where import as_of_now
from app.text import storable
from app.web.auth import login_required
from app.web.pages.parked.context import needs_of
from app.web.params import before_asked, number_in
from app.web.services import ROWS, Parts, actor, redirect_with

FIELDS = ("source", "reason")
MOST_AT_ONCE = 500
"""Events that one click dismisses or reopens."""
LONGEST_REASON = 2000


def register(blueprint: Blueprint, parts: Parts) -> None:
    ledger = parts.ledger

    @blueprint.get("/parked")
    @login_required
    def parked() -> str:
        fields, before = given(request.args), before_asked()
        with look(ledger) as tx:
            listed = work.parked_work(
                tx, parts.sources, parts.policy, selection_of(fields), before=before, limit=ROWS, is_grouped=not fields
            )
            closed = dismissed(tx, ROWS) if before is None and not fields else []
        return render_template(
            "parked/list.html", work=listed, fields=fields, before=before, closed=closed, labels=LABELS
        )

    @blueprint.post("/parked/choose")
    @login_required
    def choose_parked() -> Any:
        """The next step for the selected events: a preview before reprocessing, or the reason for a dismissal."""
        fields, ids = chosen(request.form)
        verb = request.form.get("verb", "")
        selection = ParkedSelection(ids, fields.get("source"), fields.get("reason"))
        if not ids and request.form.get("all") != "1":
            text = "nothing was selected: select events, or all of this list"
            return redirect_with(text, url_for(".parked", **fields), is_done=False)
        if verb == "reprocess":
            with look(ledger) as tx:
                as_of = as_of_now(tx)
            preview = preview_parked(ledger, parts.sources, parts.policy, selection)
            return render_template("parked/preview.html", preview=preview, fields=fields, ids=ids, as_of=as_of)
        if verb != "dismiss":
            raise BadRequest("this form is invalid: reload the page and try again")
        with look(ledger) as tx:
            matching = parked_ids(tx, selection, MOST_AT_ONCE)
        return render_template(
            "parked/dismiss.html", ids=matching, fields=fields, most=MOST_AT_ONCE, problem=None, why=""
        )

    @blueprint.post("/parked/reprocess")
    @login_required
    def reprocess_chosen() -> Response:
        fields, ids = chosen(request.form)
        if not ids and request.form.get("all") != "1":
            raise BadRequest("this form is invalid: reload the page and try again")
        as_of = AsOf.read(request.form.get("as_of", ""))
        selection = ParkedSelection(ids, fields.get("source"), fields.get("reason"), as_of)
        reprocessed = reprocess_parked(
            ledger,
            parts.sources,
            parts.policy,
            selection,
            actor=actor(),
            after=number_in(request.form, "after") or 0,
        )
        parts.nudge()
        where = url_for(".event", event_id=ids[0]) if len(ids) == 1 else url_for(".parked", **fields)
        return redirect_with(sentence(reprocessed), where)

    @blueprint.post("/parked/dismiss")
    @login_required
    def dismiss_parked() -> Any:
        fields, ids = chosen(request.form)
        why = storable(" ".join(request.form.get("why", "").split()))
        if not 0 < len(why) <= work.LONGEST_WHY:
            problem = f"Give a reason of 1 to {work.LONGEST_WHY} characters"
            page = render_template(
                "parked/dismiss.html", ids=ids, fields=fields, most=MOST_AT_ONCE, problem=problem, why=why
            )
            return page, 422
        done = work.dismiss(ledger, ids, why, actor=actor())
        text = f"{len(done)} {'event is' if len(done) == 1 else 'events are'} dismissed"
        where = url_for(".event", event_id=ids[0]) if len(ids) == 1 else url_for(".parked", **fields)
        return redirect_with(text, where, is_done=bool(done))

    @blueprint.post("/parked/reopen")
    @login_required
    def reopen_parked() -> Response:
        _, ids = chosen(request.form)
        done = work.reopen(ledger, ids, actor=actor())
        text = f"{len(done)} {'event is' if len(done) == 1 else 'events are'} parked again"
        where = url_for(".event", event_id=ids[0]) if len(ids) == 1 else url_for(".parked")
        return redirect_with(text, where, is_done=bool(done))

    @blueprint.post("/parked/<int:event_id>/fill")
    @login_required
    def fill_in(event_id: int) -> Any:
        values = {name: storable(request.form[name]) for name in FILLABLE if name in request.form}
        done = work.fill_in(ledger, parts.sources, parts.policy, event_id, values, actor=actor())
        if done.problems is None:
            parts.nudge()
            return redirect_with(done.message, url_for(".event", event_id=event_id), is_done=done.done)
        with look(ledger) as tx:
            event = reading_events.event(tx, event_id)
            if event is None:
                raise NotFound(f"there is no event {event_id}")
            needs = needs_of(tx, parts, event)
        shown = {"given": values, "problems": done.problems, "problem": done.message}
        return render_template("event.html", event=event, **{**needs, **shown}), 422


def given(source: Any) -> dict[str, Any]:
    """The fields of the list's filter that were filled in."""
    return {name: value for name in FIELDS if (value := storable(source.get(name, "").strip()[:LONGEST_REASON]))}


def selection_of(fields: dict[str, str]) -> ParkedSelection:
    return ParkedSelection((), fields.get("source"), fields.get("reason"))


def chosen(form: Any) -> tuple[dict[str, Any], list[int]]:
    """The filter and the event IDs of a form; no IDs if all matching events are selected."""
    ids = (
        []
        if form.get("all") == "1"
        else [int(event_id) for event_id in form.getlist("id") if re.fullmatch("[0-9]{1,18}", event_id)]
    )
    return given(form), ids[:MOST_AT_ONCE]
