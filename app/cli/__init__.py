"""bridge: the command line. Each command says what it did, and where it cannot, what to do about it."""

import sys

import click

from app.cli import act, alert, look, run, stripe_endpoint, stripe_reports
from app.cli.doctor import doctor
from app.errors import BridgeError, LedgerUnavailable


class BridgeGroup(click.Group):
    """Shows expected errors as one line and exit status 1, never as a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except LedgerUnavailable as error:
            click.echo(f"bridge: {error} (DATABASE_URL, BRIDGE_HOME)", err=True)
        except BridgeError as error:
            click.echo(f"bridge: {error}", err=True)
        except click.UsageError:
            raise
        except click.ClickException as error:
            click.echo(f"bridge: {error.format_message()}", err=True)
        except BrokenPipeError:
            sys.stderr.close()
        sys.exit(1)


@click.version_option(package_name="conversion-bridge", message="Conversion Bridge %(version)s")
@click.group(cls=BridgeGroup, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Conversion Bridge: signed webhooks from Stripe and form tools become Sales and Leads at your link-attribution service.

    `bridge up` runs everything. `bridge send stripe` sends it an example. `bridge doctor` says what is wrong.
    """


for command in (
    run.up,
    run.web,
    run.worker,
    run.db,
    look.map_files,
    look.deliveries,
    look.events,
    act.send,
    act.replay,
    act.forget,
    act.prune,
    stripe_endpoint.stripe_endpoint,
    stripe_reports.backfill,
    stripe_reports.reconcile,
    alert.alert_test,
    doctor,
):
    main.add_command(command)
