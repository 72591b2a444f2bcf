"""stripe-endpoint, backfill and reconcile: the commands that ask Stripe's API."""

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

import click

from app.bootstrap import make_ledger, make_policy
from app.cli.act import nudge
from app.destination import destinations_of
from app.errors import BridgeError
from app.ledger.recording import Receipt
from app.ledger.schema import check_schema
from app.settings import Settings, load_settings
from app.sources.lookup import source_called
from app.stripe.backfill import KEPT_SECONDS, Backfill
from app.stripe.client import make_api
from app.stripe.endpoint import Plan, apply, plan, webhook_url
from app.stripe.reconcile import Comparison, compare
from app.times import read_since

SINCE = "2026-04-10, 2026-04-10T12:00:00Z, 24h or 7d."
PUBLIC = "Where Stripe is to post to; default PUBLIC_URL/webhooks/stripe."


def _seconds(context: click.Context, parameter: click.Parameter, text: str | None) -> int | None:
    try:
        return None if text is None else max(0, read_since(text) // 1000)
    except ValueError as error:
        raise click.BadParameter(str(error), context, parameter) from None


@click.group("stripe-endpoint")
def stripe_endpoint() -> None:
    """The webhook endpoint at Stripe: look at it, or set it up."""


@stripe_endpoint.command()
@click.option("--url", help=PUBLIC)
def show(url: str | None) -> None:
    """How the endpoint is, and what `sync` would change."""
    found = _plan(load_settings(), url)
    if found.endpoint is None:
        click.echo(f"Stripe has no endpoint with the url {found.url}: `bridge stripe-endpoint sync` makes it")
        sys.exit(1)
    click.echo(f"{found.endpoint.id} {found.url}")
    click.echo(f"status: {'enabled' if found.endpoint.is_enabled else 'disabled'}")
    click.echo(f"API version: {found.endpoint.api_version or 'the default of the account'}")
    click.echo(f"events: {', '.join(sorted(found.endpoint.events))}")
    _show_changes(found)


@stripe_endpoint.command()
@click.option("--url", help=PUBLIC)
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
def sync(url: str | None, dry_run: bool) -> None:
    """Make the endpoint, or give it exactly the events wanted. No other endpoint is touched."""
    settings = load_settings()
    found = _plan(settings, url)
    _show_changes(found)
    if found.is_empty or dry_run:
        if not found.is_empty:
            click.echo("Nothing was changed (--dry-run).")
        return
    secret = apply(make_api(settings), found)
    if found.endpoint is not None:
        click.echo(f"Updated {found.endpoint.id}.")
        return
    click.echo(f"Made the endpoint {found.url}.")
    if not secret:
        click.echo("Stripe's answer held no signing secret: copy it from the Dashboard into STRIPE_WEBHOOK_SECRET.")
        return
    click.echo(
        "Its signing secret, which Stripe tells only now; put it where the bridge runs and start the bridge again:"
    )
    before = settings.secrets_of("stripe")
    click.echo(f"STRIPE_WEBHOOK_SECRET={secret}")
    if before:
        click.echo(
            "(STRIPE_WEBHOOK_SECRET is set: append it there with a comma, to keep the other endpoints' secrets.)"
        )


def _plan(settings: Settings, url: str | None) -> Plan:
    text = url or settings.public_url
    if not text:
        raise click.UsageError("name the URL with --url, or set PUBLIC_URL")
    return plan(make_api(settings), webhook_url(text), settings.rules)


def _show_changes(found: Plan) -> None:
    for line in found.lines():
        click.echo(line)
    if found.is_empty:
        click.echo("Nothing to change.")
    for remedy in found.remedies():
        click.echo(f"note: {remedy}")


@click.command()
@click.argument("source", type=click.Choice(["stripe"]))
@click.option("--since", required=True, callback=_seconds, help=SINCE)
@click.option("--until", callback=_seconds, help="Default: now.")
@click.option("--account", help="A connected account (Connect), acct_….")
def backfill(source: str, since: int, until: int | None, account: str | None) -> None:
    """Fetch Stripe's own list of events (30 days) and record what never came. Run again after an interruption, it goes on."""
    if until is not None and until < since:
        raise click.UsageError("--until lies before --since")
    settings = load_settings()
    api, policy = make_api(settings), make_policy(settings)
    ledger = make_ledger(settings)
    check_schema(ledger)
    delivers = False

    def after_commit(receipts: Sequence[Receipt]) -> None:
        nonlocal delivers
        delivers = delivers or any(receipt.delivers for receipt in receipts)

    run = Backfill(
        api,
        ledger,
        source_called(source, settings.config),
        policy,
        since=since,
        until=until,
        account=account,
        after_commit=after_commit,
    )
    if since < datetime.now(UTC).timestamp() - KEPT_SECONDS:
        click.echo("note: Stripe keeps events for 30 days; what is older cannot be fetched", err=True)
    resumed = run.resume()
    if resumed is not None:
        click.echo(f"An earlier run was interrupted: going on from {_time(resumed)}.")
    tally = run.tally
    told = 0
    try:
        for done in run.run():
            if tally.found != told:
                told = tally.found
                click.echo(f"until {_time(done)}: {tally.found} found, {tally.new} new")
    except BridgeError:
        if tally.found:
            click.echo(f"Interrupted after {tally.found} events, which are kept: run it again to go on.", err=True)
        raise
    finally:
        if delivers:
            nudge(settings)
    click.echo(
        f"found {tally.found}: new {tally.new} ({tally.sales} Sales, {tally.leads} Leads), duplicate {tally.duplicate},"
        f" pending {tally.pending}, ignored {tally.ignored}, parked {tally.parked}"
    )
    for event_id in tally.failed:
        click.echo(f"not recorded: {event_id} (see the log)", err=True)
    sys.exit(1 if tally.failed else 0)


@click.command()
@click.argument("source", type=click.Choice(["stripe"]))
@click.option("--since", required=True, callback=_seconds, help=SINCE)
@click.option("--account", help="A connected account (Connect), acct_….")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def reconcile(source: str, since: int, account: str | None, as_json: bool) -> None:
    """List Stripe's paid invoices and checkout sessions that have no delivered Sale, and why. Exit status 1 if there are any."""
    settings = load_settings()
    api = make_api(settings)
    ledger = make_ledger(settings)
    check_schema(ledger)
    names = [destination.name for destination in destinations_of(settings)]
    found = compare(api, ledger, settings.rules, names, since, account)
    if as_json:
        click.echo(json.dumps(found.as_json(), ensure_ascii=False))
    else:
        _show_comparison(found)
    sys.exit(1 if found.missing else 0)


def _show_comparison(found: Comparison) -> None:
    for missing in found.missing:
        paid = missing.paid
        named = f" (delivery {missing.delivery_id})" if missing.delivery_id is not None else ""
        click.echo(
            f"{_time(int(paid.paid_at.timestamp()))} {paid.id} {paid.amount}: {missing.state}{named}: {missing.reason}"
        )
    for note in found.notes:
        click.echo(f"note: {note}")
    click.echo(
        f"{found.paid.total()} paid at Stripe ({found.paid['invoice']} invoices, {found.paid['session']} sessions):"
        f" {found.delivered} delivered, {len(found.missing)} missing."
    )


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
