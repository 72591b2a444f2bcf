"""doctor: is everything as it should be, and if not, what to do."""

import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

import click

from app.bootstrap import configuration_problems, free_bytes, make_nudges, open_ledger
from app.cli.doctor_setup import Finding, check_running, check_settings, sandbox_url
from app.cli.output import say
from app.config.destinations import SANDBOX
from app.config.settings import Settings, load_settings
from app.config.spelling import unknown_source
from app.destinations.probe import probe, try_out
from app.destinations.target import destinations_of
from app.errors import BridgeError, LedgerUnavailable
from app.ledger.alerting.incidents import alarms
from app.ledger.engine import Ledger
from app.ledger.probe import late, overdue, try_write
from app.ledger.reading.sandbox import live_conversions
from app.ledger.reading.stats import stats
from app.queue import Nudges, connect, redis_problem
from app.sources.catalog import all_sources
from app.stack.valkey import embedded_url
from app.stripe_api.checks import check_stripe
from app.stripe_api.client import make_api

SKEW_SECONDS = 30
LEAST_FREE_BYTES = 200 * 1024 * 1024


@click.command()
def doctor() -> None:
    """Say what is wrong, and what to do about it.

    Checks configuration, ledger, Redis, workers, destination, clock and Stripe. Exit status 1 if something is wrong.
    """
    wrong = False
    for kind, text in examine():
        wrong = wrong or kind == "wrong"
        say(_LABELS[kind], colour=_COLOURS[kind], newline=False)
        say(text)
    sys.exit(1 if wrong else 0)


_LABELS = {"ok": "  ok     ", "warn": "  note   ", "wrong": "  WRONG  "}
_COLOURS = {"ok": "green", "warn": "yellow", "wrong": "red"}


def examine() -> Iterator[Finding]:
    """One finding after another; each check is made even if others fail."""
    try:
        settings = load_settings()
        sources = all_sources(settings.config, settings.config_path)
        _ = settings.rules, settings.retention, settings.destination_tables, settings.alerts
    except BridgeError as error:
        yield "wrong", f"configuration: {error}"
        return
    yield from check_settings(settings, sources)
    for check in (
        check_running,
        _check_ledger,
        _check_sandbox,
        _check_redis,
        _check_destination,
        _check_alerts,
        _check_stripe,
    ):
        try:
            yield from check(settings)
        except BridgeError as error:
            if not any(str(error) == problem for problem in configuration_problems(settings)):  # said above
                yield "wrong", str(error)


def _check_ledger(settings: Settings) -> Iterator[Finding]:
    ledger = open_ledger(settings)
    kind = "SQLite" if ledger.is_sqlite else "PostgreSQL"
    yield "ok", f"ledger: {kind}{' behind a pooler such as PgBouncer' if ledger.is_pooled else ''}, schema current"
    try:
        try_write(ledger)
    except LedgerUnavailable as error:
        yield "wrong", f"the ledger takes no writes, so webhooks are answered 503: {error}"
    folder = Path(ledger.engine.url.database or ".").parent
    if ledger.is_sqlite and folder.is_dir() and free_bytes(folder) < LEAST_FREE_BYTES:
        yield (
            "wrong",
            f"the disk of {folder} is nearly full: make room before the ledger cannot take events",
        )
    names = [destination.name for destination in destinations_of(settings)]
    with ledger.read() as tx:
        now = tx.now()
        skew = abs(now / 1000 - time.time())
        found = stats(tx)
        behind = overdue(tx, names, hold_seconds=settings.hold_seconds, now=now)
    if skew > SKEW_SECONDS:
        yield "wrong", f"this machine's clock and the database's are {skew:.0f} s apart: set up NTP"
    if found["workers_alive"]:
        yield "ok", f"workers alive: {found['workers_alive']}"
    else:
        yield "wrong", "no worker is alive: start `bridge worker` (or `bridge up`)"
    for name, seconds in behind:
        yield "wrong", f"deliveries to {name} are {late(seconds)} late: see the worker's log, and Redis below"
    dead = found["deliveries"]["dead"]
    if dead:
        what = "1 delivery" if dead == 1 else f"{dead} deliveries"
        yield (
            "wrong",
            f"{what} failed permanently: see why with `bridge deliveries --status dead`, then `bridge replay --status dead`",
        )
    configured = [d.name for d in destinations_of(settings)]
    for destination in found["destinations"]:
        if destination["paused_at"] and destination["name"] in configured:
            yield "wrong", f"forwarding to {destination['name']} is paused: {destination['paused_reason']}"
    stranded = _stranded(ledger, configured)
    if stranded:
        what = "1 open delivery is" if stranded == 1 else f"{stranded} open deliveries are"
        yield "warn", f"{what} for a destination that is not configured now, and will not be sent"


