"""send, forget and prune: the commands that change something."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import click
import requests
from redis.exceptions import RedisError

from app.bootstrap import make_nudges, open_ledger
from app.config.setting_types import web_url
from app.config.settings import Settings, load_settings, variable_of
from app.errors import ConfigurationError
from app.intake.verify_and_map import source_problems
from app.ledger.actions.forget import BeingSent, persons_called
from app.ledger.actions.forget import forget as forget_one
from app.ledger.actions.retention import prune as prune_ledger
from app.sources.base import Source
from app.sources.catalog import content_type_of, example, source_called


@click.command()
@click.argument("source")
@click.argument("bodies", nargs=-1, metavar="[FILE]...", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--to", "url", metavar="URL", help="The bridge's base URL; default this one, at HOST and PORT.")
@click.option(
    "--count", type=click.IntRange(1), default=1, show_default=True, help="How many examples (or rounds of the files)."
)
@click.option(
    "--duplicate", type=click.IntRange(1), default=1, show_default=True, help="Post each body so many times in all."
)
def send(source: str, bodies: tuple[Path, ...], url: str | None, count: int, duplicate: int) -> None:
    """Sign and post bodies as SOURCE would.

    With the configured secret; without FILE, an example with fresh ids.
    """
    settings = load_settings()
    found = source_called(source, settings.config, settings.config_path)
    path, secret = _way_in(settings, found)
    try:
        base = web_url(url or settings.own_url)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--to") from None
    target = base + path
    signed_url = (url or settings.public_url or settings.own_url).rstrip("/") + path  # as the bridge there knows itself
    failed = False
    with settings.proxies.session(target) as http:
        for _ in range(count):
            for name, body, kind in [_from_file(p) for p in bodies] or [_example(source)]:
                for _ in range(duplicate):
                    failed = not _post(http, found, target, signed_url, name, body, kind, secret) or failed
    sys.exit(1 if failed else 0)


def _way_in(settings: Settings, source: Source) -> tuple[str, str | None]:
    """The path to post to and the secret to sign with."""
    for problem in source_problems(settings, source):
        raise ConfigurationError(problem)
    secrets_of, tokens = settings.secrets_of(source.name), settings.path_tokens_of(source.name)
    if not secrets_of and not tokens:
        kind = "WEBHOOK_SECRET" if source.signed else "PATH_TOKEN"
        raise ConfigurationError(
            f"set {variable_of(source.name)}_{kind}, the same as where the bridge runs (in sandbox mode `bridge up` makes up"
            " those of stripe and typeform; BRIDGE_HOME must be the same)"
        )
    token = f"/{tokens[0]}" if tokens else ""
    return f"/webhooks/{source.name}{token}", secrets_of[0] if secrets_of else None


def _post(
    http: requests.Session,
    source: Source,
    target: str,
    signed_url: str,
    name: str,
    body: bytes,
    kind: str,
    secret: str | None,
) -> bool:
    headers = {"Content-Type": kind}
    if secret is not None:
        body = source.stamp(body, secret)
        headers |= source.sign(body, secret, datetime.now(UTC), url=signed_url)
    try:
        answer = http.post(target, data=body, headers=headers, timeout=30, allow_redirects=False)
    except requests.RequestException as error:
        click.echo(f"{name}: no answer ({type(error).__name__}); is the bridge running there?", err=True)
        return False
    try:
        told = answer.json()
        text = f"{told['outcome']}: {told['reason']}" if "outcome" in told else str(told.get("error", told))
    except (ValueError, AttributeError):
        text = answer.text[:200]
    click.echo(f"{name}: {answer.status_code} {text}")
    return answer.ok


def _from_file(path: Path) -> tuple[str, bytes, str]:
    body = path.read_bytes()
    return path.name, body, content_type_of(path.name, body)


def _example(source: str) -> tuple[str, bytes, str]:
    return f"example {source}", *example(source)


@click.command()
@click.argument("person")
@click.option("--yes", is_flag=True, help="Do not ask.")
def forget(person: str, yes: bool) -> None:
    """Erase a person's data. PERSON is an e-mail address, phone number, customer id, cus_… or person:<id>."""
    ledger = open_ledger(load_settings())
    with ledger.read() as tx:
        found = persons_called(tx, person)
    if not found:
        raise click.ClickException("nobody is known by that")
    if len(found) > 1:
        names = ", ".join(f"person:{one}" for one in found)
        raise click.ClickException(f"{len(found)} persons share that: choose one of {names}")
    if not yes:
        click.confirm("This cannot be undone. Erase everything but the ids of their purchases?", abort=True)
    try:
        done = ledger.transact(lambda tx: forget_one(tx, found[0], actor="cli"))
    except BeingSent:
        raise click.ClickException("something of theirs is being sent just now: try again in a minute") from None
    click.echo(
        f"Forgot person:{done.person_id}: {done.events} events and {done.deliveries} deliveries blanked,"
        f" {done.discarded} discarded unsent."
    )


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what would go, and change nothing.")
def prune(dry_run: bool) -> None:
    """Remove what [retention] of bridge.toml no longer keeps. In small batches; without that table everything is kept."""
    settings = load_settings()
    retention = settings.retention
    if not any(days for _, days in retention):
        click.echo(f"Nothing is limited: {settings.config_path} has no [retention], so everything is kept.")
        return
    ledger = open_ledger(settings)
    for done in prune_ledger(ledger, retention, dry_run=dry_run):
        click.echo(f"{'would be ' if dry_run else ''}{done.what}: {done.count:,} (older than {done.days:g} days)")
    if dry_run and retention.deliveries_days and retention.events_days:
        click.echo("Events go once no delivery is left of them, so those of the deliveries above come on top.")


def nudge(settings: Settings) -> None:
    """Wakes the workers where Redis can be reached; else their sweepers find it within two seconds."""
    if settings.redis_url is None:
        return
    try:
        make_nudges(settings).nudge()
    except (RedisError, OSError):
        click.echo("Redis did not answer; the workers find it by themselves.", err=True)
