"""What a request asks for: query parameters and JSON bodies, each read strictly. What means nothing is 422 and named."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from flask import request
from werkzeug.exceptions import UnprocessableEntity, UnsupportedMediaType

from app.ledger.reading import filters
from app.ledger.reading.filters import EventFilter
from app.model import OUTCOMES, STATUSES
from app.text import storable
from app.times import read_since

LARGEST_PAGE = 500
LONGEST_TEXT = 512
NAME = re.compile(r"[a-z0-9_-]{1,100}")
FILTER = ("status", "source", "kind", "destination", "code", "since", "until", "q")
EVENTS_FILTER = ("outcome", "source", "destination", "since", "until", "q")


def one_of(name: str, allowed: tuple[str, ...]) -> str | None:
    """A query parameter that must be one of `allowed` where it is given. Raises UnprocessableEntity."""
    value = request.args.get(name)
    if value is not None and value not in allowed:
        raise UnprocessableEntity(f"{name} must be one of {', '.join(allowed)}")
    return value


def number(name: str) -> int | None:
    """A query parameter that must be a whole number from 1 up where it is given. Raises UnprocessableEntity."""
    value = request.args.get(name)
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) <= 19 and 0 < int(value) < 2**62):
        raise UnprocessableEntity(f"{name} must be a whole number from 1 to {2**62 - 1}")
    return int(value)


def page_size() -> int:
    """The query parameter `limit`: 100 where it is not given, 500 at most."""
    return min(number("limit") or 100, LARGEST_PAGE)


def only(*names: str) -> None:
    """Raises UnprocessableEntity for a query parameter of another name, which would else be a filter that filters nothing."""
    unknown = sorted(set(request.args) - set(names))
    if unknown:
        known = f"known are {', '.join(names)}" if names else "there are none here"
        raise UnprocessableEntity(f"unknown parameter {storable(unknown[0])[:100]}: {known}")


def json_object(*names: str) -> dict[str, Any]:
    """The body: a JSON object with no other fields than `names`. Raises UnprocessableEntity or UnsupportedMediaType."""
    body = request.get_data()
    if request.mimetype and request.mimetype != "application/json" and body:
        raise UnsupportedMediaType("send JSON, with Content-Type: application/json")
    try:
        found = json.loads(body, parse_constant=_no_number) if body else None
    except (ValueError, RecursionError):
        raise UnprocessableEntity("the body is not JSON") from None
    if not isinstance(found, dict):
        raise UnprocessableEntity(f"send a JSON object with {', '.join(names)}")
    for name, value in found.items():
        if value is None and name in names:
            raise UnprocessableEntity(f"{name} is null: leave it out")
    unknown = sorted(set(found) - set(names))
    if unknown:
        raise UnprocessableEntity(f"unknown field {storable(unknown[0])[:100]}: known are {', '.join(names)}")
    return found


def filter_of(given: Mapping[str, Any], statuses: tuple[str, ...] = STATUSES) -> filters.Filter:
    """The fields of FILTER, of a query or a body, as a filter of deliveries. Raises UnprocessableEntity."""
    status, kind, code = given.get("status"), given.get("kind"), given.get("code")
    if isinstance(code, str):  # of a query
        code = int(code) if re.fullmatch("[1-5][0-9]{2}", code) else 0
    if status is not None and status not in statuses:
        raise UnprocessableEntity(f"status must be one of {', '.join(statuses)}")
    if kind is not None and kind not in filters.KINDS:
        raise UnprocessableEntity("kind must be sale or lead")
    return filters.Filter(
        statuses=(status,) if status else statuses,
        source=name_in(given, "source"),
        kind=kind,
        destination=name_in(given, "destination"),
        code=whole_in({"code": code}, "code", 100, 599),
        since=time_in(given, "since"),
        until=time_in(given, "until"),
        text=text_in(given, "q") or "",
    )


def events_asked(given: Mapping[str, Any]) -> EventFilter:
    """The fields of EVENTS_FILTER, of a query, as a filter of events. Raises UnprocessableEntity."""
    outcome = given.get("outcome")
    if outcome is not None and outcome not in OUTCOMES:
        raise UnprocessableEntity(f"outcome must be one of {', '.join(OUTCOMES)}")
    return EventFilter(
        outcome=outcome,
        source=name_in(given, "source"),
        destination=name_in(given, "destination"),
        since=time_in(given, "since"),
        until=time_in(given, "until"),
        text=text_in(given, "q") or "",
    )


def filled(names: Iterable[str]) -> dict[str, str]:
    """Those of these query parameters that were filled in: a form sends all of its fields."""
    return {name: value for name in names if (value := storable(request.args.get(name, "").strip()))}


def whole_in(given: Mapping[str, Any], name: str, least: int, most: int) -> int | None:
    """A whole number of a body (JSON knows no difference between 7 and 7.0). Raises UnprocessableEntity."""
    value = given.get(name)
    if value is None:
        return None
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or value != value // 1
        or not least <= value <= most
    ):
        raise UnprocessableEntity(f"{name} must be a whole number from {least} to {most}")
    return int(value)


def name_in(given: Mapping[str, Any], name: str) -> str | None:
    """A source's or destination's name. Raises UnprocessableEntity."""
    value = given.get(name)
    if value is not None and not (isinstance(value, str) and NAME.fullmatch(value)):
        raise UnprocessableEntity(f"{name} must be a name of a-z, 0-9, - and _")
    return value


def time_in(given: Mapping[str, Any], name: str) -> int | None:
    """A time as people type it, in ms. Raises UnprocessableEntity."""
    value = given.get(name)
    try:
        return read_since(value) if value is not None else None
    except (ValueError, OverflowError) as error:
        raise UnprocessableEntity(f"{name}: {error}") from None


def text_in(given: Mapping[str, Any], name: str) -> str | None:
    """Text of at most 512 characters, none of them a control character. Raises UnprocessableEntity."""
    value = given.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_TEXT:
        raise UnprocessableEntity(f"{name} must be text of 1 to {LONGEST_TEXT} characters")
    return storable(value)


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is not JSON")
