"""Statements are written once, with ? for each value, as SQLite reads them; psycopg wants %s, and every other % doubled.

A ? or % inside a text literal, a quoted name or a comment is part of the statement and is never a placeholder.
"""

import re
from functools import lru_cache

_PARTS = re.compile(
    r"""(?P<kept> '(?:[^']|'')*' | "(?:[^"]|"")*" | --[^\n]* | /\*.*?\*/ )  # literal, quoted name, comments
      | (?P<value> \? )
      | (?P<percent> % )""",
    re.VERBOSE | re.DOTALL,
)


@lru_cache(maxsize=2048)
def to_psycopg(statement: str) -> str:
    """`statement` with psycopg's placeholders. Always execute it with its values, even an empty tuple: without values, psycopg
    parses no placeholders and leaves %% as it is."""
    return _PARTS.sub(_translated, statement)


def _translated(part: re.Match[str]) -> str:
    if part["value"]:
        return "%s"
    return part[0].replace("%", "%%")
