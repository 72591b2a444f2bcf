"""map, deliveries and events: the commands that only read."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from app.bootstrap import open_ledger
from app.cli.options import check_destination, check_source, list_options, moment, unknown_destination
from app.cli.output import say, say_json
from app.cli.table import print_table
from app.config.settings import Settings, load_settings
from app.destinations.target import Destination, destinations_of
from app.intake.dry_run import explain
from app.ledger.engine import Ledger
from app.ledger.reading.deliveries import all_deliveries
from app.ledger.reading.events import all_events
from app.ledger.reading.filters import KINDS, EventFilter, Filter
from app.model import OUTCOMES, STATUSES, Inbound
from app.money import amount_text
from app.sources.base import Source
from app.sources.catalog import all_sources, content_type_of, source_called
from app.text import storable


@click.command("map")
@click.argument("source")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--content-type", help="Content type of the bodies. Default: from the file name.")
@click.option("-H", "headers", multiple=True, metavar="'NAME: VALUE'", help="A header of the request.")
@click.option("--destination", metavar="NAME", help="Also show the request that this destination would get.")
def map_files(
    source: str,
    files: tuple[Path, ...],
    content_type: str | None,
    headers: tuple[str, ...],
    destination: str | None,
) -> None:
    """Show what raw bodies would become.

    A dry run: checks no signature and stores nothing. Prints one JSON object per line.
    """
    settings = load_settings()
    found = source_called(source, settings.config, settings.config_path)
    given, target = headers_of(headers), _destination(settings, destination) if destination else None
    unreadable = False
    for path in files:
        try:
            body = path.read_bytes()
        except OSError as error:
            say(f"{path}: {error.strerror}", err=True)
            unreadable = True
            continue
        kind = content_type or content_type_of(path.name, body)
        inbound = Inbound(body, {"content-type": kind, **given})
        line = explain(found, inbound, settings.rules, datetime.now(UTC), target)
        say_json({"file": str(path), **line})
    sys.exit(1 if unreadable else 0)


def _destination(settings: Settings, name: str) -> Destination:
    known = {one.name: one for one in destinations_of(settings)}
    if name not in known:
        raise click.BadParameter(unknown_destination(name, list(known)), param_hint="--destination")
    return known[name]


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


def headers_of(lines: Sequence[str]) -> dict[str, str]:
    """-H 'Name: value' options as a dict with lower-case names. Raises click.BadParameter."""
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise click.BadParameter(f"{line!r} is not 'Name: value'", param_hint="-H")
        headers[name.strip().lower()] = value.strip()
    return headers
