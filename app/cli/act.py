"""forget and prune: the commands that remove something."""

import click

from app.bootstrap import make_nudges, open_ledger
from app.cli.output import say
from app.config.settings import Settings, load_settings
from app.ledger.actions.forget import LOG_KEPT, BeingSent, forget_name, forget_person, is_named, persons_called
from app.ledger.actions.retention import prune as prune_ledger


@click.command()
@click.argument("person")
@click.option("--yes", is_flag=True, help="Do not ask.")
def forget(person: str, yes: bool) -> None:
    """Erase a person's data. PERSON is an e-mail address, phone number, customer id, cus_… or person:<id>."""
    ledger = open_ledger(load_settings())
    with ledger.read() as tx:
        found = persons_called(tx, person)
    if len(found) > 1:
        names = ", ".join(f"person:{one}" for one in found)
        raise click.ClickException(f"{len(found)} persons share that: choose one of {names}")
    if not found and not is_named(ledger, person):
        raise click.ClickException("nobody is known by that")
    if not yes:
        click.confirm("This cannot be undone. Erase everything but the ids of their purchases?", abort=True)
    try:
        done = forget_person(ledger, found[0], actor="cli") if found else forget_name(ledger, person, actor="cli")
    except BeingSent:
        raise click.ClickException("something of theirs is being sent just now: try again in a minute") from None
    who = "a name that is not a person here" if done.person_id is None else f"person:{done.person_id}"
    say(
        f"Forgot {who}: {done.events} events and {done.deliveries} deliveries blanked,"
        f" {done.discarded} discarded unsent."
    )
    if not done.is_overwritten:
        say(LOG_KEPT, err=True)


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what would go, and change nothing.")
def prune(dry_run: bool) -> None:
    """Remove what [retention] of bridge.toml no longer keeps. In small batches; without that table everything is kept."""
    settings = load_settings()
    retention = settings.retention
    if not any(days for _, days in retention):
        say(f"Nothing is limited: {settings.config_path} has no [retention], so everything is kept.")
        return
    ledger = open_ledger(settings)
    for done in prune_ledger(ledger, retention, dry_run=dry_run):
        say(f"{'would be ' if dry_run else ''}{done.what}: {done.count:,} (older than {done.days:g} days)")
    if dry_run and retention.deliveries_days and retention.events_days:
        say("Events go once no delivery is left of them, so those of the deliveries above come on top.")


def nudge(settings: Settings) -> None:
    """Wakes the workers where Redis can be reached; else their sweepers find it within two seconds."""
    if settings.redis_url is None:
        return
    if not make_nudges(settings).try_nudge():
        say("Redis did not answer. Workers find the work by themselves within two seconds.", err=True)
