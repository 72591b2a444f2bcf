"""parked: the work list of parked events."""

import sys
from collections.abc import Mapping
from dataclasses import asdict

import click

from app.bootstrap import make_policy, open_ledger
from app.cli.act import nudge
from app.cli.options import check_source
from app.cli.output import say, say_json
from app.cli.table import print_table
from app.config.settings import Settings, load_settings
from app.intake.parked import work
from app.intake.parked.fill import FILLABLE, LABELS
from app.intake.parked.work import ParkedEvent
from app.intake.remap import NO_LIMIT, Remapped, Reprocessed, preview_parked, reprocess_parked
from app.ledger.engine import Ledger, look
from app.ledger.parked.reading import ParkedSelection
from app.ledger.recording.arrival import Policy
from app.money import amount_text
from app.sources.base import Source
from app.sources.catalog import all_sources
from app.text import storable

PAGE = 100


@click.group()
def parked() -> None:
    """Complete, reprocess or dismiss parked events."""


@parked.command("list")
@click.option("--source", metavar="NAME", help="Only those of this source.")
@click.option("--reason", help="Only those with exactly this reason.")
@click.option("--limit", type=click.IntRange(1), help="Show at most this many. Default: all.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def list_parked(source: str | None, reason: str | None, limit: int | None, as_json: bool) -> None:
    """List parked events, newest first, with what each lacks and what the body has."""
    ledger, sources, policy, _ = _opened(source)
    listed = _events(ledger, sources, policy, ParkedSelection((), source, reason), limit)
    if as_json:
        for event in listed:
            say_json(asdict(event))
        return
    columns = ("id", "received", "source", "amount", "email", "missing")
    rows = (
        (str(event.id), event.received_at, event.source, _paid(event), event.email or "", _missing(event))
        for event in listed
    )
    if not print_table(columns, rows):
        say("No event is parked." if source is None and reason is None else "No parked event matches.")


IDS = click.option("--id", "ids", type=int, multiple=True, metavar="ID", help="This event. May be given several times.")
THE_IDS = click.option(
    "--id", "ids", type=int, multiple=True, required=True, metavar="ID", help="This event. May be given several times."
)


@parked.command()
@IDS
@click.option("--source", metavar="NAME", help="All parked events of this source.")
@click.option("--reason", help="With --source: only those with exactly this reason.")
@click.option("--all", "everything", is_flag=True, help="All parked events of all sources.")
@click.option("--dry-run", is_flag=True, help="Show what would happen, and write nothing.")
def reprocess(ids: tuple[int, ...], source: str | None, reason: str | None, everything: bool, dry_run: bool) -> None:
    """Map parked events again: those with these IDs, of one source, or all.

    Exit status 1 if an ID is not that of a parked event.
    """
    if bool(ids) + (source is not None) + everything != 1:
        raise click.UsageError("choose events with --id, --source or --all")
    if reason is not None and source is None:
        raise click.UsageError("--reason goes with --source")
    ledger, sources, policy, settings = _opened(source)
    selection = ParkedSelection(ids, source, reason)
    absent = dict.fromkeys(ids)

    def found(remapped: Remapped) -> None:
        absent.pop(remapped.event_id, None)

    if dry_run:
        _show(preview_parked(ledger, sources, policy, selection, seconds=NO_LIMIT, show=found), "would be ")
    else:
        done = reprocess_parked(ledger, sources, policy, selection, actor="cli", seconds=NO_LIMIT, show=found)
        _show(done, "")
        if not done.is_empty:
            nudge(settings)
    for event_id in absent:
        say(f"event {event_id}: not parked")
    sys.exit(1 if absent else 0)


@parked.command()
@click.argument("event_id", type=int, metavar="ID")
@click.option("--amount", help="In major units, such as 149.50.")
@click.option("--currency", help="A code such as EUR.")
@click.option("--invoice-id", "id", help="The ID of the purchase or submission.")
@click.option("--email", help="Of the customer.")
@click.option("--customer-id", help="Your own ID of the customer.")
@click.option("--phone", help="With its country code.")
@click.option("--name", help="Of the customer.")
@click.option("--click-id", help="The click that led to it.")
def fill(event_id: int, **values: str | None) -> None:
    """Fill in what a parked event lacks, and reprocess it. An empty value removes one that was filled in."""
    filled = {name: storable(value) for name in FILLABLE if (value := values[name]) is not None}
    if not filled:
        raise click.UsageError("give at least one value, such as --currency EUR")
    ledger, sources, policy, settings = _opened(None)
    done = work.fill_in(ledger, sources, policy, event_id, filled, actor="cli")
    say(f"event {event_id}: {done.message.removeprefix(f'event {event_id} is ')}")
    if done.delivers:
        nudge(settings)
    sys.exit(0 if done.done else 1)


@parked.command()
@THE_IDS
@click.option("--why", required=True, help="The reason, at most 512 characters.")
def dismiss(ids: tuple[int, ...], why: str) -> None:
    """Close parked events with a reason: they become ignored."""
    why = storable(" ".join(why.split()))
    if not 0 < len(why) <= work.LONGEST_WHY:
        raise click.BadParameter(f"must be text of 1 to {work.LONGEST_WHY} characters", param_hint="--why")
    ledger, *_ = _opened(None)
    _say_changed(work.dismiss(ledger, ids, why, actor="cli"), ids, "dismissed", "not parked")


@parked.command()
@THE_IDS
def reopen(ids: tuple[int, ...]) -> None:
    """Undo a dismissal: the events are parked again."""
    ledger, *_ = _opened(None)
    _say_changed(work.reopen(ledger, ids, actor="cli"), ids, "parked again", "not dismissed")


def _opened(source: str | None) -> tuple[Ledger, Mapping[str, Source], Policy, Settings]:
    """Raises BadParameter for a source that does not exist."""
    settings = load_settings()
    ledger = open_ledger(settings)
    check_source(settings, ledger, source)
    return ledger, all_sources(settings.config, settings.config_path), make_policy(settings), settings


def _events(
    ledger: Ledger, sources: Mapping[str, Source], policy: Policy, selection: ParkedSelection, limit: int | None
) -> list[ParkedEvent]:
    events: list[ParkedEvent] = []
    before = None
    while limit is None or len(events) < limit:
        size = PAGE if limit is None else min(PAGE, limit - len(events))
        with look(ledger) as tx:
            page = work.parked_work(tx, sources, policy, selection, before=before, limit=size, is_grouped=False)
        events += page.events
        before = page.next_before
        if before is None:
            break
    return events


def _paid(event: ParkedEvent) -> str:
    return "" if event.amount is None else amount_text(event.amount, event.currency)


def _missing(event: ParkedEvent) -> str:
    parts = []
    for lack in event.lacks:
        text = LABELS[lack.field]
        if lack.looked_for:
            text += f" (looked for {', '.join(lack.looked_for)})"
        if lack.similar:
            text += ": the body has " + ", ".join(
                f'{candidate.path}: "{candidate.value}"' for candidate in lack.similar
            )
        parts.append(text)
    return "; ".join(parts) or ("nothing now: reprocess it" if event.ready else event.problem or event.reason)


def _show(reprocessed: Reprocessed, verb: str) -> None:
    if reprocessed.is_empty:
        say("No parked event matches.")
        return
    say(", ".join(f"{count:,} {verb}{outcome}" for outcome, count in sorted(reprocessed.outcomes.items())) + ".")
    for reason, count in reprocessed.staying:
        say(f"  {count:,} × {reason}")


def _say_changed(done: list[int], asked: tuple[int, ...], success: str, failure: str) -> None:
    for event_id in asked:
        say(f"event {event_id}: {success if event_id in done else failure}")
    sys.exit(0 if set(asked) == set(done) else 1)
