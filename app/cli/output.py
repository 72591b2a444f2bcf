"""What commands print: text from elsewhere (a destination's answer, an e-mail address) cannot steer the terminal."""

import json
import sys
from collections.abc import Iterable

import click

from app.text import UNPRINTABLE, printable


def say(text: str, *, err: bool = False, bold: bool = False, colour: str | None = None, newline: bool = True) -> None:
    """One line for people or pipes."""
    click.secho(printable(text), err=err, bold=bold or None, fg=colour, nl=newline)


def say_json(value: object) -> None:
    """`value` as JSON, in one line."""
    say_pieces([json.dumps(value, ensure_ascii=False), "\n"])


def say_pieces(pieces: Iterable[str]) -> None:
    """JSON text that comes in pieces."""
    for piece in pieces:
        lines = piece.split("\n")
        click.echo("\n".join(line if line.isprintable() else _escaped(line) for line in lines), nl=False)


def _escaped(text: str) -> str:
    return UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def say_over(text: str) -> None:
    """On a terminal: in place of the line that was said before."""
    click.echo(f"\r{printable(text)}\033[K", nl=False, err=True)


def is_asking() -> bool:
    """Whether somebody is there to answer a question."""
    return sys.stdin.isatty()
