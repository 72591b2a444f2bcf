"""alert-test: does an alert reach somebody? And alerts: what was reported, and what became of it."""

import click

from app.alerts.channels import how_to_turn_on, try_channels
from app.alerts.report import report
from app.bootstrap import open_ledger
from app.cli.output import say, say_json
from app.config.bridge_toml import ALERT_KINDS, AlertKind
from app.config.settings import load_settings
from app.ledger.alerting.history import STATES, HistoryFilter, State
from app.ledger.engine import look


@click.command("alert-test")
def alert_test() -> None:
    """Send a test alert over each configured channel. Exit status 1 if one of them does not accept it."""
    settings = load_settings()
    trials = try_channels(settings)
    if not trials:
        text = how_to_turn_on(settings)
        raise click.ClickException(f"alerts are off: {text[:1].lower()}{text[1:]}")
    for trial in trials:
        say(f"{trial.channel:<10} {trial.message}", colour="green" if trial.done else "red")
    if not all(trial.done for trial in trials):
        raise click.exceptions.Exit(1)


@click.command()
@click.option("--state", type=click.Choice(STATES), help="Only open or past ones.")
@click.option("--kind", type=click.Choice(ALERT_KINDS), help="Only incidents of this kind.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="Show at most this many.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def alerts(state: State | None, kind: AlertKind | None, limit: int, as_json: bool) -> None:
    """List incidents and their notifications, newest first."""
    settings = load_settings()
    with look(open_ledger(settings)) as tx:
        incidents = report(tx, settings, HistoryFilter(state, kind), limit=limit)
    for incident in incidents.incidents:
        if as_json:
            say_json(incident)
            continue
        ended = f"over {_short(incident['over_at'])}" if incident["over_at"] else "open"
        stake = f" At stake: {incident['stake']}." if incident["stake"] else ""
        say(f"{_short(incident['began_at'])}  {incident['kind']:<8} {ended:<22} {incident['text']}{stake}")
        for notification in incident["notifications"]:
            sent = (
                f"sent {_short(notification['sent_at'])}"
                if notification["sent_at"]
                else notification["problem"] or notification["state"]
            )
            say(
                f"{'':<18}{'all-clear' if notification['what'] == 'over' else 'alert'} to {notification['channel']}: {sent}"
            )
    if not as_json and not incidents.incidents:
        say("No incident matches." if state or kind else "No incidents.")
    if not as_json and not incidents.channels:
        say(f"Alerts are off. {how_to_turn_on(settings)}.", colour="yellow")


def _short(iso_time: str) -> str:
    return iso_time[:16].replace("T", " ")
