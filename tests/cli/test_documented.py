"""The documentation names every command and option, and no others; and the glossary has the words that people meet."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from app.cli import main
from app.model import OUTCOMES, STATUSES

DOCS = Path(__file__).parents[2] / "docs"
ROWS = [line for line in (DOCS / "cli.md").read_text("utf-8").splitlines() if line.startswith("| `bridge ")]


def commands(group: click.Group, before: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command that is not a group, with its whole name."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


COMMANDS = dict(commands(main))


def rows_of(name: str) -> list[str]:
    first, *rest = name.split()
    return [row for row in ROWS if re.search(rf"`bridge {first}\b", row) and all(f"{word}" in row for word in rest)]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_its_options_are_documented(name: str) -> None:
    rows = rows_of(name)
    assert rows, f"docs/cli.md has no row for bridge {name}"
    options = [option for parameter in COMMANDS[name].params for option in parameter.opts if option.startswith("--")]
    unnamed = [option for option in options if not any(option in row for row in rows)]
    common = {"--json", "--limit", "--help"}
    assert set(unnamed) <= common | UNDOCUMENTED.get(name, set()), unnamed


UNDOCUMENTED = {
    "stripe-endpoint show": {"--url"},
    "stripe-endpoint sync": {"--enable", "--secret-file"},
    "backfill stripe": {"--account", "--restart"},
    "reconcile stripe": {"--account"},
    "forget": {"--yes"},
}
"""Rarely needed: `--help` describes them."""


def test_no_documented_option_is_unknown() -> None:
    known = {option for command in COMMANDS.values() for parameter in command.params for option in parameter.opts}
    known |= {"--help", "--env-file"}
    for row in ROWS:
        for option in re.findall(r"--[a-z][a-z-]*", row):
            assert option in known, (option, row[:80])


def test_statuses_and_outcomes_are_explained_where_people_look_them_up() -> None:
    conversions, api = (DOCS / "conversions.md").read_text("utf-8"), (DOCS / "api.md").read_text("utf-8")
    for status in STATUSES:
        assert f"| `{status}` |" in conversions, status
    for outcome in OUTCOMES:
        assert f"`{outcome}`" in api, outcome


def test_the_glossary_has_the_words_of_the_pages() -> None:
    glossary = (DOCS / "architecture.md").read_text("utf-8").split("## Glossary")[1]
    words = (
        "source event conversion Sale Lead refund destination format template preset payload delivery attempt ledger person touch"
        " claim nudge hold parked pending duplicate ignored dead unattributed shadow replay discard sweep breaker pause"
    )
    missing = [word for word in words.split() if f"\n| {word} |" not in glossary]
    assert not missing
