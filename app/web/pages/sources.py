"""The Sources page, and test events: signed with the configured secret, and processed like any other."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cache

from flask import Blueprint, render_template, request, session, url_for
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response

from app.config.settings import Settings
from app.errors import BridgeError, LedgerUnavailable
from app.intake.marked_test import mark_of
from app.ledger.audit import note
from app.ledger.engine import Ledger, look
from app.ledger.reading.events import newest_bodies
from app.ledger.reading.summary.overview import COUNTED, LATELY_DAYS
from app.ledger.recording.arrival import Receipt
from app.model import Inbound, Rules
from app.sources.base import Source
from app.sources.catalog import example, has_example, installed
from app.stripe_api.arrived import Arrived, arrived, why_missing
from app.stripe_api.checks import check_endpoint
from app.stripe_api.client import make_hasty_api
from app.stripe_api.event_types import wanted_events
from app.web.auth import login_required
from app.web.pages import source_setup
from app.web.services import Parts, actor, redirect_with
from app.web.source_rows import source_rows


def register(blueprint: Blueprint, parts: Parts) -> None:
    ledger = parts.ledger

    @blueprint.post("/sources/stripe/endpoint")
    @login_required
    def check_stripe_endpoint() -> Response:
        """Asks Stripe, which takes a second or two. Only on demand, never while a page renders."""
        where = url_for("sources.index")
        if parts.settings.stripe_api_key is None:
            raise NotFound("there is no STRIPE_API_KEY to ask with")
        try:
            findings = list(check_endpoint(parts.settings, make_hasty_api(parts.settings)))
        except LedgerUnavailable:
            raise
        except BridgeError as error:
            return redirect_with(str(error), where, is_done=False)
        for kind, text in findings[:-1]:
            redirect_with(text, where, is_done=kind == "ok")
        kind, text = findings[-1]
        return redirect_with(text, where, is_done=kind == "ok")

    @blueprint.post("/sources/<name>/test")
    @login_required
    def test_event(name: str) -> Response | str:
        if name not in parts.intake.configured or not has_example(name):
            raise NotFound(f"there is no test event for {name}")
        if not parts.settings.is_sandbox and "confirmed" not in request.form:
            return render_template("test_event.html", source=parts.sources[name], destinations=parts.destinations)
        try:
            receipt = send_example(parts, name)
        except LedgerUnavailable:
            raise
        except BridgeError as error:
            return redirect_with(str(error), url_for("sources.index"), is_done=False)
        ledger.transact(lambda tx: note(tx, actor(), "test event", f"source {name}", f"event {receipt.id}"))
        is_conversion = receipt.outcome in ("sale", "lead")
        message = f"the test event is here: {receipt.outcome}, {receipt.reason}"
        return redirect_with(message, url_for(".event", event_id=receipt.id), is_done=is_conversion)


GROUPS = (("sale", "Payments"), ("signup", "Sign-ups"), ("lead", "Forms and bookings"), ("own", "Your own"))


def offers(sources: Iterable[Source]) -> list[tuple[str, list[Source]]]:
    """Sources to connect, by what their built-in example is: a payment, a sign-up, or a form."""
    by_kind: dict[str, list[Source]] = {kind: [] for kind, _ in GROUPS}
    for source in sorted(sources, key=lambda offered: offered.title.casefold()):
        by_kind[kind_of_example(source.name)].append(source)
    return [(title, by_kind[kind]) for kind, title in GROUPS if by_kind[kind]]


@cache
def kind_of_example(name: str) -> str:
    if not has_example(name):
        return "own"
    body, content_type = example(name)
    mapped = installed()[name][0].map(Inbound(body, {"content-type": content_type}), Rules(accept_test_events=True))
    if mapped.sale:
        return "sale"
    return "signup" if mapped.lead and mapped.lead.event_name == "signed_up" else "lead"


def send_example(parts: Parts, name: str) -> Receipt:
    """Signs an example with fresh IDs and records it. Raises SourceError or LedgerUnavailable."""
    source, settings = parts.sources[name], parts.settings
    secrets, tokens = settings.secrets_of(name), settings.path_tokens_of(name)
    token, now = tokens[0] if tokens else None, datetime.now(UTC)
    url = f"{settings.public_url}/webhooks/{name}{f'/{token}' if token else ''}" if settings.public_url else ""
    body, kind = example(name)
    body = source.stamp(body, secrets[0]) if secrets else body
    signed = source.sign(body, secrets[0], now, url=url) if secrets else {}
    headers = {"content-type": kind} | {header.lower(): value for header, value in signed.items()}
    headers |= mark_of(body, (*secrets, *tokens)[0])
    return parts.intake.take(name, Inbound(body, headers, url), token, now)


def create_blueprint(ledger: Ledger, settings: Settings, sources: Mapping[str, Source]) -> Blueprint:
    blueprint = Blueprint("sources", __name__)

    def page(asked: str | None = None) -> str:
        """asked: the source whose URL is shown with its token."""
        with look(ledger) as tx:
            rows = source_rows(tx, settings, sources, asked)
            notices = [
                (source.title, notice)
                for source in sources.values()
                if source.telling_event and settings.opens(source.name)
                for bodies in [newest_bodies(tx, source.name, source.telling_event)]
                if (notice := source.setup_notice(bodies, settings.rules))
            ]
            is_connected = settings.opens("stripe") and not settings.is_generated("stripe")
            arrivals = arrived(tx, wanted_events(settings.rules)) if is_connected else Arrived()
        notices += [("Stripe", f"{why_missing(event, shown_by)}.") for event, shown_by in arrivals.missing]
        counted = sum(sum(row["outcomes"].values()) for row in rows)
        over = f"last {LATELY_DAYS} days" if counted < COUNTED else f"newest {COUNTED:,}"
        return render_template(
            "sources.html",
            sources=rows,
            variables={row["name"]: row["variable"] for row in rows},
            offers=offers([source for source in sources.values() if not settings.opens(source.name)]),
            notices=notices,
            unseen=() if arrivals.is_empty else arrivals.unseen,
            has_stripe_key=settings.stripe_api_key is not None,
            days=LATELY_DAYS,
            over=over,
            has_public_url=settings.public_url is not None,
        )

    @blueprint.get("/sources")
    @login_required
    def index() -> str:
        return page()

    @blueprint.post("/sources/<name>/url")
    @login_required
    def show_url(name: str) -> str:
        if not (name in sources and settings.path_tokens_of(name)):
            raise NotFound(f"there is no source called {name} whose URL carries a token")
        ledger.transact(lambda tx: note(tx, session["name"], "show url", f"source {name}"))
        if request.form.get("page") == "set-up":
            return source_setup.set_up_page(ledger, settings, sources, name, shows_token=True)
        return page(name)  # and no redirect: the token must not get into the session, whose cookie anybody can read

    source_setup.register(blueprint, ledger, settings, sources)
    return blueprint
