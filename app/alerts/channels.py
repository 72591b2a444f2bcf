"""The configured channels, and a test of each."""

from dataclasses import dataclass

from app.alerts.channel import AlertUnsent, Channel
from app.alerts.messages import TEST
from app.alerts.pagerduty import PagerDutyChannel
from app.alerts.webhook import WebhookChannel
from app.config.settings import Settings


def channels_of(settings: Settings) -> tuple[Channel, ...]:
    """The configured channels. Raises ConfigurationError."""
    channels: list[Channel] = []
    if url := settings.alert_url:
        channels.append(WebhookChannel(url, settings.proxies, settings.alerts.url_env))
    if settings.alert_smtp_url is not None and settings.alert_recipients:
        from app.alerts.email import EmailChannel  # SMTP takes memory, and few bridges send mail

        sender = settings.alert_email_from or settings.alert_recipients[0]
        channels.append(EmailChannel(settings.alert_smtp_url.get_secret_value(), settings.alert_recipients, sender))
    if settings.alert_pagerduty_key is not None:
        key = settings.alert_pagerduty_key.get_secret_value()
        channels.append(PagerDutyChannel(key, settings.alert_pagerduty_url, settings.public_url, settings.proxies))
    return tuple(channels)


def how_to_turn_on(settings: Settings, code: str = "") -> str:
    """How to turn alerts on, in one sentence. code: the quote around the name of a variable."""
    webhook, server, to, key = (
        f"{code}{name}{code}"
        for name in (settings.alerts.url_env, "ALERT_SMTP_URL", "ALERT_EMAIL_TO", "ALERT_PAGERDUTY_KEY")
    )
    return f"Set {webhook} (a webhook of Slack, Mattermost or Discord), {server} with {to} (email), or {key}"


@dataclass(frozen=True, slots=True)
class Trial:
    """The result of a test alert over one channel."""

    channel: str
    target: str
    done: bool
    message: str


def try_channels(settings: Settings) -> list[Trial]:
    """Sends a test alert over each channel, even if an earlier one fails."""
    text = f"{TEST} {settings.public_url}/" if settings.public_url else TEST
    trials = []
    for channel in channels_of(settings):
        try:
            trials.append(Trial(channel.name, channel.target, True, channel.test(text)))
        except AlertUnsent as error:
            remedy = f"{str(error)[:1].upper()}{str(error)[1:]}. Check {channel.variable}."
            trials.append(Trial(channel.name, channel.target, False, remedy))
    return trials
