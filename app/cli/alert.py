"""alert-test: does an alert reach somebody?"""

import click

from app.alerts.messages import TEST
from app.alerts.post import AlertUnsent, post
from app.cli.output import say
from app.config.settings import load_settings


@click.command("alert-test")
def alert_test() -> None:
    """Send a test alert to ALERT_WEBHOOK_URL. Exit status 1 if it is not accepted."""
    settings = load_settings()
    url = settings.alert_url
    if url is None:
        raise click.ClickException(
            f"set {settings.alerts.url_env} to the webhook of a Slack, Mattermost or Discord channel"
        )
    link = f" {settings.public_url}/" if settings.public_url else ""
    try:
        post(url, TEST + link, settings.proxies)
    except AlertUnsent as error:
        raise click.ClickException(str(error)) from None
    say("The webhook accepted the test alert. Check that it appears in the channel.")
