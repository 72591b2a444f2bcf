"""The Alerts page: incidents that were reported, the result for each channel, and a test."""

from typing import Any

from flask import Blueprint, flash, redirect, render_template, url_for
from werkzeug.wrappers import Response

from app.alerts.channels import how_to_turn_on, try_channels
from app.alerts.report import TITLES, report
from app.config.bridge_toml import ALERT_KINDS
from app.ledger.alerting.history import STATES
from app.ledger.audit import note
from app.ledger.engine import look
from app.web.auth import login_required
from app.web.params import ALERTS_FILTER, alerts_asked, before_asked, filled
from app.web.services import ROWS, Parts, actor, redirect_with


def create_blueprint(parts: Parts) -> Blueprint:
    blueprint = Blueprint("alerts", __name__)

    @blueprint.get("/alerts")
    @login_required
    def index() -> str:
        fields, before = filled(ALERTS_FILTER), before_asked()
        criteria = alerts_asked(fields)
        with look(parts.ledger) as tx:
            incidents = report(tx, parts.settings, criteria, before=before, limit=ROWS)
        return render_template(
            "alerts/index.html",
            report=incidents,
            fields=fields,
            before=before,
            states=STATES,
            kinds=ALERT_KINDS,
            titles=TITLES,
            subjects=sorted({*parts.intake.configured, *(destination.name for destination in parts.destinations)}),
            how=how_to_turn_on(parts.settings, code="`"),
            has_public_url=parts.settings.public_url is not None,
        )

    @blueprint.post("/alerts/test")
    @login_required
    def test() -> Response | Any:
        trials = try_channels(parts.settings)
        if not trials:
            return redirect_with("alerts are off, so there is nothing to test", url_for(".index"), is_done=False)
        outcome = ", ".join(f"{trial.channel} {'accepted' if trial.done else 'failed'}" for trial in trials)
        parts.ledger.transact(lambda tx: note(tx, actor(), "test alert", "alerts", outcome))
        for trial in trials:
            flash(f"{trial.channel}: {trial.message}", "ok" if trial.done else "warn")
        return redirect(url_for(".index"))

    return blueprint
