"""up, web, worker and db: the commands that run things."""

import os
import sys
from pathlib import Path

import click

from app.bootstrap import make_ledger
from app.destination import destinations_of
from app.errors import ConfigurationError
from app.ledger.schema import HEAD, check_schema, current_revision, upgrade
from app.logs import configure_logs
from app.settings import SANDBOX_SOURCES, Settings, load_settings, make_up_secrets
from app.supervisor import (
    EmbeddedValkey,
    Supervisor,
    child,
    end_leftovers,
    on_stop_signals,
    port_is_free,
    wait_until_answering,
)

START_SECONDS = 30


@click.command()
@click.option("--host", help="Address to listen on; default HOST, else 127.0.0.1.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port; default PORT, else 8000.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="How many worker processes.")
def up(host: str | None, port: int | None, workers: int) -> None:
    """Run the whole stack in the foreground: web, workers and, without REDIS_URL, an embedded Valkey."""
    if host:
        os.environ["HOST"] = host
    if port:
        os.environ["PORT"] = str(port)
    settings = load_settings()
    configure_logs(settings.log_level)
    home = settings.bridge_home
    given = settings.dashboard_password is not None and "DASHBOARD_PASSWORD" in os.environ
    make_up_secrets(home)
    replaced = end_leftovers(home)
    settings = load_settings()
    if not port_is_free(settings.host, settings.port):
        raise ConfigurationError(
            f"port {settings.port} on {settings.host} is taken: choose another with --port or PORT"
        )
    ledger = make_ledger(settings)
    upgrade(ledger)
    ledger.close()
    supervisor = Supervisor(home)
    on_stop_signals(supervisor.ask_to_stop)
    environment = dict(os.environ, BRIDGE_SUPERVISED="1")
    try:
        if settings.redis_url is None:
            valkey = EmbeddedValkey(home)
            environment["REDIS_URL"] = valkey.url
            supervisor.add("valkey", valkey.start)
        supervisor.add("web", lambda: child(["-m", "app", "web"], environment))
        for number in range(1, workers + 1):
            supervisor.add(f"worker {number}", lambda: child(["-m", "workers"], environment))
        answers = wait_until_answering(settings.own_host, settings.port, START_SECONDS)
        _greet(settings, replaced=replaced, password_given=given, answers=answers)
        supervisor.watch()
    finally:
        click.echo("Stopping: what is in flight gets a few seconds.")
        supervisor.stop()


def _greet(settings: Settings, *, replaced: int, password_given: bool, answers: bool) -> None:
    if replaced:
        what = "a process" if replaced == 1 else f"{replaced} processes"
        click.echo(f"Replaced {what} that an earlier run had left behind.")
    if not answers:
        click.echo("The web does not answer yet; the log above says why.", err=True)
    assert settings.dashboard_password is not None
    password = "(DASHBOARD_PASSWORD)" if password_given else settings.dashboard_password.get_secret_value()
    targets = ", ".join(destination.url for destination in destinations_of(settings))
    target = "its own sandbox (no DESTINATION_URL is set)" if settings.is_sandbox else targets
    click.echo("")
    click.secho("Conversion Bridge is up.", bold=True)
    click.echo(f"  Dashboard    {settings.own_url}/")
    click.echo(f"  Password     {password}")
    click.echo(f"  Forwards to  {target}")
    click.echo(f"  State        {settings.bridge_home.resolve()}")
    if settings.is_sandbox:
        click.echo("")
        click.echo("Try it in a second terminal (from this folder):")
        for source in SANDBOX_SOURCES:
            click.echo(f"  {_command()} send {source.lower()}")
    click.echo("")
    click.echo("Ctrl-C stops everything.")


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
def web() -> None:
    """Run the web alone (for a Procfile). Needs REDIS_URL, DASHBOARD_PASSWORD and SECRET_KEY."""
    from app.processes import end_with_parent
    from app.web.serve import serve

    settings = load_settings()
    configure_logs(settings.log_level)
    missing = [
        name for name in ("REDIS_URL", "DASHBOARD_PASSWORD", "SECRET_KEY") if getattr(settings, name.lower()) is None
    ]
    if missing:
        raise ConfigurationError(f"set {', '.join(missing)} (`bridge up` makes them up and brings its own Valkey)")
    ledger = make_ledger(settings)
    check_schema(ledger)
    ledger.close()
    if os.environ.get("BRIDGE_SUPERVISED"):
        end_with_parent()
    serve(settings)


@click.command()
@click.option("--concurrency", type=click.IntRange(1, 512), help="Requests in flight; default DESTINATION_CONCURRENCY.")
def worker(concurrency: int | None) -> None:
    """Run one worker (for a Procfile). Needs REDIS_URL. As many as you like, on as many machines."""
    arguments = [sys.executable, "-m", "workers"]
    if concurrency:
        arguments += ["--concurrency", str(concurrency)]
    os.execv(sys.executable, arguments)  # noqa: S606 - app must not import workers


@click.group()
def db() -> None:
    """Schema migrations of the ledger."""


@db.command("upgrade")
def db_upgrade() -> None:
    """Bring the ledger to the newest schema. Harmless to repeat."""
    ledger = make_ledger(load_settings())
    before = current_revision(ledger)
    upgrade(ledger)
    click.echo(
        f"The ledger is at {HEAD}." if before == HEAD else f"The ledger went from {before or 'empty'} to {HEAD}."
    )


@db.command("current")
def db_current() -> None:
    """Show the ledger's schema revision; exit status 1 unless it is the newest."""
    revision = current_revision(make_ledger(load_settings()))
    click.echo(f"{revision or 'empty'} (newest: {HEAD})")
    sys.exit(0 if revision == HEAD else 1)
