"""doctor: checks everything and names the fix for each problem."""

import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

import click

from app.alerts.channels import channels_of, how_to_turn_on
from app.bootstrap import configuration_problems, free_bytes, make_health, make_nudges, open_ledger, pool_of
from app.cli.doctor_setup import Finding, check_running, check_settings, problems_of_running, sandbox_url
from app.cli.doctor_sources import KINDS, check_sources, of_problem
from app.cli.doctor_sso import check_sso
from app.cli.output import say
from app.config.destinations import SANDBOX
from app.config.settings import Settings, load_settings
from app.config.spelling import unknown_source
from app.destinations.probe import probe, try_out
from app.destinations.target import destinations_of
from app.errors import BridgeError, LedgerUnavailable
from app.ledger.engine import Ledger
from app.ledger.forwarding.breaker import destination_state
from app.ledger.probe import try_write
from app.ledger.reading.summary.stats import workers_alive
from app.ledger.sealing.check import check_decrypts
from app.ledger.upkeep.connections import connection_problem
from app.queue import redis_problem
from app.sources.catalog import all_sources
from app.stripe_api.arrived import arrived
from app.stripe_api.checks import check_arrived, check_stripe
from app.stripe_api.client import make_api
from app.stripe_api.event_types import wanted_events

SKEW_SECONDS = 30
LEAST_FREE_BYTES = 200 * 1024 * 1024


@click.command()
def doctor() -> None:
    """Find problems and name the fix for each.

    Checks configuration, ledger, Redis, workers, destination, clock and Stripe. Exit status 1 if something is wrong.
    """
    wrong, shown = False, set[Finding]()
    for kind, text in examine():
        if (kind, text) in shown:  # one cause fails several checks alike
            continue
        shown.add((kind, text))
        wrong = wrong or kind == "wrong"
        say(_LABELS[kind], colour=_COLOURS[kind], newline=False)
        say(text)
    sys.exit(1 if wrong else 0)


_LABELS = {"ok": "  ok     ", "warn": "  note   ", "wrong": "  WRONG  "}
_COLOURS = {"ok": "green", "warn": "yellow", "wrong": "red"}


def examine() -> Iterator[Finding]:
    """Yields findings. Every check runs, even if others fail."""
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
        _check_forwarding,
        _check_redis,
        _check_destination,
        _check_alerts,
        _check_stripe,
        check_sso,
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
    if ledger.cipher is not None:
        with ledger.raw() as raw:
            yield check_decrypts(raw, ledger.cipher)
    try:
        try_write(ledger)
    except LedgerUnavailable as error:
        yield "wrong", f"the ledger rejects writes, so webhooks get a 503: {error}"
    folder = Path(ledger.engine.url.database or ".").parent
    if ledger.is_sqlite and folder.is_dir() and free_bytes(folder) < LEAST_FREE_BYTES:
        yield (
            "wrong",
            f"the disk of {folder} is nearly full: free up space, or the ledger will stop accepting events",
        )
    if not ledger.is_sqlite and not ledger.is_pooled:
        with ledger.read() as tx:
            problem = connection_problem(tx, pool_of(settings).most)
        if problem is not None:
            yield "warn", problem
    with ledger.read() as tx:
        skew = abs(tx.now() / 1000 - time.time())
        alive = len(workers_alive(tx))
    if skew > SKEW_SECONDS:
        yield "wrong", f"this machine's clock and the database's are {skew:.0f} s apart: set up NTP"
    if alive:
        yield "ok", f"workers alive: {alive}"
    else:
        yield "wrong", "no worker is alive: start `bridge worker` (or `bridge up`)"


def _check_forwarding(settings: Settings) -> Iterator[Finding]:
    """What the dashboard's first page says, in the same words."""
    sources = all_sources(settings.config, settings.config_path)
    with open_ledger(settings).read() as tx:
        problems = make_health(settings).verdict(tx).problems
        yield from check_sources(
            tx, settings, [source for source in sources.values() if settings.opens(source.name)], problems
        )
    for problem in problems:
        if problem.kind in ("no source", "no worker", *KINDS):  # reported above
            continue
        yield of_problem(problem)
    if not any(problem.level != "note" for problem in problems):
        yield "ok", "all caught up: every accepted conversion is delivered or in flight"


