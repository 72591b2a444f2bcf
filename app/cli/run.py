"""up, web, worker and db: the commands that run things."""

import os
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import click

from app.bootstrap import check_configuration, check_has_destination, check_ledger, existing_ledger, start_ledger
from app.cli.output import say
from app.config.env_file import override
from app.config.generated_secrets import SANDBOX_SOURCES, make_home, make_up_secrets
from app.config.settings import Settings, load_settings, variable_of
from app.config.spelling import unknown_variables
from app.destinations.target import destinations_of, stop_seconds_of
from app.errors import ConfigurationError
from app.ledger.schema import HEAD, check_schema, current_revision, is_newer, upgrade
from app.ledger.upkeep.downgrade import downgrade
from app.logs import configure_logs, log_start
from app.reloading.comparison import compared_values
from app.sources.base import Source
from app.sources.catalog import all_sources
from app.stack.home import as_json, describe_run, end_leftovers, keep_private, lock_home
from app.stack.listening import address_of, why_not_listen
from app.stack.processes import PARENT_VARIABLE, STOP_MARGIN_SECONDS
from app.stack.processes import become as become_module
from app.stack.run import Plan, become
from app.stack.valkey import valkey_binary


@click.command()
@click.option("--host", help="Address to listen on. Default: HOST, else 127.0.0.1.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on. Default: PORT, else 8000.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Number of worker processes.")
def up(host: str | None, port: int | None, workers: int) -> None:
    """Run web, workers and an embedded Valkey.

    Runs in the foreground until Ctrl-C. If REDIS_URL is set, that Redis is used instead of the embedded Valkey.
    """
    if host:
        override(os.environ, "HOST", host)
    if port:
        override(os.environ, "PORT", str(port))
    settings = load_settings()
    configure_logs(settings.log_level, settings.log_format)
    home = settings.bridge_home
    password_given = settings.dashboard_password is not None and "DASHBOARD_PASSWORD" in os.environ
    make_home(home)
    lock = lock_home(home)
    try:
        plan = _prepare(home, workers, lock, password_given=password_given)
        log_start("up")
        become(plan)
    finally:  # it did not: where this process lives on, another may start
        if lock is not None:
            os.close(lock)


def _prepare(home: Path, workers: int, lock: int | None, *, password_given: bool) -> Plan:
    """Makes everything ready, and says what is to run. Raises BridgeError."""
    keep_private(home)
    make_up_secrets(home)
    settings = load_settings()
    stop_seconds = stop_seconds_of(settings)
    replaced = end_leftovers(home, stop_seconds + STOP_MARGIN_SECONDS)
    check_configuration(settings)
    if settings.is_sandbox:
        override(os.environ, "SANDBOX", "1")  # for the web and the workers, which refuse without it
    if problem := why_not_listen(settings.host, settings.port):
        raise ConfigurationError(problem)
    ledger = start_ledger(settings)
    upgrade(ledger)
    check_ledger(ledger)
    ledger.close()
    return Plan(
        home=str(home),
        log_level=settings.log_level,
        log_format=settings.log_format,
        host=settings.own_host,
        port=settings.port,
        workers=workers,
        stop_seconds=stop_seconds,
        valkey=valkey_binary() if settings.redis_url is None else None,
        greeting=_greeting(settings, replaced=replaced, password_given=password_given),
        running=as_json(
            describe_run(
                settings.own_url,
                version("conversion-bridge"),
                compared_values(settings),
                is_sandbox=settings.is_sandbox,
                stop_seconds=stop_seconds,
            )
        ),
        lock=lock,
        ledger=str(Path(ledger.engine.url.database).resolve())
        if ledger.is_sqlite and ledger.engine.url.database
        else None,
    )


def _greeting(settings: Settings, *, replaced: int, password_given: bool) -> list[str]:
    """What people are shown once everything runs, line by line."""
    assert settings.dashboard_password is not None
    password = "(DASHBOARD_PASSWORD)" if password_given else settings.dashboard_password.get_secret_value()
    targets = [destination.url for destination in destinations_of(settings)]
    sources = all_sources(settings.config, settings.config_path)
    title = "Conversion Bridge is up."
    lines = []
    if replaced:
        processes = "a process" if replaced == 1 else f"{replaced} processes"
        lines.append(f"Replaced {processes} that an earlier run had left behind.")
    lines += ["", click.style(title, bold=True) if sys.stdout.isatty() else title]
    lines += _aligned("Dashboard", [f"{settings.own_url}/"])
    lines += _aligned("Password", [password])
    lines += _aligned("Receives", _receives(settings, sources))
    lines += _aligned(
        "Forwards to", ["its own sandbox (no DESTINATION_URL is set)"] if settings.is_sandbox else targets
    )
    lines += _aligned("State", [str(settings.bridge_home.resolve())])
    lines += _aligned(
        "Note", [str(warning) for warning in unknown_variables(settings, sources, os.environ) if warning.is_missed]
    )
    lines += ["", "Try it in a second terminal, in this folder:"]
    if settings.is_sandbox:
        lines += [f"  {_command()} send {source.lower()}" for source in SANDBOX_SOURCES]
    else:
        lines.append(f"  {_command()} doctor")
    return [*lines, "", "Ctrl-C stops everything."]


