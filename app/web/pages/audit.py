"""The audit log: manual changes, with actor, action and time."""

from flask import Blueprint, render_template

from app.ledger.audit import audit as lines_of
from app.ledger.engine import look
from app.web.auth import login_required
from app.web.params import before_asked
from app.web.services import ROWS, Parts


def register(blueprint: Blueprint, parts: Parts) -> None:
    ledger = parts.ledger

    @blueprint.get("/audit")
    @login_required
    def audit() -> str:
        before = before_asked()
        with look(ledger) as tx:
            lines = lines_of(tx, before=before, limit=ROWS)
        return render_template("audit.html", lines=lines, before=before, more=len(lines) == ROWS)
