"""refusals: requests that were refused."""

import click

from app.bootstrap import open_ledger
from app.cli.options import TIME, check_source, moment
from app.cli.output import say, say_json
from app.cli.table import print_table
from app.config.settings import load_settings
from app.ledger.engine import look
from app.ledger.inbound.refused import REASONS, RefusalFilter
from app.setup.refused import refused_requests
from app.sources.catalog import all_sources
from app.times import iso


@click.command()
@click.option("--source", metavar="NAME", help="Only those of this source.")
@click.option("--reason", type=click.Choice(REASONS), help="Only those refused for this reason.")
@click.option("--since", help=f"Only those refused since {TIME}. Default: 7d.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def refusals(source: str | None, reason: str | None, since: str | None, as_json: bool) -> None:
    """List refused requests by source and reason, the newest first, and what to do about them."""
    wanted = RefusalFilter(source, reason, moment(since, "--since"))
    settings = load_settings()
    ledger = open_ledger(settings)
    if source is not None:
        check_source(settings, ledger, source)
    with look(ledger) as tx:
        found = refused_requests(tx, settings, all_sources(settings.config, settings.config_path), wanted)
    if as_json:
        for one in found:
            say_json(one.as_json())
        return
    columns = ("source", "reason", "requests", "first", "last", "what to do")
    shown = (
        (
            one.group.source,
            one.name,
            f"{one.group.count:,}",
            iso(one.group.first_at) or "",
            iso(one.group.last_at) or "",
            one.remedy,
        )
        for one in found
    )
    if not print_table(columns, shown):
        say("No refused request matches." if wanted != RefusalFilter() else "Nothing was refused in the last 7 days.")
