"""Every command that the documentation shows exists, with the options shown; those of the runbook that change nothing are run."""

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from app.cli import main
from app.config.settings import Settings
from app.ledger.tables import metadata

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
INLINE = re.compile(r"`((?:\.venv/bin/)?bridge [^`]+)`")
BLOCK = re.compile(r"^(?:\$ )?((?:\.venv/bin/)?bridge (?!recognizes)[a-z].*)$", re.M)
SYNOPSIS = re.compile(r"[\[(|…]|\b(FILE|NAME|DEST|TEXT|PERSON|SOURCE|TIME|URL)\b")
"""A form to fill in, and no command: docs/cli.md is compared with the commands elsewhere."""
CHANGING = (
    "reload",
    "resume",
    "quarantine verify",
    "backfill",
    "reconcile",
    "replay",
    "restore",
    "db upgrade",
    "forget",
    "alert-test",
    "stripe-endpoint",
)
LEFT_OUT = ("map", "up")
"""The first reads a file that the reader has; the second runs until it is stopped, and has tests of its own."""


def commands_in(page: Path) -> Iterator[str]:
    text = page.read_text("utf-8")
    for line in (*INLINE.findall(text), *BLOCK.findall(text)):
        command = line.removeprefix(".venv/bin/").partition("    #")[0].partition("     #")[0].strip()
        if not SYNOPSIS.search(command):
            yield command


COMMANDS = {(page.relative_to(ROOT).as_posix(), command) for page in PAGES for command in commands_in(page)}


def parse(words: list[str]) -> None:
    """Raises UsageError for a command, option or argument that does not exist. Runs nothing."""
    command: click.Command = main
    context = click.Context(main, info_name="bridge")
    while isinstance(command, click.Group) and words:
        name, words = words[0], words[1:]
        found = command.get_command(context, name)
        if found is None:
            raise click.UsageError(f"there is no command {name}")
        command = found
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            parameter.required = False  # `bridge map` as a name of the command
    _, left, _ = command.make_parser(click.Context(command)).parse_args(list(words))
    if left:
        raise click.UsageError(f"{command.name} takes no argument {left[0]}")


def test_the_pages_show_commands() -> None:
    assert len(COMMANDS) > 60
    assert ("README.md", "bridge send stripe --duplicate 3") in COMMANDS
    assert ("docs/runbook.md", "bridge doctor") in COMMANDS


@pytest.mark.parametrize(("page", "command"), sorted(COMMANDS))
def test_every_command_that_a_page_shows_exists(page: str, command: str) -> None:
    parse(shlex.split(command)[1:])


def test_a_command_that_does_not_exist_is_found() -> None:
    for wrong in ("bridge replya", "bridge replay --stauts dead", "bridge db upgarde", "bridge up now"):
        with pytest.raises(click.UsageError):
            parse(shlex.split(wrong)[1:])


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
        return CliRunner().invoke(main, shlex.split(command)[1:], input="")

    assert run("bridge db upgrade").exit_code == 0
    shown = {command for page, command in COMMANDS if page == "docs/runbook.md"}
    tried = {c for c in shown if not c.removeprefix("bridge ").startswith((*CHANGING, *LEFT_OUT))}
    assert {"bridge status", "bridge deliveries --status dead", "bridge prune --dry-run", "bridge parked list"} <= tried
    for command in sorted(tried):
        result = run(command)
        problem = result.exception
        assert problem is None or isinstance(problem, SystemExit), f"{command}: {problem!r}"
        assert result.exit_code in (0, 1), f"{command}: {result.output}"


def test_the_page_on_privacy_names_every_table() -> None:
    named = set(re.findall(r"`([a-z_]+)`", (ROOT / "docs/privacy.md").read_text("utf-8")))
    assert set(metadata.tables) <= named
