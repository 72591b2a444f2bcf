"""The audit log: changes, with actor, action and time. Many changes at once are one line, with a link to its items."""

from flask import Blueprint, render_template

from app.ledger.audit import audit_page
from app.ledger.engine import look
from app.web.auth import login_required
from app.web.lists.acts import AUDIT_FILTER, AuditLines
from app.web.params import QUERY, before_asked, filled, read
from app.web.services import ROWS, Parts


def register(blueprint: Blueprint, parts: Parts) -> None:
    ledger = parts.ledger

    @blueprint.get("/audit")
    @login_required
    def audit() -> str:
        fields, before = filled(AUDIT_FILTER), before_asked()
        criteria = read(AuditLines, fields, QUERY).as_filter()
        with look(ledger) as tx:
            page = audit_page(tx, criteria, before=before, limit=ROWS)
        return render_template("audit.html", page=page, fields=fields, before=before)
