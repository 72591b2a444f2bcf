"""Finds possible IDs and addresses in a body that says too little to be counted, so that people can search for it."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl

from pydantic_core import from_json

from app.persons import normal_email
from app.text import storable

LONGEST = 64
DEEPEST = 8
MOST_SEEN = 2000
ADDRESS = re.compile(r"[^\s@<>\"]{1,64}@[^\s@<>\"]{1,190}")
ID = re.compile(r"[^\s/@]*[0-9_][^\s/@]*")


def ids_in(body: bytes, most: int) -> list[str]:
    """Up to `most` addresses and short words with a digit or an underscore, normalized for comparison."""
    ids: dict[str, None] = {}
    for number, text in enumerate(_texts(body)):
        if len(ids) >= most or number >= MOST_SEEN:
            break
        if ADDRESS.fullmatch(text):
            ids[storable(normal_email(text))] = None
        elif 3 <= len(text) <= LONGEST and ID.fullmatch(text):
            ids[storable(text)] = None
    return list(ids)


def _texts(body: bytes) -> Iterator[str]:
    try:
        yield from _scalars(from_json(body), 0)
        return
    except ValueError:
        pass
    try:
        fields = parse_qsl(body.decode(), max_num_fields=MOST_SEEN)
    except ValueError:
        return
    yield from (value.strip() for _, value in fields)


def _scalars(value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        yield value.strip()
    elif isinstance(value, int) and not isinstance(value, bool):
        yield str(value)[: LONGEST + 1]
    elif isinstance(value, dict | list) and depth < DEEPEST:
        for part in value.values() if isinstance(value, dict) else value:
            yield from _scalars(part, depth + 1)
