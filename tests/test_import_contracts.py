"""Every import contract is broken once, in a copy of the code, and must be reported."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONTRACTS = [
    c["name"] for c in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
]

BREAKS = {
    "Nothing in app imports workers": ("app/bootstrap.py", "import workers.retry"),
    "Imports point downwards": ("app/money.py", "import app.ledger.engine"),
    "Formats are pure": ("app/destinations/formats/dub.py", "import app.ledger.engine"),
    "Sources do no I/O": ("app/sources/tally/source.py", "import socket"),
    "Sources do not import each other": ("app/sources/tally/source.py", "import app.sources.typeform.source"),
    "The API imports no page": ("app/web/api/events.py", "import app.web.pages.audit"),
    "Flask stays in app.web": ("app/intake/dry_run.py", "import flask"),
    "SQL stays in app.ledger": ("app/cli/look.py", "import sqlalchemy"),
    "Password hashing stays in app.ledger.access": ("app/cli/look.py", "import argon2"),
    "Authlib stays in app.web.sso": ("app/web/auth.py", "import authlib"),
    "OpenTelemetry stays in app.telemetry": ("app/cli/look.py", "import opentelemetry"),
    "RQ and Redis stay in app.queue and workers": ("app/cli/look.py", "import redis"),
    "Stripe's library stays in app.stripe_api and the Stripe source": ("app/intake/dry_run.py", "import stripe"),
    "HTTP clients stay with what sends": ("app/intake/dry_run.py", "import requests"),
    "click stays in the command line and the worker's entry": ("app/intake/dry_run.py", "import click"),
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code and its contracts, without caches."""
    folder = tmp_path_factory.mktemp("contracts")
    for name in ("app", "workers", "tests/support"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.png"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    # Its console script puts the current folder first on the path, so that the copy is what is read.
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_every_contract_has_a_break() -> None:
    assert sorted(BREAKS) == sorted(CONTRACTS)


def test_all_breaks_at_once_are_reported_by_name(copy: Path) -> None:
    before = lint(copy)
    assert before.returncode == 0, before.stdout
    for file, line in BREAKS.values():
        path = copy / file
        path.write_text(path.read_text() + f"\n{line}\n")
    after = lint(copy)
    assert after.returncode == 1
    for name in CONTRACTS:
        assert f"{name} BROKEN" in after.stdout, after.stdout


def test_a_new_module_of_app_must_be_given_a_layer(copy: Path) -> None:
    (copy / "app" / "stray.py").write_text("")
    assert "stray" in lint(copy).stdout
