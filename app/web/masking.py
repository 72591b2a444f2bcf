"""Mask addresses on the pages of a read-only viewer."""

import html
import re
from urllib.parse import unquote

from flask import Response, request

from app.persons import normal_email

# Words, and those of them that an address's @ follows, as they stand in text, in HTML (&#64;), in a URL or form (%40) or in
# JSON (\u0040). Possessive, and words without an @ are taken too, so that a megabyte costs no more than reading it.
LETTER = r"(?:[\w.+~!#$*'-]|%(?:2[1347ABab]|7[Ee]|[89A-Fa-f][0-9A-Fa-f])|&#39;|\\u(?!0040)[0-9A-Fa-f]{4})"

ADDRESS = re.compile(rf"({LETTER}){LETTER}*+(?:(@|%40|&#64;|\\u0040)([\w-][\w.-]*))?")

AT = re.compile(r"@|%40|&#64;|\\u0040")

MASKED_TYPES = ("text/html", "text/csv", "application/json")


def masked(response: Response, *, is_viewer: bool) -> Response:
    """For a read-only login, every e-mail address keeps its first letter and its domain, wherever it stands; all but the one
    that they searched for, which they know (and which the links to the next page must carry)."""
    if is_viewer and response.mimetype in MASKED_TYPES and not response.direct_passthrough and not response.is_streamed:
        response.set_data(mask(response.get_data(as_text=True), request.args.get("q", "")))
    return response


def mask(text: str, known: str = "") -> str:
    """known: an address that is left as it is."""
    spared = normal_email(known)

    def hidden(found: re.Match[str]) -> str:
        first, at, domain = found.groups()
        if at is None or (spared and _spelt_out(found[0]) == spared):
            return found[0]
        return f"{first if len(first) == 1 else ''}•••{at}{domain}"

    return ADDRESS.sub(hidden, text) if AT.search(text) else text


def _spelt_out(address: str) -> str:
    return normal_email(unquote(html.unescape(address.replace("\\u0040", "@"))).rstrip("."))
