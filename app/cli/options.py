"""Options that several commands share: how they are read, and what is wrong with them."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from app.config.settings import Settings
from app.config.spelling import closest, unknown_source
from app.destinations.target import destinations_of
from app.ledger.engine import Ledger
from app.sources.catalog import all_sources
from app.times import read_since

Command = TypeVar("Command", bound=Callable[..., Any])

TIME = "(2026-04-10, 2026-04-10T12:00:00Z, 24h, 7d)"
"""The forms of a time, for help texts."""


def list_options(command: Command) -> Command:
    """The options of every list: filters, --limit and --json."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line."),
        click.option("--limit", type=click.IntRange(1), help="Show at most this many. Default: all."),
        click.option("--q", "text", help="An email address, phone number, name, or ID: whole, or how it begins."),
        click.option("--click", type=click.Choice(("none",)), help="none: only those without a click ID."),
        click.option("--until", help="Only those recorded before."),
        click.option("--since", help=f"Only those recorded since {TIME}."),
        click.option("--destination", metavar="NAME", help="Only those for this destination."),
        click.option("--source", metavar="NAME", help="Only those from this source."),
    ):
        command = option(command)
    return command


def moment(text: str | None, option: str) -> int | None:
    """A time as people type it, in ms. Raises BadParameter."""
    return None if text is None else instant(text, option)


def instant(text: str, option: str) -> int:
    """As `moment`, of a time that is there."""
    try:
        return read_since(text)
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(str(error), param_hint=option) from None


def span(since: str | None, until: str | None) -> tuple[int | None, int | None]:
    """--since and --until, in ms. Raises BadParameter, also where nothing can lie between them."""
    start, end = moment(since, "--since"), moment(until, "--until")
    if start is not None and end is not None and end < start:
        raise click.BadParameter("lies before --since", param_hint="--until")
    return start, end


def check_source(settings: Settings, ledger: Ledger, name: str | None) -> None:
    """Raises BadParameter unless the source exists now, or did when an event or a refused request of it was kept.
    None: nothing is named."""
    if name is None:
        return
    known = all_sources(settings.config, settings.config_path)
    if name not in known and not any(_is_recorded(ledger, table, "source", name) for table in ("events", "quarantine")):
        raise click.BadParameter(unknown_source(name, known), param_hint="--source")


def check_destination(settings: Settings, ledger: Ledger, name: str | None, option: str = "--destination") -> None:
    """Raises BadParameter unless the destination exists now, or did when the ledger recorded something of it.
    None: nothing is named."""
    if name is None:
        return
    known = [destination.name for destination in destinations_of(settings)]
    if name not in known and not _is_recorded(ledger, "destinations", "name", name):
        raise click.BadParameter(unknown_destination(name, known), param_hint=option)


def unknown_destination(name: str, known: list[str]) -> str:
    """What to say of a destination that does not exist."""
    meant = closest(name, known)
    hint = f"did you mean {meant}?" if meant else f"choose from {', '.join(known)}"
    return f"there is no destination called {name}; {hint}"


def _is_recorded(ledger: Ledger, table: str, column: str, name: str) -> bool:
    with ledger.read() as tx:
        return tx.run(f"SELECT 1 FROM {table} WHERE {column} = ? LIMIT 1", name).first() is not None  # noqa: S608 - our names
