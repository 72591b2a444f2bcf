"""The quarantine: its list, one request, verifying requests again, and dropping them."""

from typing import Any

from flask import Blueprint, render_template, request, url_for
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response

from app.intake.verify_again import drop_held, verify_again
from app.ledger.engine import look
from app.ledger.inbound import quarantine as reading
from app.ledger.inbound.quarantine import Selection
from app.web.auth import is_operator, login_required
from app.web.params import before_asked, number_in, source_asked
from app.web.services import ROWS, Parts, actor, redirect_with

PATIENCE_SECONDS = 10.0
MOST_DIGITS = 19
LARGEST_SHOWN = 64 * 1024
"""Of a body."""


def register(blueprint: Blueprint, parts: Parts) -> None:
    ledger = parts.ledger

    @blueprint.get("/inbound/quarantine")
    @login_required
    def quarantine() -> str:
        source, before = source_asked(request.args), before_asked()
        with look(ledger) as tx:
            rows = reading.held(tx, source=source, before=before, limit=ROWS)
            counts = reading.counts(tx)
        return render_template(
            "inbound/quarantine.html",
            rows=rows,
            counts=counts,
            count=counts.get(source, 0) if source else sum(counts.values()),
            source=source,
            before=before,
            older=rows[-1].id if len(rows) == ROWS else None,
            titles=titles(parts),
        )

    @blueprint.get("/inbound/quarantine/<int:held_id>")
    @login_required
    def held(held_id: int) -> str:
        with look(ledger) as tx:
            kept = reading.one_held(tx, held_id)
        if kept is None:
            raise NotFound(f"there is no request {held_id} in the quarantine")
        request_held, content = kept
        body = content.body[:LARGEST_SHOWN].decode("utf-8", "replace")
        return render_template(
            "inbound/held.html",
            held=request_held,
            title=titles(parts).get(request_held.source, request_held.source),
            headers=dict(content.headers),
            sealed=[name for name in content.sealed if name in content.headers or not name.startswith("body")],
            body=body if is_operator() else None,
            is_cut=len(content.body) > LARGEST_SHOWN,
        )

    @blueprint.post("/inbound/quarantine/verify")
    @login_required
    def verify() -> Response:
        selection, where = chosen(), back()
        if selection is None:
            return redirect_with("select at least one request", where, is_done=False)
        done = verify_again(ledger, parts.intake, parts.sealer, selection, actor=actor(), seconds=PATIENCE_SECONDS)
        parts.nudge()
        return redirect_with(done.sentence, where, is_done=not done.problems)

    @blueprint.post("/inbound/quarantine/drop")
    @login_required
    def drop() -> Response | str:
        selection, where = chosen(), back()
        if selection is None:
            return redirect_with("select at least one request", where, is_done=False)
        if "confirmed" not in request.form:
            with look(ledger) as tx:
                count, through = reading.count_chosen(tx, selection)
            if not count:
                return redirect_with("these requests are no longer in the quarantine", where, is_done=False)
            return render_template("inbound/drop.html", selection=selection, count=count, through=through, where=where)
        count = drop_held(ledger, selection, actor=actor())
        return redirect_with(f"{count:,} {'request' if count == 1 else 'requests'} dropped", where)


def titles(parts: Parts) -> dict[str, Any]:
    """The titles of all sources, by name."""
    return {name: source.title for name, source in parts.sources.items()}


def chosen() -> Selection | None:
    """The requests that the form selects; None if it selects none."""
    source = source_asked(request.form)
    if request.form.get("all"):
        return Selection(source=source, through=number_in(request.form, "through"))
    ids = tuple(
        int(number) for number in request.form.getlist("id") if number.isdecimal() and len(number) < MOST_DIGITS
    )
    return Selection(ids=ids) if ids else None


def back() -> str:
    """The list from which the form came."""
    source = source_asked(request.form)
    return url_for(".quarantine", source=source) if source else url_for(".quarantine")
