"""map, deliveries and events: the commands that only look."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from app.bootstrap import make_ledger
from app.cli.files import headers_of
from app.dry_run import explain
from app.examples_maker import content_type_of
from app.ledger.queries import all_deliveries, all_events
from app.ledger.schema import check_schema
from app.model import OUTCOMES, STATUSES, Inbound
from app.settings import load_settings
from app.sources.lookup import source_called

SHOWN = 30
WIDTH = 160
"""Of tables that go to a file or a pipe."""


@click.command("map")
@click.argument("source")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--content-type", help="Instead of what the file's name says.")
@click.option("-H", "headers", multiple=True, metavar="'NAME: VALUE'", help="A header that came with the body.")
def map_files(source: str, files: tuple[Path, ...], content_type: str | None, headers: tuple[str, ...]) -> None:
    """Dry run: what would these raw bodies become? Checks no signature, stores nothing. One JSON object a line."""
    settings = load_settings()
    found = source_called(source, settings.config, settings.config_path)
    given = headers_of(headers)
    unreadable = False
    for path in files:
        try:
            body = path.read_bytes()
        except OSError as error:
            click.echo(f"{path}: {error.strerror}", err=True)
            unreadable = True
            continue
        kind = content_type or content_type_of(path.name, body)
        inbound = Inbound(body, {"content-type": kind, **given})
        line = explain(found, inbound, settings.rules, datetime.now(UTC))
        click.echo(json.dumps({"file": str(path), **line}, ensure_ascii=False))
    sys.exit(1 if unreadable else 0)


@click.command()
@click.option("--status", type=click.Choice(STATUSES), help="Only these.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--limit", type=click.IntRange(1), help="At most this many; default all (30 in the table).")
def deliveries(status: str | None, as_json: bool, limit: int | None) -> None:
    """List deliveries, newest first."""
    ledger = make_ledger(load_settings())
    check_schema(ledger)
    rows = all_deliveries(ledger, status=status, limit=limit or (None if as_json else SHOWN))
    if as_json:
        for row in rows:
            click.echo(json.dumps(row, ensure_ascii=False))
        return
    table = _table("id", "status", "kind", "key", "amount", "customer", "tries", "next attempt or last error")
    for row in rows:
        payload = row["payload"]
        table.add_row(
            str(row["id"]),
            row["status"],
            row["kind"],
            row["dedupe_key"],
            f"{payload['amount']} {payload['currency']}" if "amount" in payload else "",
            payload["customerExternalId"],
            str(row["attempts"]),
            row["last_error"] or row["next_attempt_at"] or "",
        )
    _show(table, "No delivery is recorded" + (f" as {status}." if status else "."))


@click.command()
@click.option("--outcome", type=click.Choice(OUTCOMES), help="Only these.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--limit", type=click.IntRange(1), help="At most this many; default all (30 in the table).")
def events(outcome: str | None, as_json: bool, limit: int | None) -> None:
    """List received events, newest first, with what became of each and why."""
    ledger = make_ledger(load_settings())
    check_schema(ledger)
    rows = all_events(ledger, outcome=outcome, limit=limit or (None if as_json else SHOWN))
    if as_json:
        for row in rows:
            click.echo(json.dumps(row, ensure_ascii=False))
        return
    table = _table("id", "outcome", "source", "type", "received", "times", "why")
    for row in rows:
        times = f"{row['received_count']}×"
        table.add_row(
            str(row["id"]), row["outcome"], row["source"], row["event_type"], row["received_at"], times, row["reason"]
        )
    _show(table, "No event was received" + (f" with the outcome {outcome}." if outcome else "."))


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns[:-1]:
        table.add_column(column, no_wrap=True)
    table.add_column(columns[-1], overflow="fold", min_width=20)
    return table


def _show(table: Table, empty: str) -> None:
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    if not table.row_count:
        console.print(empty)
        return
    console.print(table)
    if table.row_count == SHOWN:
        console.print(f"These are the newest {SHOWN}: --limit shows more, --json everything.", style="dim")