def _check_redis(settings: Settings) -> Iterator[Finding]:
    slower = "Nothing is lost: workers poll the ledger, which is slower"
    if settings.redis_url is not None:
        problem = redis_problem(make_nudges(settings))
        yield ("wrong", f"{problem}: check REDIS_URL. {slower}") if problem else ("ok", "Redis accepts nudges")
        return
    running_problems = problems_of_running(settings)
    if running_problems is None:
        yield "ok", "Redis: embedded, run by `bridge up`"
        return
    for problem in running_problems:
        if "Redis" in problem:
            log = settings.bridge_home / "valkey" / "valkey.log"
            yield "wrong", f"{problem.replace('Redis', 'the embedded Valkey', 1)}: see {log}. {slower}"
            return
    yield "ok", "the embedded Valkey accepts nudges"


def _check_destination(settings: Settings) -> Iterator[Finding]:
    open_sources = [name for name in all_sources(settings.config, settings.config_path) if settings.opens(name)]
    paused = _paused(settings)
    for destination in destinations_of(settings):
        if destination.name == SANDBOX:
            destination = replace(destination, url=sandbox_url(settings, destination.url))
        where = f"destination {destination.name} at {destination.url}"
        result = probe(destination)
        if destination.is_shadow:
            yield "ok", f"{where} is in shadow mode: deliveries are recorded, and none is sent"
        if not result.answers:
            yield "warn" if destination.is_shadow else "wrong", f"{where} {result.text}"
            continue
        if destination.name in paused:
            yield "warn", f"{where} answers, and forwarding to it is paused"
        else:
            yield "ok", f"{where} answers"
        if trial := try_out(destination):
            yield trial.level, f"{where} {trial.text}"
        host = urlsplit(destination.url).hostname or ""
        for advice in destination.format.advice(
            host, rate=destination.rate, sources=open_sources, net_of_tax=destination.net_of_tax
        ):
            yield "warn", f"{where}: {advice}"
        try:
            skew = abs(parsedate_to_datetime(result.date or "").timestamp() - time.time())
        except (ValueError, TypeError):
            continue
        if skew > SKEW_SECONDS:
            yield (
                "wrong",
                f"this machine's clock differs from the destination's by {skew:.0f} s: signatures will be refused",
            )


def _paused(settings: Settings) -> set[str]:
    names = [destination.name for destination in destinations_of(settings)]
    with suppress(BridgeError), open_ledger(settings).read() as tx:  # said by the check of the ledger
        return {name for name in names if destination_state(tx, name).paused_at is not None}
    return set()


def _check_alerts(settings: Settings) -> Iterator[Finding]:
    channels = channels_of(settings)
    if not channels:
        text = how_to_turn_on(settings)
        yield "warn", f"alerts are off: {text[:1].lower()}{text[1:]}. Then try it with `bridge alert-test`"
        return
    unknown = sorted(set(settings.alerts.not_sources) - set(all_sources(settings.config, settings.config_path)))
    if unknown:
        known = all_sources(settings.config, settings.config_path)
        yield "wrong", f"{settings.config_path}: alerts.not_sources: {unknown_source(unknown[0], known)}"
    url = settings.alert_url or ""
    if (urlsplit(url).hostname or "").endswith(("discord.com", "discordapp.com")) and not url.endswith("/slack"):
        variable = settings.alerts.url_env
        yield "wrong", f"{variable} is a Discord webhook: append /slack, so that it accepts alerts"
    if settings.public_url is None:
        yield "warn", "alerts carry no links: set PUBLIC_URL"
    for channel in channels:
        yield "ok", f"alerts go to {channel.target}{'' if channel.name == 'webhook' else f' ({channel.name})'}"


def _check_stripe(settings: Settings) -> Iterator[Finding]:
    ledger: Ledger | None = None
    with suppress(BridgeError):  # reported above
        ledger = open_ledger(settings)
    if settings.stripe_api_key is None:
        if ledger is not None and settings.opens("stripe") and not settings.is_generated("stripe"):
            with ledger.read() as tx:
                arrivals = arrived(tx, wanted_events(settings.rules))
            yield from check_arrived(arrivals)
        return
    yield from check_stripe(settings, make_api(settings), ledger)
