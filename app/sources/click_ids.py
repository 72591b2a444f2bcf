"""The one reader of click ids beside the main one (gclid, fbclid, …), for every source: out of named values, and out of the query
parameters of URLs among them."""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from app.model import ClickFields, Rules
from app.sources.field_names import LONGEST_NAME, fold, plain_name
from app.sources.parse import page_parameters, text_of
from app.sources.placeholders import is_placeholder

LONGEST = 1000
"""Bytes of an id: TikTok's have some hundreds."""
GA_CLIENT_ID, GA_COOKIE = "ga_client_id", "_ga"
DECORATED = 1000
"""Behind every name as it was configured go those that a tool put something around."""

Named = Iterable[tuple[str, Any]]


def clicks_in(named: Named, rules: Rules) -> dict[str, str]:
    """By name, the click ids among (name, value) pairs: the first configured field that holds one, and of several values of a
    field the first."""
    fields = _wanted(rules.clicks)
    best: dict[str, tuple[int, str]] = {}
    for field, value in named:
        if not field or len(field) > LONGEST_NAME:
            continue
        for click, rank, configured in fields.get(fold(field)) or fields.get(f"={plain_name(field)}") or ():
            if (click not in best or rank < best[click][0]) and (identity := _id_of(click, configured, value)):
                best[click] = rank, identity
    return {click: identity for click, (_, identity) in best.items()}


def clicks_in_urls(values: Iterable[Any], rules: Rules) -> dict[str, str]:
    """By name, the click ids among the query parameters of those of `values` that are URLs."""
    clicks: dict[str, str] = {}
    for value in values:
        if isinstance(value, str) and "?" in value and value.startswith(("https://", "http://")):
            clicks = {**clicks_in(page_parameters(value).items(), rules), **clicks}
    return clicks


def _id_of(click: str, field: str, value: Any) -> str | None:
    text = text_of(value)
    if text is None or not text.isprintable() or " " in text or len(text.encode("utf-8", "replace")) > LONGEST:
        return None
    if is_placeholder(text):
        return None
    return _client_id(text, field) if click == GA_CLIENT_ID else text


def _client_id(text: str, field: str) -> str | None:
    """123.456 of the cookie GA1.1.123.456. A field called GA that holds something else is not that cookie."""
    parts = text.split(".")[-2:]
    if field == GA_COOKIE and not (len(parts) == 2 and all(part.isascii() and part.isdigit() for part in parts)):
        return None
    return ".".join(parts)


@lru_cache(maxsize=16)
def _wanted(clicks: ClickFields) -> Mapping[str, list[tuple[str, int, str]]]:
    """(click, rank, field) by each form of a field's name."""
    fields: dict[str, list[tuple[str, int, str]]] = {}
    for form, entry in _forms(clicks):
        fields.setdefault(form, []).append(entry)
    return fields


def _forms(clicks: ClickFields) -> Iterator[tuple[str, tuple[str, int, str]]]:
    for click, fields in clicks:
        for rank, field in enumerate(fields):
            yield fold(field), (click, rank, field)
            yield f"={plain_name(field)}", (click, rank + DECORATED, field)
