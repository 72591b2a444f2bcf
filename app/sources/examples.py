"""Built-in bodies of sources with fresh ids, for `bridge send` and the dashboard's test events."""

import secrets
import time
from datetime import UTC, datetime
from importlib.resources import files
from importlib.resources.abc import Traversable

from app.errors import ConfigurationError

FORM = "application/x-www-form-urlencoded"
ENDINGS = (".json", ".form.txt", ".multipart.txt")


def has_example(source: str) -> bool:
    return _file_of(source) is not None


def example(source: str) -> tuple[bytes, str]:
    """A built-in body of `source` with fresh ids and the present time, and its content type.

    Raises ConfigurationError where there is none.
    """
    file = _file_of(source)
    if file is None:
        raise ConfigurationError(f"there is no built-in example for {source}: name a FILE with one of its bodies")
    body = file.read_bytes()
    marks = {
        "@ID@": secrets.token_hex(8),
        "@SECONDS@": str(int(time.time())),
        "@ISO@": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    for mark, value in marks.items():
        body = body.replace(mark.encode(), value.encode())
    return body, content_type_of(file.name, body)


def content_type_of(name: str, body: bytes) -> str:
    """.form.txt is form-encoded, .multipart.txt multipart with the boundary of its first line, all else JSON."""
    if name.endswith(".form.txt"):
        return FORM
    if name.endswith(".multipart.txt"):
        boundary = body.split(b"\n", 1)[0].strip().removeprefix(b"--").decode("latin-1")
        return f"multipart/form-data; boundary={boundary}"
    return "application/json"


def _file_of(source: str) -> Traversable | None:
    folder = files("app") / "examples"
    return next((file for ending in ENDINGS if (file := folder / f"{source}{ending}").is_file()), None)
