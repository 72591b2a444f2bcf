"""deliveries and events: the lists."""

from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter
from typing import Any

import click

from app.bootstrap import open_ledger
from app.cli.options import check_destination, check_source, list_options, span
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

Row = Mapping[str, Any]
Columns = Mapping[str, Callable[[Row], str]]
"""The cell of a row, by the title of its column."""

DELIVERIES: Columns = {
    "id": lambda row: str(row["id"]),
    "kind": itemgetter("kind"),
    "status": itemgetter("status"),
    "recorded": itemgetter("created_at"),
    "destination": itemgetter("destination"),
    "tries": lambda row: str(row["attempts"]),
    "amount": lambda row: "" if row["amount"] is None else amount_text(row["amount"], row["currency"]),
    "customer": lambda row: row["customer_id"] or "",
    "key": itemgetter("dedupe_key"),
    "next attempt or last error": lambda row: row["last_error"] or row["next_attempt_at"] or "",
}
EVENTS: Columns = {
    "id": lambda row: str(row["id"]),
    "outcome": itemgetter("outcome"),
    "received": itemgetter("received_at"),
    "times": lambda row: f"{row['received_count']}×",
    "source": itemgetter("source"),
    "destination": lambda row: ", ".join(row["destinations"]),
    "type": itemgetter("event_type"),
    "why": itemgetter("reason"),
}


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
    start, end = span(since, until)
    criteria = Filter(
        statuses=(status,) if status else STATUSES,
        source=source,
        kind=kind,
        destination=destination,
        code=code,
        since=start,
        until=end,
        text=storable((text or "").strip()),
        click=click,
    )
    ledger, sources = _opened(source, destination)
    none = "No delivery matches." if criteria != Filter(STATUSES) else "No delivery is recorded."
    _print(all_deliveries(ledger, criteria, sources, limit), DELIVERIES, none, as_json=as_json)


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
    start, end = span(since, until)
    criteria = EventFilter(
        outcome=outcome,
        source=source,
        destination=destination,
        since=start,
        until=end,
        text=storable((text or "").strip()),
        click=click,
    )
    ledger, sources = _opened(source, destination)
    none = "No event matches." if criteria != EventFilter() else "No event has arrived."
    _print(all_events(ledger, criteria, sources, limit), EVENTS, none, as_json=as_json)


def _opened(source: str | None, destination: str | None) -> tuple[Ledger, Mapping[str, Source]]:
    """The ledger and the sources. Raises BadParameter for a source or destination that does not exist."""
    settings = load_settings()
    ledger = open_ledger(settings)
    check_source(settings, ledger, source)
    check_destination(settings, ledger, destination)
    return ledger, all_sources(settings.config, settings.config_path)


def _print(rows: Iterable[Row], columns: Columns, none: str, *, as_json: bool) -> None:
    """none: what to say where there are no rows."""
    if as_json:
        for row in rows:
            say_json(row)
    elif not print_table(tuple(columns), ([cell(row) for cell in columns.values()] for row in rows)):
        say(none)
