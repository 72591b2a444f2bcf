"""Built-in bodies of sources with fresh ids, for `bridge send` and the dashboard's test events."""

import secrets
import time
from datetime import UTC, datetime
from importlib.resources import files

from app.errors import ConfigurationError


def has_example(source: str) -> bool:
    return (files("app") / "examples" / f"{source}.json").is_file()


def example_body(source: str) -> bytes:
    """A built-in body of `source` with fresh ids and the present time. Raises ConfigurationError where there is none."""
    if not has_example(source):
        raise ConfigurationError(f"there is no built-in example for {source}: name a FILE with one of its bodies")
    text = (files("app") / "examples" / f"{source}.json").read_text(encoding="utf-8")
    marks = {
        "@ID@": secrets.token_hex(8),
        "@SECONDS@": str(int(time.time())),
        "@ISO@": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    for mark, value in marks.items():
        text = text.replace(mark, value)
    return text.encode()
