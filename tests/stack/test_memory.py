"""What lives beside web and worker and does nothing but wait must not hold the memory of either."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["app.stack.run", "app.web.server.serve"])
def test_what_only_waits_loads_next_to_nothing(module: str) -> None:
    heavy = ("sqlalchemy", "pydantic", "flask", "structlog", "click", "redis", "requests", "stripe")
    code = f"import sys, {module}; print([name for name in {heavy!r} if name in sys.modules])"
    message = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert message.stdout.strip() == "[]"
