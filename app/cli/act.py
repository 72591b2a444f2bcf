"""forget, export, prune, pause and resume: the commands that act on people, old data and destinations."""

import click

from app.bootstrap import make_nudges, open_ledger
from app.cli.compact import say_released
from app.cli.output import say, say_pieces
from app.config.settings import Settings, load_settings
from app.destinations.target import destinations_of
from app.ledger.actions.forget import LOG_KEPT, BeingSent, forget_name, forget_person, is_named
from app.ledger.actions.pausing import pause_destination, resume_destination
from app.ledger.actions.retention import prune as prune_ledger
from app.ledger.engine import Ledger
from app.ledger.reading.export import export_name, export_person
from app.ledger.reading.persons import named
from app.ledger.upkeep.space import compact

UNKNOWN = "no person or event matches"
PERSON = "PERSON is an email address, phone number, customer ID, cus_…, or person:<id>."


@click.command(help=f"Erase a person's data. {PERSON}")
@click.argument("person")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def forget(person: str, yes: bool) -> None:
    ledger = open_ledger(load_settings())
    person_id = _named(ledger, person)
    if not person_id and not is_named(ledger, person):
        raise click.ClickException(UNKNOWN)
    if not yes:
        click.confirm("This cannot be undone. Erase everything except the IDs of their purchases?", abort=True)
    try:
        done = forget_person(ledger, person_id, actor="cli") if person_id else forget_name(ledger, person, actor="cli")
    except BeingSent:
        raise click.ClickException("one of their deliveries is being sent: try again in a minute") from None
    who = "a name without a person" if done.person_id is None else f"person:{done.person_id}"
    say(
        f"Forgot {who}: {done.events} events and {done.deliveries} deliveries blanked,"
        f" {done.discarded} discarded unsent."
    )
    if done.held:
        say(f"{done.held} {'request' if done.held == 1 else 'requests'} dropped from the quarantine.")
    if not done.is_overwritten:
        say(LOG_KEPT, err=True)


@click.command()
@click.option("--dry-run", is_flag=True, help="Show what would be removed, and change nothing.")
@click.option(
    "--compact",
    "is_compacting",
    is_flag=True,
    help="Also rewrite the SQLite file to shrink it. Writers wait meanwhile.",
)
def prune(dry_run: bool, is_compacting: bool) -> None:
    """Remove old data now, by [retention] in bridge.toml.

    A worker does this once a day. The bridge keeps running meanwhile.
    """
    settings = load_settings()
    retention = settings.retention
    ledger = open_ledger(settings)
    if not any(days for _, days in retention):
        say(f"Everything is kept: each entry of [retention] in {settings.config_path} is forever.")
    is_any = False
    for done in prune_ledger(ledger, retention, dry_run=dry_run):
        if done.count:
            is_any = True
            say(f"{'would be ' if dry_run else ''}{done.what}: {done.count:,} (older than {done.days:g} days)")
    if not is_any and any(days for _, days in retention):
        say("Nothing is old enough to be removed.")
    elif is_any and dry_run:
        say("Events are removed once they have no delivery, so those of the deliveries above would follow.")
    if dry_run:
        return
    say_released(ledger)
    if is_compacting:
        compact(ledger)
        say("The file was rewritten without free space.")


@click.command(help=f"Print everything kept about a person, as JSON. {PERSON}")
@click.argument("person")
def export(person: str) -> None:
    ledger = open_ledger(load_settings())
    person_id = _named(ledger, person)
    pieces = export_person(ledger, person_id, actor="cli") if person_id else export_name(ledger, person, actor="cli")
    if pieces is None:
        raise click.ClickException(UNKNOWN)
    say_pieces(pieces)


@click.command()
@click.argument("destination", metavar="DEST")
@click.option("--why", metavar="TEXT", default="", help="The reason, shown on the dashboard and in the audit log.")
def pause(destination: str, why: str) -> None:
    """Stop forwarding to a destination. Events are still accepted; their deliveries wait until `bridge resume`."""
    ledger, names = _with_destinations()
    say(f"{pause_destination(ledger, destination, names, why, actor='cli').message}.")


@click.command()
@click.argument("destination", metavar="DEST")
def resume(destination: str) -> None:
    """Resume forwarding to a destination. It does not matter who or what paused it."""
    ledger, names = _with_destinations()
    result = resume_destination(ledger, destination, names, actor="cli")
    say(f"{result.message}.")
    if result.done:
        nudge(load_settings())


def _with_destinations() -> tuple[Ledger, list[str]]:
    settings = load_settings()
    return open_ledger(settings), [destination.name for destination in destinations_of(settings)]


def _named(ledger: Ledger, person: str) -> int | None:
    """The person who is called that, the surviving one where they were merged; None where nobody is.

    Raises ClickException where several are.
    """
    with ledger.read() as tx:
        person_ids = sorted(set(named(tx, person)))
    if len(person_ids) > 1:
        names = ", ".join(f"person:{person_id}" for person_id in person_ids)
        raise click.ClickException(f"{len(person_ids)} people share that: choose one of {names}")
    return person_ids[0] if person_ids else None


def nudge(settings: Settings) -> None:
    """Wakes the workers where Redis can be reached; else their sweepers find it within two seconds."""
    if settings.redis_url is None:
        return
    if not make_nudges(settings).try_nudge():
        say("Redis did not answer. Workers find the work by themselves within two seconds.", err=True)
