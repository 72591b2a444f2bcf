"""reload: every process reads its configuration again."""

import sys

import click

from app.bootstrap import open_ledger
from app.cli.output import say, say_json
from app.config.settings import load_settings
from app.destinations.target import stop_seconds_of
from app.reloading.request import WAIT_SECONDS, reload_all


@click.command("reload")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def reload_command(as_json: bool) -> None:
    """Read configuration and secrets again, everywhere.

    A configuration that is wrong is rejected whole, and the old one stays. Exit status 1 if a process rejected it or did
    not answer.
    """
    settings = load_settings()
    answers = reload_all(open_ledger(settings), "cli", WAIT_SECONDS + stop_seconds_of(settings))
    if as_json:
        say_json(answers.as_json())
    else:
        for process in answers.rejected:
            say(f"{process.title}: rejected: {process.problem}", err=True)
        say(answers.message[0].upper() + answers.message[1:] + ".", err=not answers.is_done)
    sys.exit(0 if answers.is_done else 1)
