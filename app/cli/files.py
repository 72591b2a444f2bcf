"""Options of commands that take bodies in files."""

from collections.abc import Sequence

import click


def headers_of(lines: Sequence[str]) -> dict[str, str]:
    """-H 'Name: value' options as a dict with lower-case names. Raises click.BadParameter."""
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise click.BadParameter(f"{line!r} is not 'Name: value'", param_hint="-H")
        headers[name.strip().lower()] = value.strip()
    return headers
