"""coverage: how many Sales carry a click ID."""

import click

from app.bootstrap import open_ledger
from app.cli.output import say, say_json
from app.cli.table import print_table
from app.config.settings import load_settings
from app.ledger.credit.coverage import NO_SALES, Share, sources_in, weeks
from app.ledger.engine import look


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per week.")
def coverage(as_json: bool) -> None:
    """Show which share of Sales has a click ID."""
    with look(open_ledger(load_settings())) as tx:
        found = weeks(tx)
    if as_json:
        for week in found:
            by_source = {name: {"sales": one.sales, "with_click": one.clicked} for name, one in week.by_source.items()}
            say_json({"start": week.start, "end": week.end, "sources": by_source})
        return
    rows = [
        (source, *(_shown(week.by_source.get(source, NO_SALES)) for week in found), "") for source in sources_in(found)
    ]
    if not print_table(("source", *(week.start[:10] for week in found), ""), rows):
        say("No Sales in the last 8 weeks.")


def _shown(share: Share) -> str:
    return f"{share.percent} % of {share.sales:,}" if share.sales else "–"
