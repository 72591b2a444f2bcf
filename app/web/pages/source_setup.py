"""The page that connects one source: the steps at the provider, its URL and secret, and whether the first event has come."""

from collections.abc import Mapping
from dataclasses import dataclass

from flask import Blueprint, render_template, request
from werkzeug.exceptions import NotFound

from app.config.settings import Settings, variable_of
from app.ledger.engine import Ledger, look
from app.setup.generated import generated_secret
from app.setup.guide import steps_for
from app.setup.source_state import SourceState, source_state
from app.sources.base import Source
from app.sources.catalog import has_example
from app.web.auth import is_operator, login_required
from app.web.markdown import as_html


@dataclass(frozen=True, slots=True)
class Generated:
    """A generated secret to copy. line: for bridge.env; value: for the provider, "" if it is part of the URL."""

    line: str
    value: str
    url: str


def register(blueprint: Blueprint, ledger: Ledger, settings: Settings, sources: Mapping[str, Source]) -> None:
    @blueprint.get("/sources/<name>")
    @login_required
    def set_up(name: str) -> str:
        return set_up_page(ledger, settings, sources, name)


def set_up_page(
    ledger: Ledger, settings: Settings, sources: Mapping[str, Source], name: str, *, shows_token: bool = False
) -> str:
    """shows_token: an operator asked for the URL with its token. Raises NotFound."""
    source = sources.get(name)
    if source is None:
        raise NotFound(f"there is no source called {name}")
    with look(ledger) as tx:
        state = source_state(tx, settings, source)
    base_url = settings.public_url or settings.own_url
    steps = steps_for(source, base_url)
    url, tokens = f"{base_url}/webhooks/{name}", settings.path_tokens_of(name)
    urls = [f"{url}/{token}" for token in tokens] if shows_token else [f"{url}/…" if state.has_token else url]
    return render_template(
        "source.html",
        source=source,
        state=state,
        steps=as_html(steps) if steps else None,
        urls=urls,
        may_ask=bool(tokens) and not shows_token,
        is_shown=shows_token,
        generated=_generated(source, state, url) if is_operator() and not request.headers.get("X-Live") else None,
        has_public_url=settings.public_url is not None,
        has_example=has_example(name),
        is_open=settings.opens(name),
    )


def _generated(source: Source, state: SourceState, url: str) -> Generated | None:
    """A generated secret for a source that is not connected yet. Live updates leave it out, so that it does not change while
    someone copies it.
    """
    secret = generated_secret(source) if state.stage == "off" else None
    if secret is None:
        return None
    if not source.signed:
        return Generated(f"{variable_of(source.name)}_PATH_TOKEN={secret}", "", f"{url}/{secret}")
    return Generated(f"{variable_of(source.name)}_WEBHOOK_SECRET={secret}", secret, "")
