"""why: why a purchase is not credited."""

import sys
from dataclasses import asdict

import click

from app.bootstrap import open_ledger
from app.cli.output import say, say_json
from app.cli.table import print_table
from app.config.settings import load_settings
from app.intake.credit.why import Why
from app.intake.credit.why import why as explain
from app.ledger.engine import look
from app.money import amount_text
from app.sources.catalog import all_sources
from app.text import storable

MARKS = {"bad": "✕", "warn": "!", "ok": "✓", "note": "·"}


@click.command()
@click.argument("text")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def why(text: str, as_json: bool) -> None:
    """Explain why a purchase is not credited.

    TEXT is an email address, an order number, a click ID, a name, a phone number, any ID, or person:<id>. Shows what came, what was
    sent, whether it carried a click ID and why not, and what to do.
    """
    settings = load_settings()
    ledger = open_ledger(settings)
    sources = all_sources(settings.config, settings.config_path)
    with look(ledger) as tx:
        explanation = explain(tx, storable(text), sources, settings.rules)
    if as_json:
        say_json(_json(explanation))
    else:
        _show(explanation)
    sys.exit(0 if not explanation.story.is_empty else 1)


def _json(explanation: Why) -> dict[str, object]:
    return {
        "findings": [asdict(finding) for finding in explanation.findings],
        "people": list(explanation.story.people),
        "events": list(explanation.story.events),
        "deliveries": [
            row
            | {
                "click": explanation.carried.get(row["id"]),
                "no_click": explanation.reasons[row["id"]].text if row["id"] in explanation.reasons else None,
            }
            for row in explanation.story.deliveries
        ],
    }


def _show(explanation: Why) -> None:
    for finding in explanation.findings:
        say(f"{MARKS[finding.level]} {finding.text}", bold=finding.level == "bad")
        if finding.next_step:
            say(f"  {finding.next_step}")
    if explanation.story.events:
        say("")
        rows = (
            (str(e["id"]), e["outcome"], e["received_at"], e["source"], e["event_type"], e["reason"])
            for e in explanation.story.events
        )
        print_table(("event", "outcome", "received", "source", "type", "why"), rows)
    if explanation.story.deliveries:
        say("")
        sent = (
            (
                str(d["id"]),
                d["status"],
                d["destination"],
                d["kind"],
                "" if d["amount"] is None else amount_text(d["amount"], d["currency"]),
                explanation.carried.get(d["id"]) or "none",
                d["last_error"] or "",
            )
            for d in explanation.story.deliveries
        )
        print_table(("delivery", "status", "destination", "kind", "amount", "click ID", "last error"), sent)
