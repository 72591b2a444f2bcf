"""status and tail: how the bridge is doing, and conversions as they happen."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from app.bootstrap import make_health, make_nudges, open_ledger
from app.cli.options import TIME, moment
from app.cli.output import say, say_json
from app.config.settings import Settings, load_settings
from app.destinations.target import destinations_of
from app.errors import LedgerUnavailable
from app.ledger.engine import Ledger, look
from app.ledger.probe import try_write
from app.ledger.reading.summary.overview import MOST, MOST_OF_A_DAY
from app.ledger.reading.summary.problem import Problem, lasting
from app.ledger.reading.summary.status import summary as summary_of
from app.ledger.reading.tail import Tail
from app.money import amount_text
from app.queue import redis_problem
from app.sources.catalog import all_sources
from app.stack.home import read_running

POLL_SECONDS = 1.0
_COLOURS = {"bad": "red", "warn": "yellow", None: "green"}
_MARKS = {"bad": "WRONG", "warn": "note", "note": "info"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(as_json: bool) -> None:
    """Show how the bridge is doing, on one screen.

    What runs, what came in, what went out, and what is wrong, after a trial write to the ledger and to Redis.

    Exit status 0 whatever it shows; `bridge doctor` checks more and fails.
    """
    settings = load_settings()
    summary = {"running": _running(settings), **_ask(settings)}
    if as_json:
        say_json(summary)
        return
    say(summary["headline"], bold=True, colour=_COLOURS[summary["level"]])
    say("")
    for name, text in _lines(summary):
        say(f"{name:<13} {text}".rstrip())
    problems = [
        problem
        for problem in summary["problems"]
        if problem["text"] != summary["headline"] or problem["remedy"] or problem["money"]
    ]
    if problems:
        say("")
    for problem in problems:
        since = f" Since {_short(problem['since'])}." if problem["since"] else ""
        command = f" On the command line: {problem['command']}." if problem["command"] else ""
        stake = (
            f" At stake: {_money(problem['money'], is_capped=problem['money_is_capped'])}." if problem["money"] else ""
        )
        say(f"{_MARKS[problem['level']]:<13} {problem['text']}{stake}{since} {problem['remedy']}{command}".rstrip())


@click.command()
@click.option("--since", help=f"Begin with conversions received since {TIME}. Default: now.")
@click.option("--limit", type=click.IntRange(1), help="Stop after this many lines. Default: run until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def tail(since: str | None, limit: int | None, as_json: bool) -> None:
    """Print conversions as they happen, one line each.

    When, what, from where, how much, who, and where it goes. Parked events are printed as well.
    """
    start = moment(since, "--since")
    follow = Tail(open_ledger(load_settings()), start)
    left = limit
    try:
        while True:
            for row in follow.read():
                if as_json:
                    say_json(row)
                else:
                    say(_line(row))
                left = None if left is None else left - 1
                if left == 0:
                    return
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:  # how it is meant to end
        return


def _ask(settings: Settings) -> dict[str, Any]:
    sources = all_sources(settings.config, settings.config_path)
    names = [destination.name for destination in destinations_of(settings)]
    ledger = open_ledger(settings)
    health = make_health(settings, list(_outside(settings, ledger)))
    with look(ledger) as tx:
        return summary_of(tx, health, names, sources)


def _outside(settings: Settings, ledger: Ledger) -> Iterator[Problem]:
    """What keeps the bridge from working although the ledger can be read."""
    link = ("/configuration", "Configuration")
    try:
        try_write(ledger)
    except LedgerUnavailable as error:
        text = f"Webhooks get a 503 because the ledger rejects writes: {error}."
        yield Problem("ledger", "", "bad", text, "Check the database, its disk and its permissions.", *link)
    if settings.redis_url is not None and (problem := redis_problem(make_nudges(settings))):
        remedy = "Check REDIS_URL. Nothing is lost: workers poll the ledger, which is slower."
        yield Problem("redis", "", "warn", f"{problem}.", remedy, *link)


def _running(settings: Settings) -> dict[str, Any] | None:
    running = read_running(settings.bridge_home)
    return None if running is None else {"url": running.url, "pid": running.pid, "version": running.version}


def _lines(summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    running, workers = summary["running"], summary["workers_alive"]
    where = f"`bridge up` {running['version']} at {running['url']} (process {running['pid']}), " if running else ""
    yield "Running", f"{where}{workers} {'worker' if workers == 1 else 'workers'} alive"
    day, took = summary["last_day"], summary["delivery_seconds"]["p95"]
    speed = "" if took is None else f"; 95% within {took:.1f} s"
    came_in, delivered, dead = (_capped(day[name], MOST_OF_A_DAY) for name in ("events", "delivered", "dead"))
    yield "Last 24 hours", f"{came_in} events in, {delivered} delivered, {dead} failed{speed}"
    counts = [f"{_capped(count)} {name}" for name, count in summary["deliveries"].items() if count]
    yield "Deliveries", ", ".join(counts) or "none yet"
    if summary["parked_events"]:
        yield "Parked", f"{_capped(summary['parked_events'])} events"
    if summary["oldest_waiting_seconds"] is not None:
        yield (
            "Oldest open",
            f"delivery {summary['oldest_waiting_id']}, {lasting(summary['oldest_waiting_seconds'])} old",
        )
    label = "Destinations"
    for destination in summary["destinations"]:
        yield label, f"{destination['name']}: {_state(destination)}"
        label = ""
    label = "Sources"
    for event in summary["sources"]:
        yield label, f"{event['source']}: last event {_short(event['at'])} ({event['outcome']})"
        label = ""
    if not summary["sources"]:
        yield label, "no event has arrived"


def _money(amounts: Sequence[Mapping[str, Any]], *, is_capped: bool) -> str:
    text = ", ".join(amount_text(amount["amount"], amount["currency"]) for amount in amounts)
    return f"at least {text}" if is_capped else text


def _state(destination: Mapping[str, Any]) -> str:
    state = "healthy" if destination["is_used"] else "not used yet"
    if destination["paused_at"]:
        state = f"paused since {_short(destination['paused_at'])} ({destination['paused_reason']})"
    elif destination["is_open"]:
        state = f"recovering after {destination['failures']} failures in a row"
    if destination["mode"] == "shadow":
        state = "shadow mode, nothing is sent to it"
    return state + (f", {_capped(destination['waiting'])} queued" if destination["waiting"] else "")


def _capped(count: int, most: int = MOST) -> str:
    return f"{count:,}{'+' if count >= most else ''}"


def _short(iso_time: str) -> str:
    return f"{iso_time[:16].replace('T', ' ')} UTC"


def _line(row: Mapping[str, Any]) -> str:
    """One conversion, in columns that stay in place."""
    amount = "" if row["amount"] is None else amount_text(row["amount"], row["currency"])
    who = row["email"] or row["customer_id"] or ""
    where = ", ".join(f"{delivery['destination']} {delivery['status']}" for delivery in row["deliveries"])
    rest = row["reason"] if row["outcome"] == "parked" else f"{row['dedupe_key'] or ''} → {where or 'no destination'}"
    return f"{row['received_at']}  {row['outcome']:<6}  {row['source']:<10}  {amount:>14}  {who:<28}  {rest}"
