"""The configuration of the processes that run, and the button that reloads it."""

from flask import Blueprint, render_template, url_for
from werkzeug.wrappers import Response

from app.ledger.engine import look
from app.ledger.upkeep.processes import running
from app.reloading.request import reload_all
from app.web.auth import login_required
from app.web.services import Parts, actor, redirect_with


def register(blueprint: Blueprint, parts: Parts) -> None:
    ledger = parts.ledger

    @blueprint.get("/configuration")
    @login_required
    def configuration() -> str:
        with look(ledger) as tx:
            processes = running(tx)
        return render_template("configuration/page.html", processes=processes)

    @blueprint.post("/configuration/reload")
    @login_required
    def reload() -> Response:
        answers = reload_all(ledger, actor())
        return redirect_with(answers.message, url_for(".configuration"), is_done=answers.is_done)
