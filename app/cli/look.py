"""deliveries and events: the lists."""

from collections.abc import Iterable, Mapping
from typing import Any

import click

from app.bootstrap import open_ledger
from app.cli.options import check_destination, check_source, list_options, moment
from app.cli.output import say, say_json
from app.cli.table import print_table
from app.config.settings import load_settings
from app.ledger.engine import Ledger
from app.ledger.reading.deliveries import all_deliveries
from app.ledger.reading.events import all_events
from app.ledger.reading.filters import KINDS, EventFilter, Filter
from app.model import OUTCOMES, STATUSES
from app.money import amount_text
from app.sources.base import Source
from app.sources.catalog import all_sources
from app.text import storable


@click.command()
@click.option("--status", type=click.Choice(STATUSES), help="Only those with this status.")
@click.option("--kind", type=click.Choice(KINDS), help="Only this kind.")
@click.option("--code", type=click.IntRange(100, 599), help="Only those whose destination last answered this status.")
@list_options
def deliveries(
    status: str | None,
    kind: str | None,
    code: int | None,
    source: str | None,
    destination: str | None,
    since: str | None,
    until: str | None,
    click: str | None,
    text: str | None,
    limit: int | None,
    as_json: bool,
) -> None:
    """List deliveries, newest first."""
    wanted = Filter(
        statuses=(status,) if status else STATUSES,
        source=source,
        kind=kind,
        destination=destination,
        code=code,
        since=moment(since, "--since"),
        until=moment(until, "--until"),
        text=storable((text or "").strip()),
        click=click,
    )
    ledger, sources = _opened(source, destination)
    rows = all_deliveries(ledger, wanted, sources, limit)
    if as_json:
        _print_json(rows)
        return
    columns = (
        "id", "kind", "status", "recorded", "destination", "tries", "amount", "customer", "key", "next attempt or last error"
    )  # fmt: skip
    shown = (
        (
            str(row["id"]),
            row["kind"],
            row["status"],
            row["created_at"],
            row["destination"],
            str(row["attempts"]),
            "" if row["amount"] is None else amount_text(row["amount"], row["currency"]),
            row["customer_id"] or "",
            row["dedupe_key"],
            row["last_error"] or row["next_attempt_at"] or "",
        )
        for row in rows
    )
    if not print_table(columns, shown):
        say("No delivery matches." if wanted != Filter(STATUSES) else "No delivery is recorded.")


@click.command()
@click.option("--outcome", type=click.Choice(OUTCOMES), help="Only those with this outcome.")
@list_options
def events(
    outcome: str | None,
    source: str | None,
    destination: str | None,
    since: str | None,
    until: str | None,
    click: str | None,
    text: str | None,
    limit: int | None,
    as_json: bool,
) -> None:
    """List events, newest first, and what became of each."""
    wanted = EventFilter(
        outcome=outcome,
        source=source,
        destination=destination,
        since=moment(since, "--since"),
        until=moment(until, "--until"),
        text=storable((text or "").strip()),
        click=click,
    )
    ledger, sources = _opened(source, destination)
    rows = all_events(ledger, wanted, sources, limit)
    if as_json:
        _print_json(rows)
        return
    columns = ("id", "outcome", "received", "times", "source", "destination", "type", "why")
    shown = (
        (
            str(row["id"]),
            row["outcome"],
            row["received_at"],
            f"{row['received_count']}×",
            row["source"],
            ", ".join(row["destinations"]),
            row["event_type"],
            row["reason"],
        )
        for row in rows
    )
    if not print_table(columns, shown):
        say("No event matches." if wanted != EventFilter() else "No event has arrived.")


def _opened(source: str | None, destination: str | None) -> tuple[Ledger, Mapping[str, Source]]:
    """The ledger and the sources. Raises BadParameter for a source or destination that does not exist."""
    settings = load_settings()
    ledger = open_ledger(settings)
    if source is not None:
        check_source(settings, ledger, source)
    if destination is not None:
        check_destination(settings, ledger, destination)
    return ledger, all_sources(settings.config, settings.config_path)


def _print_json(rows: Iterable[Mapping[str, Any]]) -> None:
    for row in rows:
        say_json(row)
