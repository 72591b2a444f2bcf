"""How many Sales carry a click ID."""

from flask import Blueprint, render_template

from app.ledger.credit.coverage import NO_SALES, click_share, sources_in, weeks
from app.ledger.engine import look
from app.web.auth import login_required
from app.web.services import Parts


def register(blueprint: Blueprint, parts: Parts) -> None:
    @blueprint.get("/coverage")
    @login_required
    def coverage() -> str:
        with look(parts.ledger) as tx:
            listed, now = weeks(tx), click_share(tx)
        return render_template(
            "support/coverage.html", weeks=listed, sources=sources_in(listed), lately=now, nothing=NO_SALES
        )
