"""The variables that say where alerts go."""

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, SecretStr, model_validator

from app.config.sections.marks import Section, Unset, Value
from app.config.setting_types import SecretUrl, WebUrl, names, secret_type

PAGERDUTY_URL = "https://events.pagerduty.com/v2/enqueue"


def smtp_url(value: str) -> str:
    """Raises ValueError unless it names a mail server; never shows it."""
    value = value.strip()
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        raise ValueError(
            "its host or port cannot be read: write @, : and / in a password as %40, %3A and %2F"
        ) from None
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname or not value.isprintable() or " " in value:
        raise ValueError("must be smtp://USER:PASSWORD@HOST:PORT, or smtps:// where TLS begins at once")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(
            "must end with the host or port: write @, :, /, ? and # in a password as %40, %3A, %2F, %3F and %23"
        )
    return value


def addresses(value: str) -> str:
    for address in names(value):
        one_address(address)
    if not names(value):
        raise ValueError("must be email addresses separated by commas")
    return value


def one_address(value: str) -> str:
    if not re.fullmatch(r"[!-?A-~]+@[A-Za-z0-9.\-]+", value.strip()):
        raise ValueError("must be a plain email address, such as ops@example.com")
    return value.strip()


def routing_key(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9]{32}", value.strip()):
        raise ValueError("must be the integration key of an Events API v2 integration: 32 letters and digits")
    return value.strip()


SmtpUrl = Annotated[SecretStr, secret_type(smtp_url), Value("`smtp://USER:PASSWORD@HOST:587` or `smtps://…`")]
Addresses = Annotated[str, AfterValidator(addresses), Value("email addresses, separated by commas")]
Address = Annotated[str, AfterValidator(one_address), Value("email address")]
RoutingKey = Annotated[SecretStr, secret_type(routing_key), Value("32 letters and digits")]


class AlertSettings(Section):
    """Alerts"""

    alert_webhook_url: Annotated[SecretUrl | None, Unset("no chat")] = None
    """Where alerts are posted: a webhook of Slack, Mattermost, or Discord with `/slack` at its end ([alerts](alerts.md))."""
    alert_smtp_url: Annotated[SmtpUrl | None, Unset("no email")] = None
    """The mail server for [alerts by email](alerts.md). It needs ALERT_EMAIL_TO."""
    alert_email_to: Addresses | None = None
    """The recipients of alerts. They need ALERT_SMTP_URL."""
    alert_email_from: Annotated[Address | None, Unset("the first recipient")] = None
    """The sender of alerts."""
    alert_pagerduty_key: Annotated[RoutingKey | None, Unset("no PagerDuty")] = None
    """The integration key for [alerts to PagerDuty](alerts.md)."""
    alert_pagerduty_url: WebUrl = PAGERDUTY_URL
    """The address of PagerDuty's Events API."""

    @model_validator(mode="after")
    def _has_both(self) -> "AlertSettings":
        if self.alert_email_to and self.alert_smtp_url is None:
            raise ValueError("ALERT_EMAIL_TO is set: set ALERT_SMTP_URL too")
        if self.alert_smtp_url is not None and not self.alert_email_to:
            raise ValueError("ALERT_SMTP_URL is set: set ALERT_EMAIL_TO too")
        return self

    @property
    def alert_recipients(self) -> tuple[str, ...]:
        return tuple(names(self.alert_email_to or ""))
