"""map, deliveries and events: the commands that only look."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from app.bootstrap import open_ledger
from app.cli.output import say, say_json
from app.cli.table import print_table
from app.config.settings import Settings, load_settings
from app.destinations.target import Destination, destinations_of
from app.intake.dry_run import explain
from app.ledger.reading.deliveries import all_deliveries
from app.ledger.reading.events import all_events
from app.model import OUTCOMES, STATUSES, Inbound
from app.money import amount_text
from app.sources.catalog import content_type_of, source_called


@click.command("map")
@click.argument("source")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--content-type", help="Instead of what the file's name says.")
@click.option("-H", "headers", multiple=True, metavar="'NAME: VALUE'", help="A header that came with the body.")
@click.option("--destination", metavar="NAME", help="Show the request that this destination would be sent as well.")
def map_files(
    source: str,
    files: tuple[Path, ...],
    content_type: str | None,
    headers: tuple[str, ...],
    destination: str | None,
) -> None:
    """Show what raw bodies would become: a dry run. Checks no signature, stores nothing. One JSON object a line."""
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
        raise click.BadParameter(
            f"there is no destination called {name}; there are {', '.join(known)}", param_hint="--destination"
        )
    return known[name]


@click.command()
@click.option("--status", type=click.Choice(STATUSES), help="Only these.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--limit", type=click.IntRange(1), help="At most this many; default all.")
def deliveries(status: str | None, as_json: bool, limit: int | None) -> None:
    """List deliveries, newest first."""
    rows = all_deliveries(open_ledger(load_settings()), status=status, limit=limit)
    if as_json:
        _print_json(rows)
        return
    columns = ("id", "status", "tries", "amount", "customer", "key", "next attempt or last error")
    shown = (
        (
            str(row["id"]),
            row["status"],
            str(row["attempts"]),
            "" if row["amount"] is None else amount_text(row["amount"], row["currency"]),
            row["customer_id"] or "",
            row["dedupe_key"],
            row["last_error"] or row["next_attempt_at"] or "",
        )
        for row in rows
    )
    if not print_table(columns, shown):
        say("No delivery is recorded" + (f" as {status}." if status else "."))


@click.command()
@click.option("--outcome", type=click.Choice(OUTCOMES), help="Only these.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--limit", type=click.IntRange(1), help="At most this many; default all.")
def events(outcome: str | None, as_json: bool, limit: int | None) -> None:
    """List events, newest first, and what became of each."""
    rows = all_events(open_ledger(load_settings()), outcome=outcome, limit=limit)
    if as_json:
        _print_json(rows)
        return
    columns = ("id", "outcome", "times", "source", "received", "type", "why")
    shown = (
        (
            str(row["id"]),
            row["outcome"],
            f"{row['received_count']}×",
            row["source"],
            row["received_at"],
            row["event_type"],
            row["reason"],
        )
        for row in rows
    )
    if not print_table(columns, shown):
        say("No event was received" + (f" with the outcome {outcome}." if outcome else "."))


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
