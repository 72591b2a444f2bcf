"""Form-encoded, multipart and JSON bodies to one plain dict, with a bound on everything.

Whatever the bytes hold, the only failure is MalformedEvent.
"""

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl

from app.errors import MalformedEvent
from app.model import Inbound
from app.sources.parse import parse_json

MOST_FIELDS = 1000
LONGEST_KEY = 300
DEEPEST_KEY = 8
BRACKETS = re.compile(r"\[([^\[\]]*)\]")
BRACKET_KEY = re.compile(r"\w+(\[[^\[\]]*\])+")
"""A form's key, which relays that turn a form into JSON keep as it was: fields[email][value]."""

TWICE = "the form has a field twice, or one with an endless name"

Pairs = Sequence[tuple[str, Any]]


def dict_of(value: Any) -> dict[str, Any]:
    """`value` if it is an object, else {}."""
    return value if isinstance(value, dict) else {}


def list_of(value: Any) -> list[Any]:
    """`value` if it is a list, else []."""
    return value if isinstance(value, list) else []


def read_body(inbound: Inbound) -> dict[str, Any]:
    """The body as one object, by its content type; a body that looks like JSON is read as JSON whatever the header says,
    since several tools post JSON as text/plain. Bracket keys (fields[email][value]) become nested objects."""
    kind = inbound.content_type.partition(";")[0].strip().casefold()
    if kind == "multipart/form-data":
        return nested(multipart_pairs(inbound.body, inbound.content_type))
    if kind == "application/x-www-form-urlencoded" and inbound.body.lstrip()[:1] != b"{":
        return nested(form_pairs(inbound.body))
    body = json_dict(inbound.body)
    return nested(list(body.items())) if any(BRACKET_KEY.fullmatch(key) for key in body) else body


def json_dict(body: bytes) -> dict[str, Any]:
    """The object in `body`, also where it comes as a JSON text inside a JSON string."""
    value = parse_json(body)
    if isinstance(value, str) and value.lstrip()[:1] == "{":
        value = parse_json(value.encode("utf-8", "replace"))
    if not isinstance(value, dict):
        raise MalformedEvent("the body is JSON but no object")
    return value


def json_in(value: Any) -> Any:
    """The JSON inside a text value (Jotform's rawRequest, Wufoo's FieldStructure); None if it holds none."""
    if not isinstance(value, str):
        return value if isinstance(value, dict | list) else None
    try:
        return parse_json(value.encode("utf-8", "replace"))
    except MalformedEvent:
        return None


def form_pairs(body: bytes) -> Pairs:
    """The pairs of an application/x-www-form-urlencoded body, in order; blank values are kept."""
    if not body.strip():
        raise MalformedEvent("the body is empty")
    try:
        text = body.decode("utf-8").strip()
    except UnicodeDecodeError:
        raise MalformedEvent("the body is not UTF-8") from None
    try:
        return parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="replace")
    except ValueError:
        raise MalformedEvent(f"the form has more than {MOST_FIELDS} fields or cannot be read") from None


def multipart_pairs(body: bytes, content_type: str) -> Pairs:
    """The text fields of a multipart/form-data body, in order; the contents of uploaded files are left out."""
    # Workers, which know the sources and read no bodies, do without this library.
    from werkzeug.exceptions import HTTPException
    from werkzeug.http import parse_options_header
    from werkzeug.sansio.multipart import Data, Epilogue, File, MultipartDecoder, NeedData
    from werkzeug.sansio.multipart import Field as Part

    boundary = parse_options_header(content_type)[1].get("boundary", "")
    if not boundary or len(boundary) > 200 or not boundary.isascii():
        raise MalformedEvent("the multipart body's boundary is missing or unreadable")
    decoder = MultipartDecoder(boundary.encode(), max_parts=MOST_FIELDS)
    pairs: list[tuple[str, str]] = []
    name: str | None = None
    content = b""
    try:
        decoder.receive_data(body)
        decoder.receive_data(None)
        while not isinstance(event := decoder.next_event(), Epilogue | NeedData):
            if isinstance(event, Part):
                name, content = event.name, b""
            elif isinstance(event, File):
                name = None
            elif isinstance(event, Data) and name is not None:
                content += event.data
                if not event.more_data:
                    pairs.append((name, content.decode("utf-8", "replace")))
    except (ValueError, LookupError, TypeError, HTTPException):
        raise MalformedEvent("the multipart body cannot be read") from None
    if not pairs:
        raise MalformedEvent("the multipart body holds no fields")
    return pairs


def nested(pairs: Pairs) -> dict[str, Any]:
    """Pairs as one object: `a[b][c]=1` is {"a": {"b": {"c": "1"}}}, and a key that comes again (or `a[]`) is a list.
    A key that would be both a value and an object keeps its literal spelling."""
    nest: dict[str, Any] = {}
    for key, value in pairs:
        if len(key) > LONGEST_KEY:
            continue
        path = _path_of(key)
        target = nest
        for step in path[:-1]:
            below = target.setdefault(step, {})
            if not isinstance(below, dict):
                target, path = nest, [key]
                break
            target = below
        last = path[-1]
        present = target.get(last)
        if isinstance(present, dict):
            target, last = nest, key
            present = nest.get(key)
        if present is None:
            target[last] = value
        elif isinstance(present, list):
            present.append(value)
        elif isinstance(present, dict):
            continue
        else:
            target[last] = [present, value]
    return nest


def nested_once(pairs: Pairs) -> dict[str, Any]:
    """Like `nested`, where each field comes once: no other pairs, in their order, give the same object. Only `a[]` may repeat.
    Raises MalformedEvent."""
    nest: dict[str, Any] = {}
    for key, value in pairs:
        path = _path_of(key)
        target, last, is_list = nest, path[-1], key.endswith("[]") and path != [key]
        for step in path[:-1]:
            target = target.setdefault(step, {})
            if not isinstance(target, dict):
                raise MalformedEvent(TWICE)
        present = target.setdefault(last, []) if is_list else target.get(last)
        if is_list and isinstance(present, list):
            present.append(value)
        elif is_list or last in target or len(key) > LONGEST_KEY:
            raise MalformedEvent(TWICE)
        else:
            target[last] = value
    return nest


def _path_of(key: str) -> list[str]:
    head, bracket, _ = key.partition("[")
    if not bracket or not head or not key.endswith("]"):
        return [key]
    steps = BRACKETS.findall(key[len(head) :])
    if "".join(f"[{step}]" for step in steps) != key[len(head) :] or len(steps) >= DEEPEST_KEY:
        return [key]
    return [head, *(step for step in steps if step)]
