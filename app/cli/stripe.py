"""stripe-endpoint, backfill and reconcile: the commands that speak to Stripe's own API."""

import json
import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import click
from redis.exceptions import RedisError
from rich.console import Console
from rich.table import Table

from app.bootstrap import make_ledger, make_nudges, make_policy
from app.errors import ConfigurationError
from app.ledger.recording import Receipt
from app.ledger.schema import check_schema
from app.settings import Settings, load_settings
from app.sources.lookup import source_called
from app.stripe.backfill import KEPT_SECONDS, Backfill, Tally
from app.stripe.client import make_api
from app.stripe.endpoint import PATH, Plan, Wanted, apply, find_endpoint, list_endpoints, mark_of, own_url, plan
from app.stripe.reconcile import Comparison, Reconciliation
from app.stripe.wanted import wanted_events
from app.times import read_since

WIDTH = 160
PROGRESS_SECONDS = 5.0
"""Between two lines of progress, where they cannot be written over each other."""

SINCE_HELP = "2026-04-10, 2026-04-10T12:00:00Z, 24h or 7d."
ACCOUNT_HELP = "A connected account (acct_…), with the platform's key."


@click.group("stripe-endpoint")
def stripe_endpoint() -> None:
    """The webhook endpoint at Stripe: look at it, or make it what the bridge needs. Needs STRIPE_API_KEY."""


