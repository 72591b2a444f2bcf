"""The first-run checklist, on the first page until it is done or dismissed, and always on a page of its own."""

from flask import Blueprint, render_template, request, url_for
from werkzeug.wrappers import Response

from app.ledger.audit import note
from app.ledger.engine import look
from app.ledger.transaction import Tx
from app.setup.checklist import Step, bring_back, checklist, dismiss, is_dismissed
from app.web.auth import login_required
from app.web.services import Parts, actor, redirect_with


def steps(tx: Tx, parts: Parts) -> tuple[Step, ...]:
    return checklist(tx, parts.settings, parts.sources.values(), parts.destinations)


def steps_to_show(tx: Tx, parts: Parts) -> tuple[Step, ...]:
    """The steps to show on the first page: none once all are done or the checklist is dismissed."""
    if is_dismissed(tx):
        return ()
    listed = steps(tx, parts)
    return () if all(step.is_done for step in listed) else listed


def register(blueprint: Blueprint, parts: Parts) -> None:
    ledger = parts.ledger

    @blueprint.get("/setup")
    @login_required
    def setup() -> str:
        with look(ledger) as tx:
            listed, is_hidden = steps(tx, parts), is_dismissed(tx)
        return render_template("setup.html", steps=listed, is_hidden=is_hidden)

    @blueprint.post("/setup")
    @login_required
    def show_or_hide_setup() -> Response:
        show, name = bool(request.form.get("show")), actor()

        def work(tx: Tx) -> None:
            (bring_back if show else dismiss)(tx)
            note(tx, name, "show checklist" if show else "dismiss checklist", "set-up", "")

        ledger.transact(work)
        if show:
            return redirect_with("the checklist is on the overview again", url_for(".setup"))
        return redirect_with("the checklist is dismissed: it stays at Sources, Setup checklist", url_for(".overview"))
