"""backfill: fetch what is missing from Stripe's own list of events."""

import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime

import click

from app.bootstrap import make_nudges, make_policy, open_ledger
from app.cli.options import TIME, instant, span
from app.cli.output import say, say_json, say_over
from app.config.settings import Settings, load_settings
from app.ledger.recording.arrival import Receipt
from app.sources.catalog import source_called
from app.stripe_api.backfill import Backfill, Tally
from app.stripe_api.checks import mode_trouble
from app.stripe_api.client import KEPT_SECONDS, make_api

PROGRESS_SECONDS = 5.0
"""Between two lines of progress, where they cannot be written over each other."""

ACCOUNT_HELP = "A connected account (acct_…); needs the platform's key."


@click.group()
def backfill() -> None:
    """Fetch missed events from a source's API."""


@backfill.command("stripe")
@click.option("--since", required=True, help=f"Fetch events since {TIME}.")
@click.option("--until", help="Fetch events before. Default: now.")
@click.option("--account", metavar="ID", help=ACCOUNT_HELP)
@click.option("--restart", is_flag=True, help="Start at --since instead of continuing an interrupted run.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
def backfill_stripe(since: str, until: str | None, account: str | None, restart: bool, as_json: bool) -> None:
    """Fetch missing Stripe events and record them.

    They are recorded as if their webhooks had arrived. Safe to repeat and to interrupt.
    """
    since_s, (_, until_ms) = start_of(since), span(since, until)
    until_s = None if until_ms is None else until_ms // 1000
    settings = load_settings()
    ledger = open_ledger(settings)
    if since_s < time.time() - KEPT_SECONDS:
        say(
            "Stripe keeps events for 30 days, and older ones are gone. `bridge reconcile stripe --since 60d` still sees their"
            " purchases.",
            err=True,
        )
    api = make_api(settings)
    if trouble := mode_trouble(settings, api):
        say(f"{trouble}.", err=True)
    run = Backfill(
        api,
        ledger,
        source_called("stripe", settings.config, settings.config_path),
        make_policy(settings),
        since=since_s,
        until=until_s,
        account=account,
        after_commit=_Nudge(settings),
    )
    resumed = None if restart else run.resume()
    if resumed is not None:
        say(f"An earlier run was interrupted: going on from {time_text(resumed)} (--restart starts over).", err=True)
    _watch(run)
    _report(run.tally, as_json)
    sys.exit(1 if run.tally.failed else 0)


class _Nudge:
    """Wakes the workers where something is to be sent; where Redis does not answer, says so once."""

    def __init__(self, settings: Settings) -> None:
        self._nudges = make_nudges(settings) if settings.redis_url else None

    def __call__(self, receipts: Sequence[Receipt]) -> None:
        if self._nudges is None or not any(receipt.delivers for receipt in receipts):
            return
        if not self._nudges.try_nudge():
            self._nudges = None
            say("Redis did not answer. Workers find the work by themselves within two seconds.", err=True)


def _watch(run: Backfill) -> None:
    """Progress on standard error: one line that changes on a terminal, else one now and then."""
    on_terminal, told_at = sys.stderr.isatty(), time.monotonic()
    try:
        for done in run.run():
            line = f"up to {time_text(done)}: {run.tally.found} found, {run.tally.new} new"
            if on_terminal:
                say_over(line)
            elif time.monotonic() - told_at >= PROGRESS_SECONDS:
                told_at = time.monotonic()
                say(line, err=True)
    except KeyboardInterrupt:
        say("", err=True)
        say("Interrupted. What is recorded stays; run the same command again to continue.", err=True)
        sys.exit(130)
    finally:
        if on_terminal:
            say("", err=True)


def _report(tally: Tally, as_json: bool) -> None:
    counts = {
        "found": tally.found,
        "new": tally.new,
        "sales": tally.sales,
        "leads": tally.leads,
        "duplicate": tally.duplicate,
        "pending": tally.pending,
        "ignored": tally.ignored,
        "parked": tally.parked,
        "failed": len(tally.failed),
    }
    if as_json:
        say_json({**counts, "failed_events": tally.failed})
        return
    say(
        f"{tally.found} found: {tally.new} new ({tally.sales} sales, {tally.leads} leads), {tally.duplicate} duplicate,"
        f" {tally.pending} pending, {tally.ignored} ignored, {tally.parked} parked"
    )
    if tally.parked:
        say("What is parked and why: `bridge events --outcome parked`.")
    if tally.failed:
        say(f"{len(tally.failed)} could not be recorded: {', '.join(tally.failed[:10])}; the log says why.", err=True)


def start_of(since: str) -> int:
    """--since, in seconds. Raises BadParameter."""
    start = instant(since, "--since") // 1000
    if start > time.time():
        raise click.BadParameter("lies ahead", param_hint="--since")
    return start


def time_text(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
