"""No process holds the memory of libraries that it does not use."""

import subprocess
import sys

import pytest

WAITS = ("sqlalchemy", "pydantic", "flask", "structlog", "click", "redis", "requests", "stripe")
UNUSED = (
    "psycopg",
    "jwt",
    "cryptography.x509",
    "markdown_it.main",
    "stripe",
    "alembic",
    "phonenumbers.phonenumberutil",
    "opentelemetry.context",
    "smtplib",
    "sqlalchemy.dialects.postgresql",
)
"""Of a ledger on SQLite, until the first page or the first webhook of a source that needs one of them."""


@pytest.mark.parametrize(
    ("module", "unused"),
    [
        ("app.stack.run", WAITS),
        ("app.web.server.serve", WAITS),
        ("app.web.factory", UNUSED),
        ("workers.__main__", (*UNUSED, "werkzeug", "flask")),
    ],
)
def test_no_process_loads_what_it_does_not_use(module: str, unused: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print([name for name in {unused!r} if name in sys.modules])"
    message = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert message.stdout.strip() == "[]"
