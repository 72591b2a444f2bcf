"""The commands of the runbook that change nothing are run, and the page on privacy names every table."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

from click.testing import CliRunner, Result

from app.cli import main
from app.config.settings import Settings
from app.ledger.tables import metadata
from tests.cli.test_doctor import commands, shown_on

DOCS = Path(__file__).parents[2] / "docs"
CHANGING = (
    "reload", "resume", "quarantine verify", "backfill", "reconcile", "replay", "restore", "db upgrade", "forget", "alert-test",
    "stripe-endpoint",
)  # fmt: skip
LEFT_OUT = ("map", "up")
"""The first reads a file that the reader has; the second runs until it is stopped, and has tests of its own."""


def test_the_runbook_s_commands_that_change_nothing_run(
    make_settings: Callable[..., Settings], ledger_url: str, tmp_path: Path
) -> None:
    make_settings(
        DATABASE_URL=ledger_url,
        DESTINATION_URL="http://127.0.0.1:9",
        DESTINATION_TOKEN="a-token-of-the-api",
        DESTINATION_ALLOW_PRIVATE="1",
    )

    def run(command: str) -> Result:
        return CliRunner().invoke(main, shlex.split(command), input="")

    assert run("db upgrade").exit_code == 0
    shown = commands(shown_on(DOCS / "runbook.md"))
    tried = {command for command in shown if not command.startswith((*CHANGING, *LEFT_OUT))}
    assert {"status", "doctor", "deliveries --status dead", "prune --dry-run", "parked list"} <= tried
    for command in sorted(tried):
        result = run(command)
        problem = result.exception
        assert problem is None or isinstance(problem, SystemExit), f"{command}: {problem!r}"
        assert result.exit_code in (0, 1), f"{command}: {result.output}"


def test_the_page_on_privacy_names_every_table() -> None:
    named = set(re.findall(r"`([a-z_]+)`", (DOCS / "privacy.md").read_text("utf-8")))
    assert set(metadata.tables) <= named