def _check_sandbox(settings: Settings) -> Iterator[Finding]:
    """Real conversions that went to the bridge's own sandbox, since no destination was set."""
    with open_ledger(settings).read() as tx:
        count, first = live_conversions(tx)
    if count and first is not None:
        since = datetime.fromtimestamp(first // 1000, UTC)
        ahead = "set DESTINATION_URL and DESTINATION_TOKEN, then " if settings.is_sandbox else ""
        name = "main" if settings.is_sandbox else next(one.name for one in destinations_of(settings))
        yield (
            "wrong",
            f"{count} conversions of live Stripe events went to the bridge's own sandbox and nowhere else:"
            f" {ahead}send them with `bridge replay --to {name} --since {since:%Y-%m-%dT%H:%M:%SZ}`",
        )


def _stranded(ledger: Ledger, names: list[str]) -> int:
    with ledger.read() as tx:
        rows = tx.run(
            "SELECT destination, COUNT(*) FROM deliveries WHERE due_at IS NOT NULL GROUP BY destination"
        ).all()
    return sum(count for name, count in rows if name not in names)


def _check_redis(settings: Settings) -> Iterator[Finding]:
    where, nudges = "Redis", None
    if settings.redis_url is not None:
        nudges = make_nudges(settings)
    elif (found := embedded_url(settings.bridge_home)) is not None:
        where, nudges = "the embedded Valkey", Nudges(connect(found))
    if nudges is None:
        yield "ok", "Redis: embedded, run by `bridge up`"
        return
    problem = redis_problem(nudges)
    if problem is None:
        yield "ok", f"{where} takes nudges"
        return
    problem = problem.replace("Redis", where, 1)
    remedy = "check REDIS_URL" if settings.redis_url else f"see {settings.bridge_home / 'valkey' / 'valkey.log'}"
    yield "wrong", f"{problem}: {remedy}. Nothing is lost; workers look for themselves, which is slower"


def _check_destination(settings: Settings) -> Iterator[Finding]:
    open_sources = [name for name in all_sources(settings.config, settings.config_path) if settings.opens(name)]
    paused = _paused(settings)
    for destination in destinations_of(settings):
        if destination.name == SANDBOX:
            destination = replace(destination, url=sandbox_url(settings, destination.url))
        where = f"destination {destination.name} at {destination.url}"
        found = probe(destination)
        if not found.answers:
            yield "wrong", f"{where} {found.text}"
            continue
        if destination.name in paused:
            yield "warn", f"{where} answers, and forwarding to it is paused"
        else:
            yield "ok", f"{where} answers"
        if trial := try_out(destination):
            yield trial.level, f"{where} {trial.text}"
        host = urlsplit(destination.url).hostname or ""
        for advice in destination.format.advice(host, rate=destination.rate, sources=open_sources):
            yield "warn", f"{where}: {advice}"
        try:
            skew = abs(parsedate_to_datetime(found.date or "").timestamp() - time.time())
        except (ValueError, TypeError):
            continue
        if skew > SKEW_SECONDS:
            yield (
                "wrong",
                f"this machine's clock differs from the destination's by {skew:.0f} s: signatures will be refused",
            )


def _paused(settings: Settings) -> set[str]:
    with suppress(BridgeError), open_ledger(settings).read() as tx:  # said by the check of the ledger
        return {str(one["name"]) for one in stats(tx)["destinations"] if one["paused_at"]}
    return set()


def _check_alerts(settings: Settings) -> Iterator[Finding]:
    url, variable = settings.alert_url, settings.alerts.url_env
    if url is None:
        yield (
            "warn",
            f"alerts are off: set {variable} (a webhook of Slack, Mattermost or Discord), then try it with `bridge alert-test`",
        )
        return
    unknown = sorted(set(settings.alerts.not_sources) - set(all_sources(settings.config, settings.config_path)))
    if unknown:
        known = all_sources(settings.config, settings.config_path)
        yield "wrong", f"{settings.config_path}: alerts.not_sources: {unknown_source(unknown[0], known)}"
    host = urlsplit(url).hostname or ""
    if host.endswith(("discord.com", "discordapp.com")) and not url.endswith("/slack"):
        yield "wrong", f"{variable} is a webhook of Discord's: put /slack at its end, so that it takes alerts"
    if settings.public_url is None:
        yield "warn", "alerts carry no links: set PUBLIC_URL"
    ledger = open_ledger(settings)
    with ledger.read() as tx:
        unsent = [one for one in alarms(tx) if one.problem]
    if unsent:
        yield "wrong", f"{len(unsent)} alerts could not be sent: {unsent[0].problem}; try `bridge alert-test`"
    else:
        yield "ok", f"alerts go to {host}"


def _check_stripe(settings: Settings) -> Iterator[Finding]:
    if settings.stripe_api_key is None:
        return
    ledger: Ledger | None = None
    with suppress(BridgeError):  # told above
        ledger = open_ledger(settings)
    yield from check_stripe(settings, make_api(settings), ledger)
