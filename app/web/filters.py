"""Template filters, masked email addresses for viewers, and ETags for pages that poll."""

import hashlib
import json
import re
from typing import Any

from flask import Blueprint, Response, request

from app.errors import BridgeError
from app.money import Money, amount_text
from app.times import iso
from app.web.auth import is_viewer
from app.web.masking import masked

TURNS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Characters that change the direction of writing. https://www.unicode.org/reports/tr9/#Directional_Formatting_Characters"""
LONGEST_SAID = 200
REJECTED = ("the destination rejected this payload", "it will not take this payload")
"""How the error of a rejected attempt ends, now and in earlier versions."""
DEEPEST_MESSAGE = 4


def install(blueprint: Blueprint) -> None:
    """The filters: pretty (JSON), indented (JSON text, if it is), minor (minor units and a currency), amount (major
    units and a currency), span (seconds), share (0 to 1), said (what an answer's body says), brief (an error where there is little
    room), iso (of ms)."""
    blueprint.add_app_template_filter(pretty, "pretty")
    blueprint.add_app_template_filter(indented, "indented")
    blueprint.add_app_template_filter(money, "minor")
    blueprint.add_app_template_filter(amount_text, "amount")
    blueprint.add_app_template_filter(span, "span")
    blueprint.add_app_template_filter(share, "share")
    blueprint.add_app_template_filter(said, "said")
    blueprint.add_app_template_filter(brief, "brief")
    blueprint.add_app_template_filter(iso, "iso")


def finish(response: Response) -> Response:
    """Runs after every request behind the login."""
    return with_etag(masked(response, is_viewer=is_viewer()))


def pretty(value: Any) -> str:
    """Indented JSON. Characters that change the direction of writing are escaped, so that nothing is disguised."""
    return TURNS.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(value, indent=2, ensure_ascii=False))


def indented(body: str) -> str:
    """Indents JSON text; returns other text unchanged."""
    try:
        # half an emoji, which JSON can spell and UTF-8 cannot, becomes "?"
        return pretty(json.loads(body)).encode("utf-8", "replace").decode()
    except (ValueError, RecursionError):
        return body


def money(minor: int, currency: str) -> str:
    try:
        return Money(minor, currency).text
    except (BridgeError, ValueError):
        return f"{minor} minor units {currency}"


def span(seconds: float | None) -> str:
    """A duration in the unit that fits it best."""
    if seconds is None:
        return "–"
    for size, unit in ((172_800, 86_400), (7200, 3600), (120, 60)):
        if seconds >= size:
            return f"{seconds / unit:.0f} {({86_400: 'days', 3600: 'h', 60: 'min'})[unit]}"
    if seconds >= 1:
        return f"{seconds:.3g} s"
    return f"{seconds * 1000:.0f} ms"


def share(part: float) -> str:
    """A percentage with one decimal, rounded down: 100% means all."""
    return f"{int(part * 1000) / 10:g}%"


def said(body: str | None) -> str:
    """The message in a destination's answer: from its JSON, else the text if it is short and not HTML."""
    text = (body or "").strip()
    try:
        message = _message(json.loads(text))
    except (ValueError, RecursionError):
        message = None if text.startswith("<") else text
    message = TURNS.sub("", " ".join((message or "").split()))
    return message if len(message) <= LONGEST_SAID else message[:LONGEST_SAID] + "…"


def brief(error: str) -> str:
    """An attempt's error for a list; only the status for a rejection."""
    for reason in REJECTED:
        error = error.removesuffix(f": {reason}")
    return error


def _message(value: Any, depth: int = 0) -> str | None:
    """The first text under a usual name for messages."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and depth < DEEPEST_MESSAGE:
        return _message(value[0], depth + 1)
    if isinstance(value, dict) and depth < DEEPEST_MESSAGE:
        for name in ("message", "error", "errors", "detail", "error_description", "title", "reason"):
            if name in value and (message := _message(value[name], depth + 1)):
                return message
    return None


def with_etag(response: Response) -> Response:
    """Answers 304 to the live script of an open page if nothing changed."""
    if request.method == "GET" and request.headers.get("X-Live") and response.status_code == 200:
        response.set_etag(hashlib.sha256(response.get_data()).hexdigest()[:32], weak=True)
        response.make_conditional(request)
    return response
