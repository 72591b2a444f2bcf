"""A test event of a source, from its page: signed with the configured secret, and taken by the same way as all others."""

from datetime import UTC, datetime

from flask import Blueprint, url_for
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response

from app.errors import BridgeError, LedgerUnavailable
from app.examples_maker import example, has_example
from app.ledger.mending import note
from app.ledger.staged import Receipt
from app.model import Inbound
from app.web.auth import login_required
from app.web.pages.parts import Parts, actor, told


def register(blueprint: Blueprint, parts: Parts) -> None:
    ledger = parts.ledger

    @blueprint.post("/sources/<name>/test")
    @login_required
    def test_event(name: str) -> Response:
        if name not in parts.intake.configured or not has_example(name):
            raise NotFound(f"there is no test event for {name}")
        try:
            receipt = send_example(parts, name)
        except LedgerUnavailable:
            raise
        except BridgeError as error:
            return told(str(error), url_for("sources.index"), is_done=False)
        ledger.transact(lambda c: note(ledger, c, actor(), "test event", f"source {name}", f"event {receipt.id}"))
        return told(
            f"the test event is here: {receipt.outcome}, {receipt.reason}", url_for(".event", event_id=receipt.id)
        )


def send_example(parts: Parts, name: str) -> Receipt:
    """Signs an example with fresh ids and takes it. Raises SourceError or LedgerUnavailable."""
    source, settings = parts.sources[name], parts.settings
    secrets, tokens = settings.secrets_of(name), settings.path_tokens_of(name)
    token, now = tokens[0] if tokens else None, datetime.now(UTC)
    url = f"{settings.public_url}/webhooks/{name}{f'/{token}' if token else ''}" if settings.public_url else ""
    body, kind = example(name)
    body = source.stamp(body, secrets[0]) if secrets else body
    signed = source.sign(body, secrets[0], now, url=url) if secrets else {}
    headers = {"content-type": kind} | {header.lower(): value for header, value in signed.items()}
    return parts.intake.take(name, Inbound(body, headers, url), token, now)