def _aligned(name: str, values: list[str]) -> list[str]:
    return [f"  {name if number == 0 else '':<11}  {value}" for number, value in enumerate(values)]


def _receives(settings: Settings, sources: Mapping[str, Source]) -> list[str]:
    """Where each configured source posts to. A URL that holds a token is shown without it."""
    configured = [source for source in sources.values() if settings.opens(source.name)]
    if not configured:
        return ["nothing yet: set STRIPE_WEBHOOK_SECRET, or the secret of another source (docs/sources.md)"]
    width = max(len(source.name) for source in configured)
    base = settings.public_url or settings.own_url
    return [
        f"{source.name:<{width}}  {base}/webhooks/{source.name}"
        + (f"/<{variable_of(source.name)}_PATH_TOKEN>" if settings.path_tokens_of(source.name) else "")
        for source in configured
    ]


def _command() -> str:
    """How this command was called, so that it can be copied."""
    name = sys.argv[0]
    if name.endswith(".py"):
        return "python -m app"
    try:
        return str(Path(name).absolute().relative_to(Path.cwd()))
    except ValueError:
        return "bridge"


@click.command()
@click.option(
    "--share-port",
    is_flag=True,
    help="Share the port with another `bridge web`, to restart without downtime: start the new one first.",
)
def web(share_port: bool) -> None:
    """Run only the web server, for a Procfile. Needs REDIS_URL, DASHBOARD_PASSWORD and SECRET_KEY."""
    settings = load_settings()
    configure_logs(settings.log_level, settings.log_format)
    missing = [
        name for name in ("REDIS_URL", "DASHBOARD_PASSWORD", "SECRET_KEY") if getattr(settings, name.lower()) is None
    ]
    if missing:
        raise ConfigurationError(
            f"set {', '.join(missing)} (`bridge up` generates the secrets and has an embedded Valkey)"
        )
    check_configuration(settings)
    check_has_destination(settings)
    ledger = start_ledger(settings)
    check_ledger(ledger)
    ledger.close()
    # Under `bridge up`, children of the web that died may still be listening.
    shared = share_port or PARENT_VARIABLE in os.environ
    if problem := why_not_listen(settings.host, settings.port, shared=shared):
        raise ConfigurationError(problem)
    log_start("web parent")
    address = address_of(settings.host, settings.port)
    log_format = settings.log_format or ("text" if sys.stderr.isatty() else "json")
    become_module("app.web.server.serve", address, str(settings.port), str(settings.web_processes), log_format)


@click.command()
@click.option(
    "--concurrency", type=click.IntRange(1, 1000), help="Requests in flight. Default: DESTINATION_CONCURRENCY."
)
def worker(concurrency: int | None) -> None:
    """Run one worker, for a Procfile. Needs REDIS_URL. Run any number of workers, on any number of machines."""
    become_module("workers", *(["--concurrency", str(concurrency)] if concurrency else []))


@click.group()
def db() -> None:
    """Upgrade, inspect and copy the ledger's database."""


@db.command("upgrade")
def db_upgrade() -> None:
    """Upgrade the ledger to the newest schema. Safe to repeat."""
    ledger = start_ledger(load_settings())
    before = current_revision(ledger)
    upgrade(ledger)
    if is_newer(before):
        say(f"The ledger is at {before}, newer than this version ({HEAD}), which can use it as it is.")
    elif before == HEAD:
        say(f"The ledger is at {HEAD}.")
    else:
        say(f"The ledger went from {before or 'empty'} to {HEAD}.")


@db.command("current")
def db_current() -> None:
    """Show the ledger's schema revision. Exit status 1 unless this version can use it."""
    ledger = existing_ledger(load_settings())
    say(f"{current_revision(ledger) or 'empty'} (newest: {HEAD})")
    check_schema(ledger)


@db.command("downgrade")
def db_downgrade() -> None:
    """Undo the last migration, if no data is lost.

    Stop the bridge first.

    The version before runs on the newer schema, so going back to it needs no downgrade.
    """
    ledger = existing_ledger(load_settings())
    say(f"The ledger went from {HEAD} to {downgrade(ledger)}.")
