"""stripe-endpoint: shows, creates and updates the webhook endpoint at Stripe."""

import os
from pathlib import Path
from urllib.parse import urlsplit

import click

from app.cli.output import say, say_json
from app.config.settings import Settings, load_settings
from app.errors import ConfigurationError
from app.stripe_api.client import JsonObject, make_api
from app.stripe_api.endpoint import (
    PATH,
    Plan,
    Wanted,
    apply,
    find_endpoint,
    is_connect,
    list_endpoints,
    mark_of,
    own_url,
    plan,
)
from app.stripe_api.event_types import wanted_events


@click.group("stripe-endpoint")
def stripe_endpoint() -> None:
    """Show or set up the webhook endpoint at Stripe. Needs STRIPE_API_KEY."""


@stripe_endpoint.command()
@click.option("--url", metavar="URL", help=f"The bridge's endpoint. Default: PUBLIC_URL{PATH}.")
@click.option("--connect", is_flag=True, help="Compare the endpoint for connected accounts (Stripe Connect).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def show(url: str | None, connect: bool, as_json: bool) -> None:
    """List webhook endpoints, and what to change in ours."""
    settings = load_settings()
    api = make_api(settings)
    endpoints = list_endpoints(api)
    expected = _wanted(settings, url, connect=connect, required=False)
    ours = find_endpoint(endpoints, expected) if expected else None
    for endpoint in endpoints:
        line = {name: endpoint.get(name) for name in ("id", "url", "status", "api_version", "enabled_events")}
        if as_json:
            say_json({**line, "connect": is_connect(endpoint), "ours": endpoint is ours})
        else:
            mark, version = "*" if endpoint is ours else " ", line["api_version"] or "default version"
            scope = "  connected accounts" if is_connect(endpoint) else ""
            say(f"{mark} {line['id']}  {line['status']}  {version}  {_count_events(endpoint)}{scope}  {line['url']}")
    if as_json:
        return
    if not endpoints:
        mode = "test" if api.is_test else "live"
        say(f"The account has no webhook endpoint in {mode} mode (STRIPE_API_KEY is a key of that mode).")
    if expected is None:
        if endpoints:
            say("To show which one belongs to this bridge, give --url or set PUBLIC_URL.")
        return
    changes = plan(endpoints, expected)
    if ours is None:
        none_text = "None of them is" if endpoints else "So there is none"
        scope, option = (" for connected accounts", " --connect") if connect else ("", "")
        say(
            f"{none_text} for {expected.url}{scope}: `bridge stripe-endpoint sync --url {expected.url}{option}` creates one."
        )
        _show_notes(changes)
    else:
        _show_plan(changes)


def _count_events(endpoint: JsonObject) -> str:
    events = endpoint.get("enabled_events") or ()
    if "*" in events:
        return "all events"
    return "1 event" if len(events) == 1 else f"{len(events)} events"


@stripe_endpoint.command()
@click.option("--url", metavar="URL", help=f"Where Stripe sends events. Default: PUBLIC_URL{PATH}.")
@click.option(
    "--connect",
    is_flag=True,
    help="Set up the endpoint for connected accounts (Stripe Connect) instead.",
)
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@click.option("--enable", is_flag=True, help="Also enable the endpoint if it is disabled.")
@click.option(
    "--secret-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the new signing secret to this new file, readable only by you, instead of printing it.",
)
def sync(url: str | None, connect: bool, dry_run: bool, enable: bool, secret_file: Path | None) -> None:
    """Create or update the endpoint with the right events. Other endpoints are not changed."""
    settings = load_settings()
    expected = _wanted(settings, url, connect=connect, required=True)
    assert expected is not None
    api = make_api(settings)
    if secret_file is not None and secret_file.exists():
        raise click.BadParameter(f"{secret_file} already exists", param_hint="--secret-file")
    changes = plan(list_endpoints(api), expected, enable=enable)
    _show_plan(changes)
    if not changes.is_needed:
        return
    if dry_run:
        say("Dry run: nothing was changed.")
        return
    done = apply(api, changes)
    if changes.current is not None:
        say(f"Updated {done.get('id')}. Its signing secret is unchanged.")
        if "disabled" in changes.changes and not connect:
            say("Fetch what it missed with `bridge backfill stripe --since 7d`.")
        return
    say(f"Created {done.get('id')}.")
    _hand_over(str(done.get("secret") or ""), secret_file, settings)


def _wanted(settings: Settings, url: str | None, *, connect: bool, required: bool) -> Wanted | None:
    url = url or own_url(settings)
    if url is None:
        if required:
            raise ConfigurationError(f"name the endpoint with --url https://…{PATH}, or set PUBLIC_URL")
        return None
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise click.BadParameter("must be a whole URL, https://…", param_hint="--url")
    if parts.path != PATH:
        say(f"Note: the bridge takes Stripe's webhooks at {PATH}; this URL has another path.", err=True)
    return Wanted(url, wanted_events(settings.rules), mark_of(settings), is_connect=connect)


def _show_plan(changes: Plan) -> None:
    new = "a new endpoint for connected accounts" if changes.expected.is_connect else "a new endpoint"
    name = changes.current.get("id") if changes.current else new
    if changes.lines:
        say(f"{name}:")
        for line in changes.lines:
            say(f"  {line}", colour="green" if line.startswith("+") else "red")
    elif changes.current is not None:
        say(f"{name}: nothing to change.")
    _show_notes(changes)


def _show_notes(changes: Plan) -> None:
    for note in changes.notes:
        say(f"Note: {note}.")


def _hand_over(secret: str, secret_file: Path | None, settings: Settings) -> None:
    """Shows or stores the signing secret, which Stripe returns only once."""
    if not secret:
        say("Stripe's answer held no signing secret: reveal it in the Dashboard, under Developers, Webhooks.")
        return
    rotating = bool(settings.secrets_of("stripe"))
    where = "add it to STRIPE_WEBHOOK_SECRET, after a comma" if rotating else "set STRIPE_WEBHOOK_SECRET to it"
    if secret_file is not None:
        try:
            descriptor = os.open(secret_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
                opened.write(secret + "\n")
        except OSError as error:
            say(f"{secret_file} could not be written ({error.strerror}), so here it is.", err=True)
        else:
            say(f"Its signing secret is in {secret_file}: {where} for web and workers, and restart them.")
            return
    say(f"Its signing secret, which is not shown again: {where} for web and workers, and restart them.")
    say(f"  {secret}")
