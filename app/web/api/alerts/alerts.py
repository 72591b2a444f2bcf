"""Incidents that alerts reported, and a test of the channels."""

from dataclasses import asdict

from app.alerts.channels import how_to_turn_on, try_channels
from app.alerts.report import report
from app.ledger.audit import note
from app.ledger.engine import look
from app.web.api.actor import actor
from app.web.api.alerts.schemas import AlertsPage, AlertTest
from app.web.api.routes import Routes
from app.web.params import AlertsQuery
from app.web.services import Parts

ROUTES = Routes()


@ROUTES.get("/alerts")
def alerts(parts: Parts, query: AlertsQuery) -> AlertsPage:
    """List reported incidents, newest first, with their notifications by channel."""
    with look(parts.ledger) as tx:
        incidents = report(tx, parts.settings, query.as_filter(), before=query.before, limit=query.size)
    return AlertsPage.model_validate(incidents.as_json())


@ROUTES.post("/alerts/test")
def test_alerts(parts: Parts) -> AlertTest:
    """Send a test alert over each channel."""
    trials = try_channels(parts.settings)
    if not trials:
        text = f"Alerts are off. {how_to_turn_on(parts.settings)}."
        return AlertTest.model_validate({"done": False, "message": text, "results": []})
    failed = [trial.channel for trial in trials if not trial.done]
    outcome = ", ".join(f"{trial.channel} {'accepted' if trial.done else 'failed'}" for trial in trials)
    parts.ledger.transact(lambda tx: note(tx, actor(), "test alert", "alerts", outcome))
    message = f"Not accepted by {', '.join(failed)}." if failed else "Every channel accepted the test alert."
    results = [asdict(trial) for trial in trials]
    return AlertTest.model_validate({"done": not failed, "message": message, "results": results})
