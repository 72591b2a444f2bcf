"""bridge: the command line. Each command says what it did, or what to do if it could not."""

import os
import sys
from pathlib import Path

import click

from app.cli import act, alert, backup, inbound, look, run, status, stripe_endpoint, stripe_reports, users
from app.cli.compact import db_compact
from app.cli.coverage import coverage
from app.cli.doctor import doctor
from app.cli.map import map_files
from app.cli.output import say
from app.cli.parked import parked
from app.cli.reconcile import reconcile
from app.cli.reload import reload_command
from app.cli.replay import replay
from app.cli.rotate import rotate_key
from app.cli.send import send
from app.cli.why import why
from app.config.env_file import ENV_FILE, ENV_FILE_VARIABLE
from app.config.spelling import closest
from app.errors import BridgeError, LedgerUnavailable
from app.stack.processes import keep_files_private


class BridgeGroup(click.Group):
    """Shows expected errors as one line and exit status 1, never as a traceback."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Suggests a name for an unknown command."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            meant = closest(args[0], self.list_commands(ctx))
            if meant is None:
                raise
            raise click.UsageError(f"there is no command {args[0]}; did you mean {meant}?", ctx) from None

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except LedgerUnavailable as error:
            say(f"bridge: {error} (DATABASE_URL, BRIDGE_HOME)", err=True)
        except BridgeError as error:
            say(f"bridge: {error}", err=True)
        except click.UsageError:
            raise
        except click.ClickException as error:
            say(f"bridge: {error.format_message()}", err=True)
        except BrokenPipeError:
            sys.stderr.close()
        sys.exit(1)


@click.version_option(package_name="conversion-bridge", message="Conversion Bridge %(version)s")
@click.group(cls=BridgeGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--env-file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"Read settings from FILE instead of ./{ENV_FILE}. The environment takes precedence.",
)
def main(env_file: Path | None) -> None:
    """Conversion Bridge: signed webhooks from Stripe and form tools become Sales and Leads at your link-attribution service.

    `bridge up` runs everything. `bridge send stripe` sends an example event. `bridge doctor` finds problems and names the fixes.
    """
    keep_files_private()
    if env_file is not None:
        os.environ[ENV_FILE_VARIABLE] = str(env_file.absolute())


for command in (
    run.up,
    run.web,
    run.worker,
    reload_command,
    run.db,
    map_files,
    look.deliveries,
    look.events,
    inbound.refusals,
    inbound.quarantine,
    send,
    replay,
    parked,
    why,
    coverage,
    status.status,
    status.tail,
    act.pause,
    act.resume,
    act.export,
    act.forget,
    act.prune,
    backup.backup,
    backup.restore,
    stripe_endpoint.stripe_endpoint,
    stripe_reports.backfill,
    reconcile,
    alert.alert_test,
    users.user,
    users.token,
    alert.alerts,
    doctor,
):
    main.add_command(command)
run.db.add_command(backup.db_copy)
run.db.add_command(rotate_key)
run.db.add_command(db_compact)
