"""replay: sending deliveries again, or to a destination that did not get them."""

import sys
from dataclasses import dataclass

import click

from app.bootstrap import make_policy, make_routes, open_ledger
from app.cli.act import nudge
from app.cli.output import say
from app.config.settings import Settings, load_settings
from app.config.spelling import unknown_source
from app.errors import DeliveryNotFound
from app.intake.remap import remap_parked
from app.ledger.actions.replay import REPLAYABLE, ActionResult, replay_all
from app.ledger.actions.replay import replay as replay_one
from app.ledger.actions.send_to import Selection, Target, send_ids, send_selected
from app.ledger.engine import Ledger
from app.sources.catalog import all_sources
from app.times import read_since

DAY_MS = 86_400_000
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
    force: bool
    parked: bool
    to: str | None


@click.command()
@click.option("--id", "ids", type=int, multiple=True, metavar="ID...", help="These deliveries.")
@click.argument("more", nargs=-1, type=int, metavar="")
@click.option("--status", type=click.Choice(REPLAYABLE), help="All of this status.")
@click.option("--to", metavar="DEST", help="Send to this destination what it did not get yet: by --id or --since.")
@click.option("--since", help="With --status or --to: recorded since (2026-04-10, 2026-04-10T12:00:00Z, 24h, 7d).")
@click.option("--until", help="With --to: recorded before.")
@click.option("--kind", type=click.Choice(["sale", "lead"]), help="With --to: this kind alone.")
@click.option("--source", help="With --status or --to: from this source alone.")
@click.option("--force", is_flag=True, help="With --id or --to: send what was delivered once more.")
@click.option("--parked", is_flag=True, help="Reprocess parked events instead, after a change of configuration.")
def replay(
    ids: tuple[int, ...],
    more: tuple[int, ...],
    status: str | None,
    to: str | None,
    since: str | None,
    until: str | None,
    kind: str | None,
    source: str | None,
    force: bool,
    parked: bool,
) -> None:
    """Send deliveries again. What is dead or discarded starts its schedule afresh, what waits is due now."""
    chosen = _Chosen(
        ids + more, status, _moment(since, "--since"), _moment(until, "--until"), kind, source, force, parked, to
    )
    _check(chosen, named=bool(ids))
    settings = load_settings()
    ledger = open_ledger(settings)
    if parked:
        _remap(settings, ledger)
        return
    if chosen.source is not None:
        _check_source(settings, ledger, chosen.source)
    done = _send_to(settings, ledger, chosen, to) if to else _send_again(ledger, chosen)
    made = sum(each.done for each in done)
    _show(done, all_skipped=not chosen.to or bool(chosen.ids))
    if made:
        nudge(settings)
    is_filter = to is not None and not chosen.ids  # what it has already is not a failure: the call may be repeated
    sys.exit(0 if is_filter or made == len(done) else 1)


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
            "name deliveries by --id, or choose them by --status, or map events again with --parked,"
            " or send what another destination did not get with --to"
        )
    if chosen.until or chosen.kind:
        raise click.UsageError("--until and --kind go with --to")
    if (chosen.since is not None or chosen.source) and not chosen.status:
        raise click.UsageError("--since and --source go with --status or --to")
    if chosen.force and not chosen.ids:
        raise click.UsageError("--force goes with --id or --to")


def _check_source(settings: Settings, ledger: Ledger, name: str) -> None:
    """Raises BadParameter where no source of that name is known, here or, from an earlier configuration, in the ledger."""
    known = all_sources(settings.config, settings.config_path)
    if name in known:
        return
    with ledger.read() as tx:
        if tx.run("SELECT 1 FROM events WHERE source = ? LIMIT 1", name).first() is None:
            raise click.BadParameter(unknown_source(name, known), param_hint="--source")


def _moment(text: str | None, option: str) -> int | None:
    try:
        return None if text is None else read_since(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from None


def _send_again(ledger: Ledger, chosen: _Chosen) -> list[ActionResult]:
    if chosen.status:
        return replay_all(ledger, status=chosen.status, source=chosen.source, since=chosen.since, actor="cli")
    done = []
    for one in chosen.ids:
        try:
            done.append(ledger.transact(lambda tx, one=one: replay_one(tx, one, actor="cli", force=chosen.force)))  # type: ignore[misc]
        except DeliveryNotFound:
            done.append(ActionResult(0, False, f"delivery {one} does not exist"))
    return done


def _send_to(settings: Settings, ledger: Ledger, chosen: _Chosen, name: str) -> list[ActionResult]:
    routes = {route.name: route for route in make_routes(settings)}
    if name not in routes:
        raise click.UsageError(f"there is no destination called {name}; there are {', '.join(routes)}")
    days = settings.retention.deliveries_days
    with ledger.read() as tx:
        known_since = 0 if days is None else tx.now() - int(days * DAY_MS)
    target = Target(routes[name], settings.attribution.touch == "first", known_since, chosen.force)
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
    made = len(done) - len(skipped)
    say(f"{made} due now, {len(skipped)} skipped." if done else "Nothing matches.")


def _remap(settings: Settings, ledger: Ledger) -> None:
    counts: dict[str, int] = {}
    for one in remap_parked(ledger, all_sources(settings.config, settings.config_path), make_policy(settings)):
        outcome = one.receipt.outcome if one.receipt else "unreadable"
        reason = one.receipt.reason if one.receipt else one.problem
        counts[outcome] = counts.get(outcome, 0) + 1
        say(f"event {one.event_id}: {outcome}: {reason}")
    say(", ".join(f"{n} {outcome}" for outcome, n in counts.items()) if counts else "No event is parked.")
    if counts:
        nudge(settings)
