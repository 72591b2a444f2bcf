"""Runs the code of a released version on a ledger that this one upgraded: tests/ledger/released/vX.Y.Z.tar.xz has it.

An archive, and not `git worktree`, since a clone may have neither tags nor history. Make it for each release:

    git archive --format=tar vX.Y.Z app workers pyproject.toml | xz -9e > tests/ledger/released/vX.Y.Z.tar.xz
"""

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

from tests.support.released_ledgers import FOLDER, VARIABLES

DRIVER = """
import json, sys, threading
from app.destination import destinations_of
from app.ledger.engine import Ledger
from app.ledger.schema import HEAD, check_schema, upgrade
from app.settings import load_settings
from app.web.factory import create_app
from workers.forward import Forwarder

asked = json.load(sys.stdin)
settings = load_settings()
ledger = Ledger(asked["url"])
check_schema(ledger)
upgrade(ledger)  # as its Procfile does before each start
app = create_app(settings, ledger)
web = app.test_client()
statuses = [
    web.post("/webhooks/stripe", data=one["data"], headers=one["headers"]).status_code for one in asked["webhooks"]
]
web.post("/login", data={"password": settings.dashboard_password.get_secret_value()})
pages = [web.get(path).status_code for path in ("/readyz", "/metrics", "/deliveries", "/events")]
forwarder = Forwarder(ledger, destinations_of(settings), settings.schedule_seconds, 0, threading.Event())
forwarder.begin()
made = forwarder.run(lambda: None)
app.extensions["writer"].stop()
print(json.dumps({"head": HEAD, "statuses": statuses, "pages": pages, "attempts": made}))
"""


def versions() -> list[str]:
    """The released versions whose code is kept."""
    return sorted(path.name.removesuffix(".tar.xz") for path in FOLDER.glob("v*.tar.xz"))


def run(version: str, folder: Path, url: str, destination_url: str, webhooks: list[dict[str, Any]]) -> dict[str, Any]:
    """Starts `version` on the ledger at `url`, posts `webhooks`, and forwards what is due. What came of it."""
    with tarfile.open(FOLDER / f"{version}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    asked = {
        "url": url,
        "webhooks": [{"data": one["data"].decode(), "headers": one["headers"]} for one in webhooks],
    }
    environment = {**os.environ, **VARIABLES, "DATABASE_URL": url, "DESTINATION_URL": destination_url}
    environment |= {"PYTHONPATH": str(folder), "BRIDGE_HOME": str(folder / "var"), "BRIDGE_CONFIG": os.devnull}
    command = [sys.executable, "-P", "-c", DRIVER]
    done = subprocess.run(
        command, env=environment, cwd=folder, input=json.dumps(asked), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
