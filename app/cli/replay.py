"""replay: sending deliveries again, or to a destination that did not get them."""

import sys
from dataclasses import dataclass
from functools import partial

import click

from app.bootstrap import make_policy, make_routes, open_ledger
from app.cli.act import nudge
from app.cli.options import TIME, check_destination, check_source, span, unknown_destination
from app.cli.output import say
from app.config.settings import Settings, load_settings
from app.errors import DeliveryNotFound
from app.intake.remap import NO_LIMIT, Remapped, reprocess_parked
from app.ledger.actions import bulk
from app.ledger.actions.replay import REPLAYABLE, ActionResult
from app.ledger.actions.replay import replay as replay_one
from app.ledger.actions.resend import Window, preview, until_now
from app.ledger.actions.resend import run as resend_window
from app.ledger.actions.send_to import Selection, Target, known_since, send_ids, send_selected
from app.ledger.engine import Ledger, look
from app.ledger.parked.reading import ParkedSelection
from app.ledger.reading.filters import Filter
from app.model import DELIVERY_KINDS
from app.sources.catalog import all_sources

MOST_LINES = 20
"""Of what was skipped, where many were chosen by a filter."""


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The options of one call."""

    ids: tuple[int, ...]
    status: str | None
    since: int | None
    until: int | None
    kind: str | None
    source: str | None
    destination: str | None
    force: bool
    parked: bool
    to: str | None


@click.command()
@click.option("--id", "ids", type=int, multiple=True, metavar="ID...", help="Replay these deliveries.")
@click.argument("more", nargs=-1, type=int, metavar="")
@click.option(
    "--status",
    type=click.Choice((*REPLAYABLE, "delivered")),
    help="Replay every delivery with this status. Delivered ones need --since and --force.",
)
@click.option("--to", metavar="DEST", help="Send this destination the conversions it did not get, by --id or --since.")
@click.option(
    "--since", help=f"With --status or --to: recorded since {TIME}; delivered since, with --status delivered."
)
@click.option("--until", help="With --status or --to: recorded before.")
@click.option("--kind", type=click.Choice(DELIVERY_KINDS), help="With --status or --to: only this kind.")
@click.option("--source", metavar="NAME", help="With --status, --to or --parked: only from this source.")
@click.option("--destination", metavar="NAME", help="With --status: only to this destination.")
@click.option("--force", is_flag=True, help="With --id, --to or --status delivered: send delivered ones again.")
@click.option("--parked", is_flag=True, help="Reprocess parked events after a configuration change.")
def replay(
    ids: tuple[int, ...],
    more: tuple[int, ...],
    status: str | None,
    to: str | None,
    since: str | None,
    until: str | None,
    kind: str | None,
    source: str | None,
    destination: str | None,
    force: bool,
    parked: bool,
) -> None:
    """Send deliveries again. Dead, discarded and unattributed ones start a fresh schedule; open ones are due now."""
    chosen = _Chosen(ids + more, status, *span(since, until), kind, source, destination, force, parked, to)
    _check(chosen, named=bool(ids))
    settings = load_settings()
    ledger = open_ledger(settings)
    check_source(settings, ledger, chosen.source)
    if parked:
        _remap(settings, ledger, chosen.source)
        return
    check_destination(settings, ledger, chosen.destination)
    if chosen.status == "delivered":
        _resend(settings, ledger, chosen)
        return
    if chosen.status is not None:
        _replay_status(settings, ledger, chosen, chosen.status)
        return
    done = _send_to(settings, ledger, chosen, to) if to else _send_again(ledger, chosen)
    due_now = sum(each.done for each in done)
    _show(done, all_skipped=not chosen.to or bool(chosen.ids))
    if due_now:
        nudge(settings)
    is_filter = to is not None and not chosen.ids  # what it has already is not a failure: the call may be repeated
    sys.exit(0 if is_filter or due_now == len(done) else 1)


def _check(chosen: _Chosen, *, named: bool) -> None:
    """Raises UsageError where options do not fit together."""
    if chosen.ids and not named:
        raise click.UsageError("name deliveries by --id")
    if chosen.to:
        if chosen.status or chosen.parked or bool(chosen.ids) == (chosen.since is not None):
            raise click.UsageError("--to takes either --id or --since")
        if chosen.ids and (chosen.until or chosen.kind or chosen.source):
            raise click.UsageError("--until, --kind and --source go with --since")
        return
    if bool(chosen.ids) + bool(chosen.status) + chosen.parked != 1:
        raise click.UsageError(
            "choose deliveries with --id or --status, reprocess events with --parked, or send a destination what it did not"
            " get with --to"
        )
    of_parked = chosen.source if not chosen.parked else None  # which --source narrows as well
    if not chosen.status and any(value is not None for value in (chosen.since, chosen.until, chosen.kind, of_parked)):
        raise click.UsageError("--since, --until, --kind and --source go with --status or --to")
    if chosen.destination and not chosen.status:
        raise click.UsageError("--destination goes with --status; --to names where to send")
    if chosen.status == "delivered":
        if not chosen.force or chosen.since is None:
            raise click.UsageError("--status delivered sends them a second time: it needs --since and --force")
    elif chosen.force and not chosen.ids:
        raise click.UsageError("--force goes with --id, --to or --status delivered")


def _replay_status(settings: Settings, ledger: Ledger, chosen: _Chosen, status: str) -> None:
    criteria = Filter((status,), chosen.source, chosen.kind, chosen.destination, since=chosen.since, until=chosen.until)
    sources = all_sources(settings.config, settings.config_path)
    job = bulk.run(ledger, bulk.Job("replay", criteria), sources, actor="cli")
    if job.done:
        nudge(settings)
    if not job.done and not job.skipped:
        say("Nothing matches.")
        return
    why = " These are being sent, or their person was forgotten." if job.skipped else ""
    say(f"{job.done} due now, {job.skipped} skipped.{why}")
    sys.exit(1 if job.skipped else 0)


def _resend(settings: Settings, ledger: Ledger, chosen: _Chosen) -> None:
    """Sends again what was delivered in the window, after saying what that is."""
    assert chosen.since is not None
    sources = all_sources(settings.config, settings.config_path)
    with look(ledger) as tx:
        window = Window(chosen.since, chosen.until, chosen.destination, chosen.kind, chosen.source)
        window = until_now(tx, window)
        window_preview = preview(tx, window, sources)
    of = ", ".join(f"{count} {kind}" for kind, count in window_preview.summed["kinds"].items())
    money = f"; Sales of {window_preview.stake.text}" if window_preview.stake else ""
    say(f"{window_preview.count}{'' if window_preview.is_all else ' or more'} delivered: {of or 'none'}{money}.")
    progress = resend_window(ledger, window, sources, actor="cli")
    if progress.done:
        nudge(settings)
    say(f"{progress.done} due now, {progress.skipped} skipped.")
    sys.exit(1 if progress.skipped else 0)


def _send_again(ledger: Ledger, chosen: _Chosen) -> list[ActionResult]:
    done = []
    for delivery_id in chosen.ids:
        try:
            done.append(ledger.transact(partial(replay_one, delivery_id=delivery_id, actor="cli", force=chosen.force)))
        except DeliveryNotFound:
            done.append(ActionResult(0, False, f"delivery {delivery_id} does not exist"))
    return done


def _send_to(settings: Settings, ledger: Ledger, chosen: _Chosen, name: str) -> list[ActionResult]:
    routes = {route.name: route for route in make_routes(settings)}
    if name not in routes:
        raise click.BadParameter(unknown_destination(name, list(routes)), param_hint="--to")
    if routes[name].is_shadow:
        raise click.UsageError(f'{name} is in shadow mode. Set mode = "live" and run `bridge reload` first.')
    days = settings.retention.deliveries_days
    with ledger.read() as tx:
        target = Target(routes[name], known_since(days, tx.now()), chosen.force)
    if chosen.ids:
        return ledger.transact(lambda tx: send_ids(tx, chosen.ids, target, actor="cli"))
    assert chosen.since is not None
    selection = Selection(chosen.since, chosen.until, chosen.kind, chosen.source)
    return send_selected(ledger, selection, target, actor="cli")


def _show(done: list[ActionResult], *, all_skipped: bool) -> None:
    skipped = [each for each in done if not each.done]
    shown = skipped if all_skipped else skipped[:MOST_LINES]
    for each in [each for each in done if each.done] + shown:
        message = each.message.replace("use force", "use --force")
        say(f"delivery {each.delivery_id}: {message}" if each.delivery_id else message)
    if len(shown) < len(skipped):
        say(f"… and {len(skipped) - len(shown)} more that were skipped")
    due_now = len(done) - len(skipped)
    say(f"{due_now} due now, {len(skipped)} skipped." if done else "Nothing matches.")


def _remap(settings: Settings, ledger: Ledger, source: str | None) -> None:
    def show(remapped: Remapped) -> None:
        say(f"event {remapped.event_id}: {remapped.outcome}: {remapped.reason}")

    sources, selection = all_sources(settings.config, settings.config_path), ParkedSelection(source=source)
    policy = make_policy(settings)
    done = reprocess_parked(ledger, sources, policy, selection, actor="cli", seconds=NO_LIMIT, show=show)
    say("No event is parked." if done.is_empty else done.counts())
    if not done.is_empty:
        nudge(settings)
