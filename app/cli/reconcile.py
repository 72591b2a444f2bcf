"""reconcile: compares Stripe's payments with our Sales, and our Sales with what destinations hold."""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import click

from app.bootstrap import make_policy, open_ledger
from app.cli.act import nudge
from app.cli.options import TIME, unknown_destination
from app.cli.output import say, say_json
from app.cli.stripe_reports import ACCOUNT_HELP, start_of, time_text
from app.cli.table import print_table
from app.config.settings import Settings, load_settings
from app.destinations.target import Destination, destinations_of
from app.intake.remap import NO_LIMIT, reprocess_parked
from app.ledger.actions.replay import ActionResult, replay
from app.ledger.actions.send_to import Target, send_conversions
from app.ledger.engine import Ledger
from app.ledger.parked.reading import ParkedSelection
from app.ledger.recording.arrival import Policy
from app.sources.base import Source
from app.sources.catalog import all_sources, source_called
from app.stripe_api.backfill import Backfill
from app.stripe_api.both_ends import End, compare_ends, send_missing
from app.stripe_api.client import KEPT_SECONDS, make_api
from app.stripe_api.reconcile import Comparison, Reconciliation

PAYMENTS = (("intent", "payment intent"), ("charge", "charge"))
FETCHED_STATES = ("never_received", "unpaid")


@click.command()
@click.argument("source", type=click.Choice(["stripe"]), required=False)
@click.option("--since", required=True, help=f"Check purchases paid since {TIME}.")
@click.option(
    "--destination", metavar="NAME", help="Ask only this destination. Default: every destination with an API for it."
)
@click.option("--send", is_flag=True, help="Send what is missing: fetch events, reprocess parked ones, and replay.")
@click.option("--account", metavar="ID", help=ACCOUNT_HELP)
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON object.")
def reconcile(
    source: str | None, since: str, destination: str | None, send: bool, account: str | None, as_json: bool
) -> None:
    """Compare payments, Sales and destinations.

    Compares Stripe's payments with our Sales, and our Sales with what destinations hold. Exit status 1 if anything is missing.

    Without SOURCE, Stripe is included if STRIPE_API_KEY is set.
    """
    since_s = start_of(since)
    settings = load_settings()
    ledger = open_ledger(settings)
    with_stripe = source is not None or settings.stripe_api_key is not None
    asked = _asked(settings, destination, with_stripe=with_stripe)
    if not with_stripe and not asked:
        raise click.UsageError(
            "there are no books to compare: set STRIPE_API_KEY, or configure a destination that has an API to ask (dub)"
        )
    books = _Books(settings, ledger, make_policy(settings), since_s, account, destination)
    comparison, ends = books.compare(asked, with_stripe=with_stripe)
    done = books.send(comparison, ends) if send else []
    if as_json:
        compared = comparison.as_json() if comparison else {}
        sent = [
            {"delivery_id": result.delivery_id or None, "done": result.done, "message": result.message}
            for result in done
        ]
        say_json(
            {"since": time_text(since_s), **compared, "destinations": [end.as_json() for end in ends], "sent": sent}
        )
    else:
        _show(comparison, ends, since_s, done, send=send)
    count = sum(len(end.missing) for end in ends) + (len(comparison.missing) if comparison else 0)
    failed = any(end.problem for end in ends) or (not all(result.done for result in done) if send else count > 0)
    sys.exit(1 if failed else 0)


def _asked(settings: Settings, name: str | None, *, with_stripe: bool) -> list[Destination]:
    """The destinations to ask. Raises UsageError where one is named that cannot be, and nobody else is asked."""
    known = {destination.name: destination for destination in destinations_of(settings)}
    if name is None:
        return [destination for destination in known.values() if destination.format.books is not None]
    if name not in known:
        raise click.BadParameter(unknown_destination(name, list(known)), param_hint="--destination")
    if known[name].format.books is None and with_stripe:
        return []
    if known[name].format.books is None:
        raise click.UsageError(f"{name} has no API that says what it holds (format {known[name].format.name})")
    return [known[name]]


