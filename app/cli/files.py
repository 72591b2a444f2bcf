"""Bodies in files: what their names say of their content type."""

from collections.abc import Sequence
from pathlib import Path

import click

FORM = "application/x-www-form-urlencoded"


def content_type_of(path: Path, body: bytes) -> str:
    """.form.txt is form-encoded, .multipart.txt multipart with the boundary of its first line, all else JSON."""
    if path.name.endswith(".form.txt"):
        return FORM
    if path.name.endswith(".multipart.txt"):
        boundary = body.split(b"\n", 1)[0].strip().removeprefix(b"--").decode("latin-1")
        return f"multipart/form-data; boundary={boundary}"
    return "application/json"


def headers_of(lines: Sequence[str]) -> dict[str, str]:
    """-H 'Name: value' options as a dict with lower-case names. Raises click.BadParameter."""
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise click.BadParameter(f"{line!r} is not 'Name: value'", param_hint="-H")
        headers[name.strip().lower()] = value.strip()
    return headers
