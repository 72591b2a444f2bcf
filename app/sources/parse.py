"""Bytes from outside to plain values, with a bound on everything. What cannot be read is a MalformedEvent."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pydantic_core import from_json

from app.errors import MalformedEvent
from app.sources.field_names import first_named, keep_named
from app.sources.placeholders import MARKS, TEMPLATE, is_placeholder

EMAIL = re.compile(r"[^@\s<>\"(),:;\\]+@[^@\s<>\"(),:;\\]+\.[^@\s<>\"(),:;\\.]+")
SURROGATES = re.compile("[\ud800-\udfff]")
INVISIBLE = "\u00ad\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff"
"""Characters with no width that come along when a phone number or an address is pasted."""
NULLS = frozenset(("", "null", "none", "undefined"))
LONGEST_NULL = max(map(len, NULLS))
DATE = re.compile(r"(?:19|20)[0-9]{6}")
"""20261101: as Unix time, it would be a day of 1970."""
ZONE_APART = re.compile(r"\s+(?:UTC|GMT|Z|([+-][0-9]{2}:?[0-9]{2}))$", re.IGNORECASE)
YEAR_2100 = 4102444800
DEEPEST = 200
LONGEST_ID = 255
LONGEST_URL = 4000
MOST_PARAMETERS = 100


def parse_json(body: bytes) -> Any:
    """The JSON value in `body`. Raises MalformedEvent for an empty body, bytes that are not UTF-8 or not JSON, NaN, or nesting
    beyond what a reader bears. A lone surrogate (half an emoji, cut off by somebody's script) becomes U+FFFD."""
    if not body:
        raise MalformedEvent("the body is empty")
    try:
        return from_json(body, allow_inf_nan=False, cache_strings="keys")  # values hardly repeat
    except (ValueError, RecursionError):
        return _parse_slowly(body)


def _parse_slowly(body: bytes) -> Any:
    """What the strict parser refuses may still be JSON: escaped lone surrogates, a byte order mark."""
    try:
        value = json.loads(body.decode("utf-8-sig"), parse_constant=_refuse_constant)
        return _mend(value, 0)
    except UnicodeDecodeError:
        raise MalformedEvent("the body is not UTF-8") from None
    except RecursionError:
        raise MalformedEvent("the body is nested too deeply") from None
    except ValueError:
        raise MalformedEvent("the body is not JSON") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _mend(value: Any, depth: int) -> Any:
    if depth > DEEPEST:
        raise RecursionError
    if isinstance(value, str):
        return SURROGATES.sub("\ufffd", value)
    if isinstance(value, list):
        return [_mend(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {SURROGATES.sub("\ufffd", key): _mend(item, depth + 1) for key, item in value.items()}
    return value


def json_object(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`; MalformedEvent where it is another kind of value."""
    value = parse_json(body)
    if not isinstance(value, dict):
        raise MalformedEvent("the body is JSON but no object")
    return value


def text_of(value: object) -> str | None:
    """A scalar as stripped text, with no control characters; None for empty, null, "null", containers and booleans."""
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, str):
        text = value.strip()
    elif isinstance(value, int | float):
        text = str(value)
    else:
        return None
    if not text.isprintable():
        text = text.replace("\x00", "").replace("\x01", "").strip(INVISIBLE + " \t\r\n")
    if len(text) <= LONGEST_NULL and text.casefold() in NULLS:
        return None
    return text


def identifier_of(value: object) -> str | None:
    """The id in `value`, of whatever it is: a click, a customer, a submission, an order. None if it is longer than any id, holds
    white space or control characters, or is a placeholder (app/sources/placeholders.py)."""
    text = text_of(value)
    if (
        text is None or len(text) > LONGEST_ID or not text.isprintable() or " " in text
    ):  # other spaces are not printable
        return None
    return None if is_placeholder(text) else text


def email_of(value: object) -> str | None:
    """The e-mail address in `value`, as written; None if it does not look like one."""
    text = text_of(value)
    if text and not text.isprintable():
        text = "".join(c for c in text if c not in INVISIBLE)
    return text if text and len(text) <= 320 and EMAIL.fullmatch(text) and not _is_template(text) else None


def _is_template(email: str) -> bool:
    """Whether what passes for an address is a template that was not filled. Such a one has a sign besides its @."""
    return MARKS.search(email.replace("@", "", 1)) is not None and TEMPLATE.fullmatch(email) is not None


def pick(values: Mapping[str, Any], names: Iterable[str]) -> str | None:
    """The id under the first of `names` that has one in `values`. Names are compared as in forms (app/sources/field_names.py)."""
    return first_named(ids_by_name(values), names)


def ids_by_name(values: Mapping[str, Any]) -> dict[str, str]:
    """The ids in `values`, as `first_named` reads them."""
    named: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(key, str) and (identity := identifier_of(value)):
            keep_named(named, key, identity)
    return named


def page_parameters(url: object) -> dict[str, str]:
    """The query parameters of the page that a form was on; {} where `url` is none."""
    text = text_of(url)
    if not text or len(text) > LONGEST_URL or "?" not in text:
        return {}
    try:
        return dict(parse_qsl(urlsplit(text).query, max_num_fields=MOST_PARAMETERS, errors="replace"))
    except ValueError:
        return {}


def from_unix(value: object) -> datetime | None:
    """Unix seconds (by size also milliseconds, microseconds or nanoseconds) to an aware UTC time; None for anything that is not a
    plausible time."""
    if value is None or isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not 0 < value < YEAR_2100 * 10**9:
        return None
    unit = next((unit for unit in (10**9, 10**6, 10**3) if value > unit * 10**8), 1)
    return datetime.fromtimestamp(value / unit, UTC) if value < YEAR_2100 * unit else None


def from_iso(value: object, *, assume_utc: bool = False) -> datetime | None:
    """ISO 8601 (also "2026-03-02 08:15:30 UTC", "… +0100", and nine decimals) to an aware UTC time. Without a zone: None, or UTC
    where the provider fixes it (`assume_utc`). Zero dates (0001-01-01) are None."""
    text = text_of(value)
    if text is None or len(text) > 40:
        return None
    text = ZONE_APART.sub(lambda zone: zone[1] or "Z", re.sub(r"(\.\d{6})\d+", r"\1", text))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        if not assume_utc:
            return None
        moment = moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC) if 1970 < moment.year < 2100 else None


def from_unix_or_iso(value: object) -> datetime | None:
    """Unix time of any unit, also written as text, else ISO 8601 with a zone."""
    text = text_of(value)
    is_unix = text and text.isascii() and text.isdigit() and len(text) <= 19 and not DATE.fullmatch(text)
    return from_unix(int(text)) if text and is_unix else from_iso(text)


def body_hash(body: bytes) -> str:
    """An id for an event that has none: the same bytes are the same event."""
    return "sha256-" + hashlib.sha256(body).hexdigest()[:40]