@stripe_endpoint.command()
@click.option("--url", metavar="URL", help=f"Default PUBLIC_URL{PATH}.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def show(url: str | None, as_json: bool) -> None:
    """List the account's webhook endpoints, and how ours differs from what is wanted."""
    settings = load_settings()
    endpoints = list_endpoints(make_api(settings))
    wanted = _wanted(settings, url, required=False)
    ours = find_endpoint(endpoints, wanted) if wanted else None
    for endpoint in endpoints:
        line = {name: endpoint.get(name) for name in ("id", "url", "status", "api_version", "enabled_events")}
        if as_json:
            click.echo(json.dumps({**line, "ours": endpoint is ours}))
        else:
            events = len(endpoint.get("enabled_events") or ())
            mark = "*" if endpoint is ours else " "
            click.echo(
                f"{mark} {line['id']}  {line['status']}  {line['api_version'] or 'default version'}  {events} events  {line['url']}"
            )
    if as_json:
        return
    if wanted is None:
        click.echo("Which of them is this bridge's is told by --url or PUBLIC_URL.")
        return
    _show_plan(plan(endpoints, wanted))


@stripe_endpoint.command()
@click.option("--url", metavar="URL", help=f"Where Stripe is to send; default PUBLIC_URL{PATH}.")
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@click.option("--enable", is_flag=True, help="Enable the endpoint too, where it is disabled.")
@click.option(
    "--secret-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the new signing secret there (a new file, for its owner alone) instead of printing it.",
)
def sync(url: str | None, dry_run: bool, enable: bool, secret_file: Path | None) -> None:
    """Create or update the endpoint for URL, with exactly the wanted events. Other endpoints are never touched."""
    settings = load_settings()
    wanted = _wanted(settings, url, required=True)
    assert wanted is not None
    api = make_api(settings)
    if secret_file is not None and secret_file.exists():
        raise click.BadParameter(f"{secret_file} is there already", param_hint="--secret-file")
    made = plan(list_endpoints(api), wanted, enable=enable)
    _show_plan(made)
    if not made.is_needed:
        return
    if dry_run:
        click.echo("This was a dry run: nothing was changed.")
        return
    done = apply(api, made)
    if made.current is not None:
        click.echo(f"Updated {done.get('id')}. Its signing secret stays what it was.")
        return
    click.echo(f"Created {done.get('id')}.")
    _hand_over(str(done.get("secret") or ""), secret_file, settings)


def _wanted(settings: Settings, url: str | None, *, required: bool) -> Wanted | None:
    url = url or own_url(settings)
    if url is None:
        if required:
            raise ConfigurationError(f"name the endpoint with --url https://…{PATH}, or set PUBLIC_URL")
        return None
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise click.BadParameter("must be a whole URL, https://…", param_hint="--url")
    if parts.path != PATH:
        click.echo(f"Note: the bridge takes Stripe's webhooks at {PATH}; this URL has another path.", err=True)
    return Wanted(url, wanted_events(settings.rules), mark_of(settings))


def _show_plan(made: Plan) -> None:
    name = made.current.get("id") if made.current else "a new endpoint"
    if made.lines:
        click.echo(f"{name}:")
        for line in made.lines:
            click.secho(f"  {line}", fg="green" if line.startswith("+") else "red")
    elif made.current is not None:
        click.echo(f"{name}: nothing to change.")
    for note in made.notes:
        click.echo(f"Note: {note}.")


def _hand_over(secret: str, secret_file: Path | None, settings: Settings) -> None:
    """The one time that Stripe tells the signing secret."""
    if not secret:
        click.echo("Stripe's answer held no signing secret: reveal it in the Dashboard, under Developers, Webhooks.")
        return
    rotating = bool(settings.secrets_of("stripe"))
    where = "add it to STRIPE_WEBHOOK_SECRET, after a comma" if rotating else "set STRIPE_WEBHOOK_SECRET to it"
    if secret_file is not None:
        try:
            descriptor = os.open(secret_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
                opened.write(secret + "\n")
        except OSError as error:
            click.echo(f"{secret_file} could not be written ({error.strerror}), so here it is.", err=True)
        else:
            click.echo(f"Its signing secret is in {secret_file}: {where} for web and workers, and start them anew.")
            return
    click.echo(f"Its signing secret, which is not shown again: {where} for web and workers, and start them anew.")
    click.echo(f"  {secret}")


@click.group()
def backfill() -> None:
    """Fetch what was missed from a source's own list of events."""


@backfill.command("stripe")
@click.option("--since", required=True, help=f"Events from then on: {SINCE_HELP}")
@click.option("--until", help="Events up to then; default now.")
@click.option("--account", help=ACCOUNT_HELP)
@click.option("--restart", is_flag=True, help="Begin at --since, even if an earlier run was interrupted further on.")
@click.option("--json", "as_json", is_flag=True, help="The report as one JSON object.")
def backfill_stripe(since: str, until: str | None, account: str | None, restart: bool, as_json: bool) -> None:
    """Record Stripe's events that are missing here, as if their webhooks had come. Harmless to repeat, and to interrupt."""
    since_s, until_s = _seconds(since, "--since"), _seconds(until, "--until") if until else None
    if until_s is not None and until_s < since_s:
        raise click.BadParameter("lies before --since", param_hint="--until")
    settings = load_settings()
    ledger = make_ledger(settings)
    check_schema(ledger)
    if since_s < time.time() - KEPT_SECONDS:
        click.echo(
            "Stripe keeps events for 30 days: older ones are gone (`bridge reconcile stripe` still sees their purchases).",
            err=True,
        )
    run = Backfill(
        make_api(settings),
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
        click.echo(f"An earlier run was interrupted: going on from {_time(resumed)} (--restart begins anew).", err=True)
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
        try:
            self._nudges.nudge()
        except (RedisError, OSError):
            self._nudges = None
            click.echo("Redis did not answer; the workers find it by themselves.", err=True)


def _watch(run: Backfill) -> None:
    """Progress on standard error: one line that changes on a terminal, else one now and then."""
    on_terminal, told_at = sys.stderr.isatty(), time.monotonic()
    try:
        for done in run.run():
            line = f"up to {_time(done)}: {run.tally.found} found, {run.tally.new} new"
            if on_terminal:
                click.echo(f"\r{line}\033[K", nl=False, err=True)
            elif time.monotonic() - told_at >= PROGRESS_SECONDS:
                told_at = time.monotonic()
                click.echo(line, err=True)
    except KeyboardInterrupt:
        click.echo("\nInterrupted: what is recorded stays, and the same command goes on from here.", err=True)
        sys.exit(130)
    finally:
        if on_terminal:
            click.echo("", err=True)


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
        click.echo(json.dumps({**counts, "failed_events": tally.failed}))
        return
    click.echo(
        f"{tally.found} found: {tally.new} new ({tally.sales} sales, {tally.leads} leads), {tally.duplicate} duplicate,"
        f" {tally.pending} pending, {tally.ignored} ignored, {tally.parked} parked"
    )
    if tally.parked:
        click.echo("What is parked and why: `bridge events --outcome parked`.")
    if tally.failed:
        click.echo(
            f"{len(tally.failed)} could not be recorded: {', '.join(tally.failed[:10])}; the log says why.", err=True
        )


@click.group()
def reconcile() -> None:
    """Compare a source's own books with what was delivered."""


@reconcile.command("stripe")
@click.option("--since", required=True, help=f"Invoices paid, and sessions opened, from then on: {SINCE_HELP}")
@click.option("--account", help=ACCOUNT_HELP)
@click.option("--json", "as_json", is_flag=True, help="All of it as one JSON object.")
def reconcile_stripe(since: str, account: str | None, as_json: bool) -> None:
    """List Stripe's paid invoices and sessions with no delivered Sale, and why. Exit status 1 if there is one."""
    since_s = _seconds(since, "--since")
    settings = load_settings()
    ledger = make_ledger(settings)
    check_schema(ledger)
    destinations = [route.name for route in make_policy(settings).routes]
    source = source_called("stripe", settings.config, settings.config_path)
    comparison = Reconciliation(
        make_api(settings), ledger, source, settings.rules, destinations, account=account
    ).compare(since_s)
    if as_json:
        click.echo(json.dumps({"since": _time(since_s), **comparison.as_json()}))
    else:
        _show_comparison(comparison, since_s)
    sys.exit(1 if comparison.missing else 0)


def _show_comparison(comparison: Comparison, since: int) -> None:
    if comparison.missing:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in ("purchase", "paid", "amount", "state"):
            table.add_column(column, no_wrap=True)
        table.add_column("why", overflow="fold", min_width=20)
        for missing in comparison.missing:
            paid = missing.paid
            table.add_row(
                paid.id,
                _time(int(paid.paid_at.timestamp())),
                paid.amount,
                missing.state.replace("_", " "),
                missing.reason,
            )
        (Console() if sys.stdout.isatty() else Console(width=WIDTH)).print(table)
    invoices, sessions = comparison.paid["invoice"], comparison.paid["session"]
    click.echo(
        f"Paid at Stripe since {_time(since)}: {comparison.paid.total()} purchases ({invoices} invoices, {sessions} sessions"
        f" without one). Delivered: {comparison.delivered}. Missing: {len(comparison.missing)}."
    )
    for note in comparison.notes:
        click.echo(f"Note: {note}.")


def _seconds(text: str, option: str) -> int:
    try:
        return read_since(text) // 1000
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from None


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
