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
        listed = weeks(tx)
    if as_json:
        for week in listed:
            by_source = {
                name: {"sales": source_share.sales, "with_click": source_share.clicked}
                for name, source_share in week.by_source.items()
            }
            say_json({"start": week.start, "end": week.end, "sources": by_source})
        return
    rows = [
        (source, *(_shown(week.by_source.get(source, NO_SALES)) for week in listed), "")
        for source in sources_in(listed)
    ]
    if not print_table(("source", *(week.start[:10] for week in listed), ""), rows):
        say("No Sales in the last 8 weeks.")


def _shown(share: Share) -> str:
    return f"{share.percent}% of {share.sales:,}" if share.sales else "–"
