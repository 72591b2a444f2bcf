"""send: sign bodies as a provider would, and post them to the bridge."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click
import requests

from app.cli.output import is_asking, say
from app.config.setting_types import web_url
from app.config.settings import Settings, load_settings, variable_of
from app.errors import ConfigurationError
from app.intake.marked_test import mark_of
from app.intake.verify_and_map import source_problems
from app.reloading.comparison import compared_values
from app.sources.base import Source
from app.sources.catalog import content_type_of, example, source_called
from app.stack.home import Running, read_running

Body = tuple[str, bytes, str]
"""A name to show, the bytes, their content type."""


@dataclass(frozen=True, slots=True)
class _Way:
    """How bodies of `source` reach a bridge. signed_url: the URL as that bridge knows itself; mark: they are marked as a test."""

    source: Source
    url: str
    signed_url: str
    secret: str | None
    token: str | None
    mark: bool


@click.command()
@click.argument("source")
@click.argument("bodies", nargs=-1, metavar="[FILE]...", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--to", "url", metavar="URL", help="Base URL of the bridge. Default: that of `bridge up`, else HOST and PORT."
)
@click.option(
    "--count",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Number of examples, or of rounds of the files.",
)
@click.option(
    "--duplicate", type=click.IntRange(1), default=1, show_default=True, help="Post each body this many times."
)
@click.option("--yes", is_flag=True, help="Skip the confirmation before an example goes to a real destination.")
def send(source: str, bodies: tuple[Path, ...], url: str | None, count: int, duplicate: int, yes: bool) -> None:
    """Sign and post webhooks as SOURCE would.

    Uses the configured secret. Without FILE, posts an example with fresh IDs, marked as a test (metadata.test).
    """
    settings = load_settings()
    sender = source_called(source, settings.config, settings.config_path)
    running = read_running(settings.bridge_home)
    way = _find_way(settings, running, sender, url, mark=not bodies)
    if not bodies and not yes:
        _ask(settings, running)
    failed = False
    with settings.proxies.session(way.url) as http:
        for _ in range(count):
            for body in [_from_file(path) for path in bodies] or [_example(source)]:
                for _ in range(duplicate):
                    failed = not _post(http, way, body) or failed
    if failed and running is not None and url is None:
        _explain(running, settings)
    sys.exit(1 if failed else 0)


def _find_way(settings: Settings, running: Running | None, source: Source, to: str | None, *, mark: bool) -> _Way:
    secrets, tokens = _secrets_of(settings, source)
    token = tokens[0] if tokens else None
    path = f"/webhooks/{source.name}" + (f"/{token}" if token else "")
    try:
        base = web_url(to) if to else running.url if running else settings.own_url
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--to") from None
    base = base.removesuffix(path).removesuffix(f"/webhooks/{source.name}")  # a whole webhook URL was pasted
    known_as = base if to else (settings.public_url or base).rstrip("/")
    return _Way(source, base + path, known_as + path, secrets[0] if secrets else None, token, mark)


def _secrets_of(settings: Settings, source: Source) -> tuple[Sequence[str], Sequence[str]]:
    """Signing secrets and URL tokens. Raises ConfigurationError where there is neither, or one that the bridge would refuse."""
    for problem in source_problems(settings, source):
        raise ConfigurationError(problem)
    secrets, tokens = settings.secrets_of(source.name), settings.path_tokens_of(source.name)
    if not secrets and not tokens:
        kind = "WEBHOOK_SECRET" if source.signed else "PATH_TOKEN"
        raise ConfigurationError(
            f"set {variable_of(source.name)}_{kind} to the value that the bridge uses, in bridge.env or in this environment"
            " (in sandbox mode `bridge up` generates those of stripe and typeform into BRIDGE_HOME)"
        )
    return secrets, tokens


def _ask(settings: Settings, running: Running | None) -> None:
    """Before an invented person reaches a real destination. Raises Abort, or ConfigurationError where nobody can answer."""
    if running.is_sandbox if running else settings.is_sandbox:
        return
    text = "This sends an invented person (ada@example.com), marked as a test, to the real destination."
    if not is_asking():
        raise ConfigurationError(f"{text} Add --yes if that is meant")
    click.confirm(f"{text} Continue?", abort=True)


def _post(http: requests.Session, way: _Way, named: Body) -> bool:
    name, body, kind = named
    headers = {"Content-Type": kind}
    if way.secret is not None:
        body = way.source.stamp(body, way.secret)
        headers |= way.source.sign(body, way.secret, datetime.now(UTC), url=way.signed_url)
    key = way.secret or way.token
    if way.mark and key:
        headers |= mark_of(body, key)
    try:
        answer = http.post(way.url, data=body, headers=headers, timeout=30, allow_redirects=False)
    except requests.RequestException as error:
        shown = way.url.removesuffix(f"/{way.token}")
        say(f"{name}: no answer from {shown} ({type(error).__name__}). Is the bridge running there?", err=True)
        return False
    say(f"{name}: {answer.status_code} {_text_of(answer)}")
    return answer.ok


def _text_of(answer: requests.Response) -> str:
    try:
        content = answer.json()
        if "outcome" in content:
            return f"{content['outcome']}: {content['reason']}"
        return str(content.get("error", content))[:500]
    except (ValueError, AttributeError, TypeError, KeyError):
        return " ".join(answer.text.split())[:200]


def _explain(running: Running, settings: Settings) -> None:
    names = running.differences(compared_values(settings))
    if names:
        say(
            f"The settings of this terminal differ from those of the running bridge: {', '.join(names)}."
            " Put them into bridge.env, which both read, and run `bridge reload` or restart `bridge up`.",
            err=True,
        )


def _from_file(path: Path) -> Body:
    body = path.read_bytes()
    return path.name, body, content_type_of(path.name, body)


def _example(source: str) -> Body:
    return f"example {source}", *example(source)
