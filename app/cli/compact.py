"""db compact, and what prune does after it: free space goes back to the file system."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import click

from app.bootstrap import open_ledger
from app.cli.output import say
from app.config.settings import load_settings
from app.ledger.engine import Ledger
from app.ledger.upkeep.space import estimate_space, release_space

LEAST_SHOWN_BYTES = 1_000_000


@click.command("compact")
@click.option("--dry-run", is_flag=True, help="Show about how much would be returned, and change nothing.")
def db_compact(dry_run: bool) -> None:
    """Return free space in the database to the file system.

    The bridge keeps running meanwhile. Safe to interrupt and to repeat. `bridge prune` and the daily retention do this, too.
    """
    ledger = open_ledger(load_settings())
    if not dry_run:
        say_released(ledger, always=True)
        return
    found = estimate_space(ledger)
    for part in found:
        say(f"{part.name}: about {part.free_bytes / 1e6:,.1f} of {part.total_bytes / 1e6:,.1f} MB")
    if not found:
        say("There is not enough free space to be worth returning.")


def say_released(ledger: Ledger, *, always: bool = False) -> None:
    """Returns space and shows how much. always: also where it was little."""
    try:
        with _sigterm_interrupts():
            done = release_space(ledger, progress=say)
    except KeyboardInterrupt:
        raise click.ClickException(
            "interrupted. The ledger is intact, and what was returned stays returned: run `bridge db compact` to continue"
        ) from None
    if always or done.freed_bytes >= LEAST_SHOWN_BYTES:
        say(f"{done.freed_bytes / 1e6:,.1f} MB were returned to the file system.")
    for note in done.notes:
        say(note, err=True)


@contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """SIGTERM acts as Ctrl-C does: a statement that runs is cancelled, and its transaction rolled back."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
