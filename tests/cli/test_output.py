"""What commands print cannot steer a terminal, wherever the text comes from."""

import ast
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from app.cli.output import say, say_json
from app.cli.table import print_table
from app.config.settings import Settings
from app.ledger.engine import Ledger
from app.text import printable
from app.web.factory import create_app
from tests.support.makers import checkout, settle, signed

ROOT = Path(__file__).parents[2]
STEERING = [
    "\x1b[2J",
    "\x1b]0;title\x07",
    "\r\nforged line",
    "\x9b31m",
    "\x08\x08",
    "\x7f",
    "\u202ereversed",
    "\u2066",
    "\u2028",
    "\u200b",
    "\ufeff",
    "\x00",
]
STEERS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")


@pytest.mark.parametrize("text", STEERING)
def test_characters_that_steer_a_terminal_are_written_out(capsys: pytest.CaptureFixture[str], text: str) -> None:
    say(f"answered 500: {text}")
    print_table(("id", "error"), [("1", f"x{text}"), ("2", "fine")])
    say_json({"error": text})
    shown = capsys.readouterr().out
    assert not STEERS.search(shown)
    lines = shown.splitlines()
    assert len(lines) == 5
    assert json.loads(lines[-1]) == {"error": text}


@pytest.mark.parametrize("text", ["plain", "naïve – “ü” €", "日本語", "👍", "שלום"])
def test_other_characters_are_shown_as_they_are(text: str) -> None:
    assert printable(text) == text


def test_every_command_prints_through_one_place() -> None:
    found = []
    for path in (ROOT / "app" / "cli").glob("*.py"):
        if path.name == "output.py":
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in ("echo", "secho", "echo_via_pager"):
                found.append(f"{path.name}:{node.lineno}")
            if isinstance(node, ast.Name) and node.id == "print":
                found.append(f"{path.name}:{node.lineno}")
    assert found == []


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_what_a_destination_answers_does_not_steer_the_terminal(
    bridge: Callable[..., Result], make_settings: Callable[..., Settings], ledger: Ledger, ledger_url: str
) -> None:
    app = create_app(make_settings(), ledger)
    app.test_client().post("/webhooks/stripe", **signed(checkout(1)))
    app.extensions["writer"].stop()
    settle(ledger, "permanent", status=500, error="answered 500 \x1b[2J\x1b]0;owned\x07")
    for arguments in (("deliveries",), ("deliveries", "--json")):
        shown = bridge(*arguments, DATABASE_URL=ledger_url).stdout
        assert "owned" in shown
        assert not STEERS.search(shown)
