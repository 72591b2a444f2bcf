"""refusals and quarantine: requests that were refused."""

import sys
from collections.abc import Iterable
from dataclasses import replace

import click

from app.bootstrap import make_intake, make_sealer, open_ledger
from app.cli.options import TIME, check_source, moment
from app.cli.output import is_asking, say, say_json
from app.cli.table import print_table
from app.config.settings import Settings, load_settings
from app.intake.verify_again import drop_held, verify_again
from app.ledger.engine import Ledger, look
from app.ledger.inbound import quarantine as reading
from app.ledger.inbound.quarantine import Held, Selection
from app.ledger.inbound.refused import REASONS, RefusalFilter
from app.setup.refused import refused_requests
from app.sources.catalog import all_sources
from app.times import iso

PAGE = 500
NOT_HELD = "not in the quarantine"


@click.command()
@click.option("--source", metavar="NAME", help="Only those of this source.")
@click.option("--reason", type=click.Choice(REASONS), help="Only those refused for this reason.")
@click.option("--since", help=f"Only those refused since {TIME}. Default: 7d.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def refusals(source: str | None, reason: str | None, since: str | None, as_json: bool) -> None:
    """List refused requests by source and reason, newest first."""
    criteria = RefusalFilter(source, reason, moment(since, "--since"))
    settings = load_settings()
    ledger = open_ledger(settings)
    check_source(settings, ledger, source)
    with look(ledger) as tx:
        refused = refused_requests(tx, settings, all_sources(settings.config, settings.config_path), criteria)
    if as_json:
        for group in refused:
            say_json(group.as_json())
        return
    columns = ("source", "reason", "requests", "first", "last", "quarantined", "what to do")
    shown = (
        (
            group.group.source,
            group.name,
            f"{group.group.count:,}",
            iso(group.group.first_at) or "",
            iso(group.group.last_at) or "",
            f"{group.held:,}" if group.held else "",
            f"{group.remedy} Redeliver: {group.redeliver}" if group.redeliver else group.remedy,
        )
        for group in refused
    )
    if not print_table(columns, shown):
        say("No refused request matches." if criteria != RefusalFilter() else "Nothing was refused in the last 7 days.")


@click.group()
def quarantine() -> None:
    """Verify refused requests again, or drop them."""


@quarantine.command("list")
@click.option("--source", metavar="NAME", help="Only those of this source.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def list_held(source: str | None, as_json: bool) -> None:
    """List the requests in the quarantine, newest first, without their bodies."""
    settings = load_settings()
    ledger = open_ledger(settings)
    check_source(settings, ledger, source)
    rows = _all_held(ledger, source)
    if as_json:
        for request in rows:
            say_json(request.as_json())
        return
    columns = ("id", "source", "received", "times", "bytes", "from", "why")
    shown = (
        (
            str(request.id),
            request.source,
            iso(request.received_at) or "",
            f"{request.count}×",
            f"{request.size:,}",
            request.client,
            request.problem or request.reason,
        )
        for request in rows
    )
    if not print_table(columns, shown):
        say("The quarantine is empty.")


def _all_held(ledger: Ledger, source: str | None) -> Iterable[Held]:
    before: int | None = None
    while True:
        with look(ledger) as tx:
            rows = reading.held(tx, source=source, before=before, limit=PAGE)
        yield from rows
        if len(rows) < PAGE:
            return
        before = rows[-1].id


@quarantine.command()
@click.option("--id", "ids", type=click.IntRange(1), multiple=True, metavar="ID", help="Verify this request.")
@click.option("--source", metavar="NAME", help="Verify every request of this source.")
@click.option("--all", "is_all", is_flag=True, help="Verify every request.")
def verify(ids: tuple[int, ...], source: str | None, is_all: bool) -> None:
    """Verify requests against the current secrets, and accept the authentic ones.

    Exit status 1 if any is refused again or is not in the quarantine.
    """
    selection = _selected(ids, source, is_all)
    settings = load_settings()
    ledger = open_ledger(settings)
    absent = _absent(settings, ledger, selection)
    intake, writer = make_intake(settings, ledger)
    try:
        done = verify_again(ledger, intake, make_sealer(settings), selection, actor="cli")
    finally:
        writer.stop()
    for identity, problem in done.problems.items():
        say(f"request {identity}: {problem}")
    for identity in absent:
        say(f"request {identity}: {NOT_HELD}")
    say(f"{done.sentence}.")
    sys.exit(1 if done.problems or absent else 0)


@quarantine.command()
@click.option("--id", "ids", type=click.IntRange(1), multiple=True, metavar="ID", help="Drop this request.")
@click.option("--source", metavar="NAME", help="Drop every request of this source.")
@click.option("--all", "is_all", is_flag=True, help="Drop every request.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def drop(ids: tuple[int, ...], source: str | None, is_all: bool, yes: bool) -> None:
    """Remove requests from the quarantine for good. Exit status 1 if an ID is not in it."""
    selection = _selected(ids, source, is_all)
    settings = load_settings()
    ledger = open_ledger(settings)
    absent = _absent(settings, ledger, selection)
    if not ids and not yes:
        if not is_asking():
            raise click.UsageError("this cannot be undone: add --yes")
        selection = _confirmed(ledger, selection)
    count = drop_held(ledger, selection, actor="cli")
    for identity in absent:
        say(f"request {identity}: {NOT_HELD}")
    say(f"{count:,} dropped." if count else "Nothing matches.")
    sys.exit(1 if absent else 0)


def _confirmed(ledger: Ledger, selection: Selection) -> Selection:
    """Asks, and returns only what was counted. Raises Abort."""
    with look(ledger) as tx:
        count, through = reading.count_chosen(tx, selection)
    if count:
        of = f" of {selection.source}" if selection.source else ""
        click.confirm(
            f"Drop {count:,} {'request' if count == 1 else 'requests'}{of}? This cannot be undone.", abort=True
        )
    return replace(selection, through=through)


def _absent(settings: Settings, ledger: Ledger, selection: Selection) -> list[int]:
    """Those IDs that are not in the quarantine. Raises BadParameter for a source that does not exist."""
    check_source(settings, ledger, selection.source)
    if selection.ids is None:
        return []
    with look(ledger) as tx:
        held = {request.id for request in reading.chosen(tx, selection, limit=len(selection.ids))}
    return [identity for identity in dict.fromkeys(selection.ids) if identity not in held]


def _selected(ids: tuple[int, ...], source: str | None, is_all: bool) -> Selection:
    if bool(ids) + (source is not None) + is_all != 1:
        raise click.UsageError("choose requests with --id, --source or --all")
    return Selection(ids or None, source)
