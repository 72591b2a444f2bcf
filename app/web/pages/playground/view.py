"""The playground's page: one form, whose answer is the same page with the result below."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, render_template, request
from werkzeug.exceptions import NotFound

from app.errors import ConfigurationError, MalformedEvent, UnknownSource
from app.intake.playground.bench import MOST_EVENTS, Asked, Playground
from app.intake.playground.mapping_text import mapping_of
from app.intake.playground.origins import flat
from app.intake.playground.trial import TrialFailed
from app.ledger.engine import look
from app.ledger.reading.bodies import Received, received
from app.model import Inbound
from app.sources.catalog import example, has_example
from app.web.auth import is_operator, login_required
from app.web.params import LARGEST_NUMBER
from app.web.services import Parts

LONGEST_SHOWN = 256 * 1024
"""A longer body of an event is used as it is, and not sent to the browser and back."""
KINDS = ("application/json", "application/x-www-form-urlencoded", "multipart/form-data")
MOST_HEADERS = 50
STARTER = """[sources.myshop]
kind = "sale"
signature = "none"
currency = "EUR"

[sources.myshop.fields]
order_id = "= order.id"
amount = "= order.total"
email = "= order.email"
"""


def create_blueprint(parts: Parts) -> Blueprint:
    blueprint = Blueprint("playground", __name__)
    bench = Playground(parts.settings, parts.destinations, parts.policy, parts.ledger)

    @blueprint.get("/playground")
    @login_required
    def index() -> str:
        event = event_asked(parts, request.args.get("event", ""))
        name = event.source if event else request.args.get("source", "")
        if event is None and name not in parts.sources:
            name = next(iter(parts.intake.configured), "stripe")
        return page(parts, name, event)

    @blueprint.post("/playground")
    @login_required
    def try_body() -> Any:
        form = request.form
        event, name = event_asked(parts, form.get("event", "")), form.get("source", "").strip()
        mapping = mapping_in(parts, form) if is_operator() else None
        outcome: dict[str, Any] = {}
        try:
            if form.get("do") == "compare" and is_operator():
                outcome["comparison"] = bench.compare(
                    name, mapping_of(parts.settings, name) if mapping is None else mapping
                )
            else:
                outcome["result"] = bench.explain(asked_in(form, event, name, mapping))
        except (ConfigurationError, UnknownSource, MalformedEvent, TrialFailed) as error:
            outcome["problem"] = str(error)
        shown = page(parts, name, event, form=form, **outcome)
        return shown, 422 if "problem" in outcome and not request.headers.get("X-Live") else 200

    return blueprint


def event_asked(parts: Parts, text: str) -> Received | None:
    """The event of the form or link; None if none is named. Raises NotFound."""
    if not text:
        return None
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0
    with look(parts.ledger) as tx:
        event = received(tx, min(number, LARGEST_NUMBER))
    if event is None:
        raise NotFound(f"there is no event {text[:20]}")
    return event


def asked_in(form: Any, event: Received | None, name: str, mapping: str | None) -> Asked:
    """The input of the form: a pasted body, or an event as received if its body was not edited."""
    body = form.get("body", "")
    if event is not None and name in ("", event.source) and (not body or plain(body) == plain(text_of(event))):
        return Asked.of(event, mapping)
    headers = {"content-type": form.get("type", KINDS[0]), **headers_in(form.get("headers", ""))}
    if headers["content-type"] == KINDS[2]:
        boundary = body.split("\n", 1)[0].strip().removeprefix("--")
        headers["content-type"] += f"; boundary={boundary}"
    return Asked(name, Inbound(body.encode(), headers), datetime.now(UTC), mapping)


def headers_in(text: str) -> dict[str, str]:
    """Headers by lower-case name, from lines of `Name: value`."""
    headers = {}
    for line in text.splitlines()[:MOST_HEADERS]:
        name, colon, value = line.partition(":")
        if colon and name.strip():
            headers[name.strip().lower()] = value.strip()
    return headers


def mapping_in(parts: Parts, form: Any) -> str | None:
    """The edited mapping; None if the form has none, or the source's current one."""
    text, shown_for = form.get("mapping"), form.get("mapping_of", "")
    if text is None or (plain(text) == plain(mapping_shown(parts, shown_for)) and form.get("source")):
        return None
    return str(text)


def mapping_shown(parts: Parts, name: str) -> str:
    return mapping_of(parts.settings, name) if name in parts.sources else STARTER


def plain(text: str) -> str:
    """The text without what a browser changes: line ends and surrounding white space."""
    return text.replace("\r\n", "\n").strip()


def text_of(event: Received) -> str:
    return event.body.decode("utf-8", "replace")


def page(
    parts: Parts,
    name: str,
    event: Received | None,
    *,
    form: Any = None,
    result: dict[str, Any] | None = None,
    comparison: dict[str, Any] | None = None,
    problem: str | None = None,
) -> str:
    """The form with its input, and the result below."""
    body, kind, is_kept = "", KINDS[0], False
    if event is not None:
        kind = next((candidate for candidate in KINDS if candidate in event.headers.get("content-type", "")), KINDS[0])
        is_kept = len(event.body) > LONGEST_SHOWN or not is_operator()
        body = "" if is_kept else text_of(event)
    elif form is None and has_example(name):
        content, kind_of_example = example(name)
        body, kind = content.decode("utf-8", "replace"), kind_of_example.partition(";")[0]
    if form is not None:
        body, kind = form.get("body", ""), form.get("type", kind)
    mapping = mapping_in(parts, form) if form is not None else None
    return render_template(
        "playground/playground.html",
        names=sorted(parts.sources),
        name=name,
        event=replace(event, body=b"") if event else None,
        size=len(event.body) if event else 0,
        is_kept=is_kept,
        body=body,
        kind=kind,
        kinds=KINDS,
        headers=form.get("headers", "") if form is not None else "",
        mapping=mapping_shown(parts, name) if mapping is None else mapping,
        is_edited=mapping is not None,
        result=result,
        comparison=comparison,
        problem=problem,
        most=MOST_EVENTS,
        flat=flat,
    )
