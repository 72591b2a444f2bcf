"""backup, restore and `db copy`: the commands for a whole ledger."""

import os
import sys
import time
from importlib.metadata import version
from pathlib import Path

import click
from pydantic import TypeAdapter, ValidationError

from app.bootstrap import make_ledger, open_ledger
from app.cli.output import say, say_over
from app.config.generated_secrets import read_made_up_secrets, replace_secrets
from app.config.setting_types import DatabaseUrl
from app.config.settings import load_settings
from app.destinations.target import formats_of
from app.ledger.engine import Ledger
from app.ledger.reading.summary.stats import workers_alive
from app.ledger.upkeep.backup import back_up
from app.ledger.upkeep.backup import restore as restore_backup
from app.ledger.upkeep.copy import copy_ledger
from app.stack.home import lock_home
from app.times import iso

LEAST_SHOWN_SECONDS = 1.0


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
def backup(file: Path) -> None:
    """Back up the ledger and the generated secrets.

    The bridge can keep running. Meanwhile, the folder of FILE needs extra room as large as the ledger.

    Keep FILE private: it holds personal data and secrets.
    """
    settings = load_settings()
    ledger = open_ledger(settings)
    progress = Progress()
    done = back_up(
        ledger, file, read_made_up_secrets(settings.bridge_home), version("conversion-bridge"), progress.show
    )
    progress.end()
    size = file.stat().st_size
    say(
        f"{file}: {done.events:,} events and {done.deliveries:,} deliveries ({done.open:,} open), {size / 1e6:,.1f} MB."
    )
    say("It holds secrets and personal data: keep it private.")


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
def restore(file: Path) -> None:
    """Restore a backup into an empty ledger.

    Uses DATABASE_URL, else BRIDGE_HOME. Stop the bridge first.

    Every destination is paused afterwards, so nothing is sent before you resume it.
    """
    settings = load_settings()
    ledger = make_ledger(settings)
    lock = lock_home(settings.bridge_home) if settings.database_url is None else None
    progress = Progress()
    try:
        done = restore_backup(ledger, file, list(formats_of(settings)), progress.show)
    finally:
        progress.end()
        ledger.close()
        if lock is not None:
            os.close(lock)
    kept = replace_secrets(settings.bridge_home, done.secrets) if done.secrets else None
    taken = iso(done.backup.taken_at)
    say(f"Restored {done.backup.events:,} events and {done.backup.deliveries:,} deliveries from the backup of {taken}.")
    if kept:
        say(f"The generated secrets are those of the backup; the ones before are in {kept}.")
    say(f"Every destination is paused: {', '.join(done.paused) or 'there is none'}.")
    if done.backup.open:
        say(
            f"{done.backup.open:,} deliveries are open. They are sent once you resume, also those that were delivered after the"
            " backup was taken: these for the second time, with the same Idempotency-Key and invoiceId."
        )
    else:
        say("No delivery is open: nothing is sent again.")
    say("What came after the backup is missing. Before you resume, fetch it:")
    say(f"  bridge backfill stripe --since {taken}")
    say(
        "Other providers: resend what they sent since then from their dashboards. What is known already is not counted twice."
    )
    for name in done.paused:
        say(f"  bridge resume {name}")


@click.command("copy")
@click.option("--to", "url", required=True, metavar="URL", help="An empty database: postgresql://… or sqlite:///path.")
def db_copy(url: str) -> None:
    """Copy the ledger into an empty database.

    Copies everything or nothing, between SQLite and PostgreSQL. Stop the bridge first.
    """
    try:
        checked = TypeAdapter(DatabaseUrl).validate_python(url)
    except ValidationError as error:
        raise click.BadParameter(
            str(error.errors()[0]["msg"]).removeprefix("Value error, "), param_hint="--to"
        ) from None
    source, target = open_ledger(load_settings()), Ledger(checked.get_secret_value())
    with source.read() as tx:
        alive = workers_alive(tx, tx.now())
    if alive:
        say("The bridge is running. Whatever it records or delivers from now on will not be in the copy.", err=True)
    progress, began = Progress(), time.monotonic()
    counts = copy_ledger(source, target, progress.show)
    progress.end()
    target.close()
    say(
        f"Copied {counts['events']:,} events, {counts['deliveries']:,} deliveries and {sum(counts.values()):,} rows in all, in"
        f" {time.monotonic() - began:.1f} s. The counts of all {len(counts)} tables agree."
    )
    say("Set DATABASE_URL to the copy, and start the bridge again.")


class Progress:
    """Shows how far a copy came: in place on a terminal, else a line for each table that took a while."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._said_at = 0.0

    def show(self, table: str, done: int, total: int) -> None:
        now = time.monotonic()
        if not total or (now - self._said_at < LEAST_SHOWN_SECONDS and done != total):
            return
        self._said_at = now
        line = f"{table}: {done:,} of {total:,}"
        if self._is_terminal:
            say_over(line)
        else:
            say(line, err=True)

    def end(self) -> None:
        if self._is_terminal and self._said_at:
            say_over("")