@dataclass(frozen=True, slots=True)
class _Books:
    """One comparison. only: the destination whose deliveries count, and to send to; None for all."""

    settings: Settings
    ledger: Ledger
    policy: Policy
    since: int
    account: str | None
    only: str | None

    def compare(self, asked: Sequence[Destination], *, with_stripe: bool) -> tuple[Comparison | None, list[End]]:
        comparison, settings, routes = None, self.settings, self.policy.routes
        if with_stripe:
            source = source_called("stripe", settings.config, settings.config_path)
            names = [self.only] if self.only else [route.name for route in routes]
            api = make_api(settings)
            books = Reconciliation(api, self.ledger, source, settings.rules, names, account=self.account)
            comparison = books.compare(self.since)
        return comparison, compare_ends(
            self.ledger, asked, routes, self.since, comparison.sales if comparison else None
        )

    def send(self, comparison: Comparison | None, ends: Sequence[End]) -> list[ActionResult]:
        """Sends what is missing, by the same use cases as backfill and replay."""
        done: list[ActionResult] = []
        sources = all_sources(self.settings.config, self.settings.config_path)
        states = {missing.state for missing in comparison.missing} if comparison else set()
        if states & set(FETCHED_STATES):
            done.append(self._fetch(sources["stripe"]))
        if "parked" in states:
            done.append(self._reprocess(sources))
        targets = {route.name: Target(route) for route in self.policy.routes}
        for end in ends:
            done += send_missing(self.ledger, end, targets.pop(end.name), actor="cli")
        elsewhere = (
            [lacking.conversion_id for lacking in comparison.missing if lacking.conversion_id] if comparison else []
        )
        for name, target in targets.items():  # they have no API to ask: our own deliveries say what they lack
            if self.only in (None, name):
                send = partial(send_conversions, conversion_ids=sorted(elsewhere), target=target, actor="cli")
                done += self.ledger.transact(send)
        shown = {result.delivery_id for result in done}
        for missing in comparison.missing if comparison else ():
            if missing.state == "dead" and missing.delivery_id is not None and missing.delivery_id not in shown:
                done.append(self.ledger.transact(partial(replay, delivery_id=missing.delivery_id, actor="cli")))
            elif missing.state in ("ignored", "discarded"):
                done.append(
                    ActionResult(
                        missing.delivery_id or 0, False, f"{missing.paid.id} is {missing.state}: left as it is"
                    )
                )
        if any(result.done for result in done):
            nudge(self.settings)
        return done

    def _fetch(self, stripe: Source) -> ActionResult:
        """Records those of Stripe's events that it still keeps."""
        begin = max(self.since, int(time.time() - KEPT_SECONDS))
        api = make_api(self.settings)
        run = Backfill(api, self.ledger, stripe, self.policy, since=begin, account=self.account)
        for _ in run.run():
            pass
        return ActionResult(0, not run.tally.failed, f"Stripe's events: {run.tally.found} found, {run.tally.new} new")

    def _reprocess(self, sources: Mapping[str, Source]) -> ActionResult:
        """Maps Stripe's parked events again. Those of other sources are not what was compared."""
        selection = ParkedSelection(source="stripe")
        reprocessed = reprocess_parked(self.ledger, sources, self.policy, selection, actor="cli", seconds=NO_LIMIT)
        left = sum(reprocessed.outcomes.get(outcome, 0) for outcome in ("parked", "unreadable"))
        done = sum(reprocessed.outcomes.values()) - left
        return ActionResult(0, not left, f"Stripe's parked events: {done} reprocessed, {left} stay parked")


def _show(
    comparison: Comparison | None, ends: Sequence[End], since: int, done: Sequence[ActionResult], *, send: bool
) -> None:
    if comparison is not None:
        _show_comparison(comparison, since)
    for end in ends:
        _show_end(end, comparison)
    for result in done:
        say(f"delivery {result.delivery_id}: {result.message}" if result.delivery_id else result.message)
    is_missing = bool(comparison and comparison.missing) or any(end.missing for end in ends)
    if is_missing and not send:
        say("--send sends what is missing.")


def _show_comparison(comparison: Comparison, since: int) -> None:
    if comparison.missing:
        print_table(
            ("purchase", "paid", "amount", "state", "why"),
            (
                (
                    missing.paid.id,
                    time_text(int(missing.paid.paid_at.timestamp())),
                    missing.paid.amount,
                    missing.state.replace("_", " "),
                    missing.reason,
                )
                for missing in comparison.missing
            ),
        )
    paid = comparison.paid
    kinds = [_count(paid["invoice"], "invoice"), f"{_count(paid['session'], 'session')} without one"]
    kinds += [_count(paid[kind], name) for kind, name in PAYMENTS if paid[kind]]
    settled = f" Unattributed: {comparison.unattributed}." if comparison.unattributed else ""
    settled += f" Refunded before they were sent: {comparison.refunded}." if comparison.refunded else ""
    say(
        f"Paid at Stripe since {time_text(since)}: {_count(paid.total(), 'purchase')} ({', '.join(kinds)})."
        f" Delivered: {comparison.delivered}.{settled} Missing: {len(comparison.missing)}."
    )
    for note in comparison.notes:
        say(f"Note: {note}.")


def _show_end(end: End, comparison: Comparison | None) -> None:
    ours = f"{comparison.paid.total():,} paid at Stripe" if comparison else f"{_count(end.sales, 'Sale')} here"
    if end.problem:
        say(f"{end.name} was not compared: {end.title} {end.problem}.")
        return
    if end.missing:
        print_table(
            ("purchase", "amount", "delivery", "state", "why"),
            (
                (
                    lost.sale.invoice_id,
                    lost.sale.money.text,
                    str(lost.delivery_id or ""),
                    lost.state,
                    lost.reason,
                )
                for lost in end.missing
            ),
        )
    rest = f", {end.unattributed:,} unattributed" if end.unattributed else ""
    rest += f". Missing at {end.title}: {len(end.missing):,}" if end.missing else ""
    say(f"{ours}, {end.held:,} at {end.title}{'' if end.name == 'main' else f' ({end.name})'}{rest}.")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
