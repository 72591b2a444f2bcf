"""What commands print: text from elsewhere (a destination's answer, an e-mail address) cannot steer the terminal."""

import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

import click

from app.text import UNPRINTABLE, printable


def say(text: str, *, err: bool = False, bold: bool = False, colour: str | None = None, newline: bool = True) -> None:
    """One line for people or pipes."""
    with _writing():
        click.secho(printable(text), err=err, bold=bold or None, fg=colour, nl=newline)


def say_json(value: object) -> None:
    """`value` as JSON, in one line."""
    say_pieces([json.dumps(value, ensure_ascii=False), "\n"])


def say_pieces(pieces: Iterable[str]) -> None:
    """JSON text that comes in pieces."""
    for piece in pieces:
        lines = piece.split("\n")
        text = "\n".join(line if line.isprintable() else _escaped(line) for line in lines)
        with _writing():
            click.echo(text, nl=False)


@contextmanager
def _writing() -> Iterator[None]:
    """Names what prevents the output, such as a full disk. A reader that has gone, such as `head`, stays a BrokenPipeError."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        with suppress(OSError):  # what is still in the buffer cannot be written at the end either
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise click.ClickException(f"the output cannot be written: {error.strerror}") from error


def _escaped(text: str) -> str:
    return UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def say_over(text: str) -> None:
    """On a terminal: in place of the line that was said before."""
    click.echo(f"\r{printable(text)}\033[K", nl=False, err=True)


def is_asking() -> bool:
    """Whether somebody is there to answer a question."""
    return sys.stdin.isatty()
